// The reason for `may_carry_codec`, in numbers: plans whose messages lose something lose nothing that one residual per
// rank does not hold.
//
// Plans are carried out with whole numbers (modulo 2^64, so that nothing is rounded).  An encoding leaves out a
// random number of its own, which goes to the residual of its rank and block.  Then  output + Σ residuals = Σ inputs
// exactly, and all outputs are equal, where, and only where, each rank encodes a block once and each partial sum has
// one consumer.  This shares nothing with the checker but the plans.
#include <gtest/gtest.h>

#include <deque>
#include <random>

#include "all_plans.h"
#include "sample_teams.h"
#include "sanitized.h"

namespace tutti {
namespace {

constexpr int kMostRanksInMass = 130;

class LossyRun {
 public:
  LossyRun(const Algorithm& algorithm, const Team& team)
      : size_(static_cast<uint32_t>(team.size)),
        plans_(plans_of(algorithm, team, 0)),
        blocks_(plans_[0].blocks()),
        cells_(size_t{size_} * blocks_),
        wanted_(blocks_),
        links_(size_t{size_} * size_) {
    for (uint32_t rank = 0; rank < size_; ++rank)
      for (uint32_t block = 0; block < blocks_; ++block) wanted_[block] += cell(rank, block).value = random_();
  }

  // Steps of all ranks in turn, until none can go on.
  void run() {
    std::vector<size_t> next(size_);
    for (bool moved = true; moved;) {
      moved = false;
      for (uint32_t rank = 0; rank < size_; ++rank)
        for (; next[rank] < plans_[rank].steps().size() && take(rank, plans_[rank].steps()[next[rank]]); ++next[rank]) moved = true;
    }
    for (uint32_t rank = 0; rank < size_; ++rank) ASSERT_EQ(next[rank], plans_[rank].steps().size()) << "rank " << rank;
  }

  uint32_t most_encodings() const {
    uint32_t most = 0;
    for (const Cell& c : cells_) most = std::max(most, c.encodings);
    return most;
  }

  // Does what all ranks got, and what the residuals hold, make up the sum of the inputs?
  bool loses_nothing() {
    for (uint32_t block = 0; block < blocks_; ++block) {
      uint64_t residuals = 0;
      for (uint32_t rank = 0; rank < size_; ++rank) residuals += cell(rank, block).residual;
      for (uint32_t rank = 0; rank < size_; ++rank)
        if (delivered(rank, block) + residuals != wanted_[block]) return false;
    }
    return true;
  }

 private:
  struct Cell {
    uint64_t value = 0, packet = 0;  // packet: what it decodes to
    bool packed = false;             // the value's packet exists
    uint64_t residual = 0;
    uint32_t encodings = 0;
  };
  using Message = std::vector<uint64_t>;

  Cell& cell(uint32_t rank, uint32_t block) { return cells_[size_t{rank} * blocks_ + block % blocks_]; }
  std::deque<Message>& link(uint32_t from, uint32_t to) { return links_[size_t{from} * size_ + to]; }

  uint64_t pack(Cell& c) {
    if (!c.packed) {
      const uint64_t left_out = random_();
      c.residual += left_out;
      c.packet = c.value - left_out;
      c.packed = true;
      ++c.encodings;
    }
    return c.packet;
  }

  // A final sum is what its packet says, at its owner too; one rank alone keeps its value.
  uint64_t delivered(uint32_t rank, uint32_t block) {
    Cell& c = cell(rank, block);
    return size_ == 1 ? c.value : pack(c);
  }

  bool take(uint32_t rank, const Step& step) {
    const auto peers = plans_[rank].peers_of(step);
    if (step.verb == Verb::send) {
      Message message(step.count);
      for (uint32_t i = 0; i < step.count; ++i) message[i] = pack(cell(rank, step.block + i));
      link(rank, step.peer).push_back(std::move(message));
      return true;
    }
    for (const uint32_t peer : peers)
      if (link(peer, rank).empty()) return false;
    for (uint32_t i = 0; i < step.count; ++i) {
      Cell& c = cell(rank, step.block + i);
      if (step.verb == Verb::recv) {
        c.value = c.packet = link(peers[0], rank).front()[i];
        c.packed = true;  // passed on as it came
        continue;
      }
      for (const uint32_t peer : peers) c.value += link(peer, rank).front()[i];
      c.packed = false;
    }
    for (const uint32_t peer : peers) link(peer, rank).pop_front();
    return true;
  }

  uint32_t size_;
  std::vector<Plan> plans_;
  uint32_t blocks_;
  std::vector<Cell> cells_;
  std::vector<uint64_t> wanted_;
  std::vector<std::deque<Message>> links_;
  std::mt19937_64 random_{1};
};

void expect_mass_kept(const Algorithm& algorithm, const Team& team) {
  SCOPED_TRACE(label(algorithm) + ", " + std::to_string(team.size) + " ranks on " + std::to_string(team.hosts()) + " hosts");
  const bool may_carry = algorithm.may_carry_codec;
  LossyRun run(algorithm, team);
  run.run();
  ASSERT_EQ(run.loses_nothing(), may_carry || team.size == 1);
  if (may_carry) {
    ASSERT_EQ(run.most_encodings(), team.size > 1 ? 1u : 0u);
  }
}

class EveryAllReduce : public testing::TestWithParam<Algorithm> {};

TEST_P(EveryAllReduce, LosesNothingIfItMayCarryACodec) {
  for (const int size : test::sizes_up_to(kMostRanksInMass))
    if ((size <= 40 || size % 9 == 4) && !HasFatalFailure()) expect_mass_kept(GetParam(), size);
}

TEST_P(EveryAllReduce, LosesNothingBetweenHosts) {
  for (const auto& ranks : host_mixes())
    for (const bool shuffled : {false, true})
      if (!HasFatalFailure()) expect_mass_kept(GetParam(), team_of(ranks, shuffled));
}

std::vector<Algorithm> all_reduces() {
  std::vector<Algorithm> rows;
  for (const Algorithm& row : algorithms())
    if (row.collective == Collective::all_reduce) rows.push_back(row);
  return rows;
}

INSTANTIATE_TEST_SUITE_P(Algorithms, EveryAllReduce, testing::ValuesIn(all_reduces()),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace tutti
