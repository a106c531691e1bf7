// The expanded schedule of every plan comes to its end, and the simulation tells when one does not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "job.h"
#include "sanitized.h"
#include "schedule.h"

namespace tutti {
namespace {

using testing::HasSubstr;

Status together(const Job& first, const Job& second, const Expansion& expansion) {
  return prove_schedule(first.set, second.set, expansion);
}

class EveryPairOfPlans : public testing::TestWithParam<Algorithm> {
 protected:
  // The next one in the registry is the other operation in flight.
  static const Algorithm& neighbour() {
    const auto all = algorithms();
    return all[(find_algorithm(GetParam().collective, GetParam().name).value() + size_t{1}) % all.size()];
  }
};

TEST_P(EveryPairOfPlans, EndsTogetherWithAnother) {
  for (const int size : test::sizes_up_to(130)) {
    const Job job(GetParam(), size, 0), other(neighbour(), size, size - 1);
    for (const bool lends : {false, true}) {
      if (lends && size > 40 && size % 9 != 4) continue;
      const Status status = together(job, other, {.lanes = 2, .stripes = 3, .link_capacity = 64, .lends = lends});
      ASSERT_TRUE(status.ok()) << size << " ranks" << (lends ? " that lend: " : ": ") << status.message();
    }
  }
}

TEST_P(EveryPairOfPlans, EndsTogetherWithItself) {
  for (const int size : test::sizes_up_to(40)) {
    const Job job(GetParam(), size, 0);
    for (const uint32_t lanes : {1u, 2u, 4u}) {
      for (const bool lends : {false, true}) {
        const Status status = together(job, job, {.lanes = lanes, .stripes = 2 * lanes + 1, .link_capacity = 64, .lends = lends});
        ASSERT_TRUE(status.ok()) << size << " ranks, " << lanes << " lanes: " << status.message();
      }
    }
  }
}

// No plan depends on links that hold more than one message.
TEST_P(EveryPairOfPlans, EndsWithTheSmallestLinks) {
  for (const int size : {2, 3, 4, 5, 7, 8, 13, 16, 33}) {
    const Job job(GetParam(), size, 0);
    for (const bool lends : {false, true}) {
      const Status status = together(job, job, {.lanes = 3, .stripes = 6, .link_capacity = 1, .lends = lends});
      ASSERT_TRUE(status.ok()) << size << " ranks: " << status.message();
    }
  }
}

// Between devices a lane talks to the same lane of others only, over channels of two slots: a link of one message,
// besides the one that its receiver reads (src/cuda/device_call.h).
TEST_P(EveryPairOfPlans, EndsBetweenDevices) {
  for (int size = 2; size <= test::fewer(16, 5); ++size) {
    for (const int root : {0, size - 1}) {
      const Job job(GetParam(), size, root), other(neighbour(), size, 0);
      for (const Job* second : {&job, &other}) {
        const Status status = together(job, *second, {.lanes = 1, .stripes = 4, .link_capacity = 1});
        ASSERT_TRUE(status.ok()) << size << " ranks, root " << root << ": " << status.message();
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Algorithms, EveryPairOfPlans, testing::ValuesIn(algorithms().begin(), algorithms().end()),
                         [](const auto& test) { return label(test.param); });

TEST(Schedule, AnyTwoOperationsEnd) {
  for (const int size : {2, 3, 5, 8, 11}) {
    for (const Algorithm& first : algorithms()) {
      const Job job(first, size, 1);
      for (const Algorithm& second : algorithms()) {
        const Status status = together(job, Job(second, size, 0), {.lanes = 2, .stripes = 4});
        ASSERT_TRUE(status.ok()) << label(first) << " and " << label(second) << ", " << size << " ranks: " << status.message();
      }
    }
  }
}

// A wave's lanes take turns on each link, so all of them must have their slots before any can finish.
TEST(Schedule, NeedsSlotsForEveryLane) {
  const Job job(algorithm_of(Collective::all_reduce, "ring"), 5, 0);
  const uint32_t enough = 3 * slots_per_stripe(job.set.programs[0]);
  EXPECT_TRUE(together(job, job, {.lanes = 3, .stripes = 6, .slots = enough}).ok());
  const Status status = together(job, job, {.lanes = 3, .stripes = 6, .slots = enough - 1});
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.message(), HasSubstr("deadlock: rank 0, operation 0, stripe"));
}

// Two ranks that both send before they receive need links that hold what they send.
TEST(Schedule, FindsLinksTooSmall) {
  std::vector<Plan> plans(2, Plan(3));
  for (int rank = 0; rank < 2; ++rank) {
    for (uint32_t block = 0; block < 3; ++block) plans[static_cast<size_t>(rank)].send(1 - rank, block);
    for (uint32_t block = 0; block < 3; ++block) plans[static_cast<size_t>(rank)].recv(1 - rank, block);
  }
  const Job job(Collective::all_reduce, plans);
  EXPECT_TRUE(together(job, job, {.lanes = 2, .stripes = 4, .link_capacity = 6}).ok());
  const Status status = together(job, job, {.lanes = 2, .stripes = 4, .link_capacity = 2});
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.message(), HasSubstr("send block 1 to rank"));
}

TEST(Schedule, FindsRanksThatWaitForEachOther) {
  std::vector<Plan> plans(2, Plan(1));
  for (int rank = 0; rank < 2; ++rank) {
    plans[static_cast<size_t>(rank)].recv(1 - rank, 0);
    plans[static_cast<size_t>(rank)].send(1 - rank, 0);
  }
  const Job job(Collective::all_reduce, plans);
  const Status status = together(job, job, {});
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.message(), HasSubstr("waits in step 0, recv block 0 from rank 1"));
}

TEST(Schedule, RefusesPlansThatDoNotAgree) {
  std::vector<Plan> plans(2, Plan(1));
  plans[0].send(1, 0);
  const Job job(Collective::all_reduce, plans);
  EXPECT_THAT(together(job, job, {}).message(), HasSubstr("the peer does not receive it"));
}

// Two ranks that exchange blocks and reduce into what they have lent would wait for each other.
TEST(Schedule, FindsLoansThatWaitForEachOther) {
  const Algorithm& doubling = algorithm_of(Collective::all_reduce, "doubling");
  Job job(doubling, 4, 0);
  EXPECT_TRUE(together(job, job, {.lends = true}).ok());
  for (Program& program : job.set.programs) program.instructions[0].lends = true;
  EXPECT_TRUE(together(job, job, {.lends = false}).ok());
  const Status status = together(job, job, {.lends = true});
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.message(), HasSubstr("waits for loans to come back in step 1, recv_reduce block 0 from rank 1"));
}

}  // namespace
}  // namespace tutti
