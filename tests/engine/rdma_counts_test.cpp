// What an all-reduce costs over queue pairs, by the transport's own counters, against the numbers of its plan:
// messages, completions and copied bytes.  Over a real device or the fake one.
#include <gtest/gtest.h>

#include "exercise.h"
#include "rdma_world.h"

namespace tutti::test {
namespace {

constexpr size_t kStripe = 8192, kShort = 256;
constexpr size_t kStripes = 5;
constexpr uint32_t kSlots = 64;

// Engines over an RdmaWorld, advanced in turns by this thread.
class Ranks {
 public:
  explicit Ranks(int size) : world_(size, kSlots, kStripe) {
    for (int rank = 0; rank < size; ++rank) {
      auto table = std::make_unique<LinkTable>();
      table->resize(size);
      table->bank.pool = &world_.pool(rank);
      table->form = [](int) { return LinkForm::puts; };
      table->connect = [this, rank](int peer, LinkUse use) -> Link& { return world_.transport(rank).link(peer, use); };
      engines_.push_back(std::make_unique<Engine>(std::vector<Transport*>{&world_.transport(rank)}, std::move(table),
                                                  supervisors_.emplace_back()));
    }
  }

  void run(Exercise& exercise) {
    std::vector<std::shared_ptr<Operation>> left;
    for (size_t rank = 0; rank < engines_.size(); ++rank)
      left.push_back(
          *engines_[rank]->start([&](LinkTable& table) { return exercise.operation(static_cast<int>(rank), table); }, false));
    ASSERT_EQ(settle(
                  [&] {
                    return std::none_of(left.begin(), left.end(), [](const auto& each) { return each; }) && world_drained()
                               ? Progress::done
                               : Progress::busy;
                  },
                  [&] {
                    for (size_t rank = 0; rank < left.size(); ++rank) {
                      Status status;
                      if (left[rank] && engines_[rank]->test(*left[rank], status)) left[rank] = nullptr;
                      ASSERT_TRUE(status.ok()) << status.message();
                      ASSERT_TRUE(world_.transport(static_cast<int>(rank)).progress().ok());
                    }
                  }),
              Progress::done);
    exercise.expect_right();
  }
  rdma::Counters counters(int rank) { return world_.transport(rank).counters(); }

 private:
  bool world_drained() {
    bool all = true;
    for (size_t rank = 0; rank < engines_.size(); ++rank) all = world_.transport(static_cast<int>(rank)).drained() && all;
    return all;
  }
  RdmaWorld world_;
  std::deque<QuietSupervisor> supervisors_;
  std::vector<std::unique_ptr<Engine>> engines_;
};

class RdmaCounts : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (!RdmaWorld::available()) GTEST_SKIP() << "this machine has no RDMA port";
  }
};

TEST_P(RdmaCounts, AreThoseOfThePlan) {
  const int size = GetParam();
  for (const Algorithm& algorithm : algorithms()) {
    if (algorithm.collective != Collective::all_reduce) continue;
    for (const size_t part : {kStripe, kShort}) {
      const Plan plan = algorithm.plan(0, size, 0);
      const size_t stripe = part / plan.widest_run() / 64 * 64;
      SCOPED_TRACE(std::string(algorithm.name) + " of " + std::to_string(size) + " ranks, stripes of " + std::to_string(stripe));
      Ranks ranks(size);
      Exercise exercise({&algorithm, size, 0, kStripes * stripe * plan.blocks() / kElement, false, 2, stripe}, 1);
      ASSERT_NO_FATAL_FAILURE(ranks.run(exercise));
      uint64_t sent = 0, received = 0, frames_seen = 0, frames_sent = 0;
      for (int rank = 0; rank < size; ++rank) {
        const Program program = compile(algorithm.plan(rank, size, 0), Collective::all_reduce, rank, size, 0);
        uint64_t messages = 0, arrivals = 0, arriving_bytes = 0;
        for (const Instruction& instruction : program.instructions) {
          messages += kStripes * instruction.outs.size();
          arrivals += kStripes * instruction.ins.size();
          arriving_bytes += kStripes * instruction.ins.size() * instruction.count * stripe;
        }
        const rdma::Counters counters = ranks.counters(rank);
        EXPECT_EQ(counters.messages, messages);
        if (part == kStripe && stripe > rdma::kMostShort) {
          EXPECT_EQ(counters.writes, messages);
          EXPECT_EQ(counters.copied_bytes, 0u);  // by the transport: a reduction reads its operand where it landed
        }
        if (part == kShort) {
          EXPECT_EQ(counters.writes, 0u);
          EXPECT_EQ(counters.copied_bytes, arriving_bytes);
        }
        // One completion for each message at each of its ends; the rest are frames that only return credits.
        ASSERT_GE(counters.completions, messages + arrivals + counters.credit_frames);
        sent += messages;
        received += arrivals;
        frames_sent += counters.credit_frames;
        frames_seen += counters.completions - messages - arrivals - counters.credit_frames;
      }
      EXPECT_EQ(sent, received);
      EXPECT_EQ(frames_seen, frames_sent);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Of, RdmaCounts, ::testing::Values(2, 3, 4),
                         [](const auto& info) { return std::to_string(info.param) + "ranks"; });

}  // namespace
}  // namespace tutti::test
