// The expanded schedule of every plan comes to its end, and the simulation tells when one does not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "all_plans.h"
#include "sanitized.h"
#include "schedule.h"
#include "slots.h"

namespace tutti {
namespace {

using testing::HasSubstr;

Status together(const std::vector<Plan>& first, const std::vector<Plan>& second, const Expansion& expansion) {
  const std::array<std::span<const Plan>, 2> operations{first, second};
  return prove_schedule(operations, expansion);
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
    const Status status = together(plans_of(GetParam(), size, 0), plans_of(neighbour(), size, size - 1),
                                   {.lanes = 2, .stripes = 3, .link_capacity = 64});
    ASSERT_TRUE(status.ok()) << size << " ranks: " << status.message();
  }
}

TEST_P(EveryPairOfPlans, EndsTogetherWithItself) {
  for (const int size : test::sizes_up_to(40)) {
    const auto plans = plans_of(GetParam(), size, 0);
    for (const uint32_t lanes : {1u, 2u, 4u}) {
      const Status status = together(plans, plans, {.lanes = lanes, .stripes = 2 * lanes + 1, .link_capacity = 64});
      ASSERT_TRUE(status.ok()) << size << " ranks, " << lanes << " lanes: " << status.message();
    }
  }
}

// No plan depends on links that hold more than one message.
TEST_P(EveryPairOfPlans, EndsWithTheSmallestLinks) {
  for (const int size : {2, 3, 4, 5, 7, 8, 13, 16, 33}) {
    const auto plans = plans_of(GetParam(), size, 0);
    const Status status = together(plans, plans, {.lanes = 3, .stripes = 6, .link_capacity = 1});
    ASSERT_TRUE(status.ok()) << size << " ranks: " << status.message();
  }
}

INSTANTIATE_TEST_SUITE_P(Algorithms, EveryPairOfPlans, testing::ValuesIn(algorithms().begin(), algorithms().end()),
                         [](const auto& test) { return label(test.param); });

TEST(Schedule, AnyTwoOperationsEnd) {
  for (const int size : {2, 3, 5, 8, 11}) {
    for (const Algorithm& first : algorithms()) {
      const auto plans = plans_of(first, size, 1);
      for (const Algorithm& second : algorithms()) {
        const Status status = together(plans, plans_of(second, size, 0), {.lanes = 2, .stripes = 4});
        ASSERT_TRUE(status.ok()) << label(first) << " and " << label(second) << ", " << size << " ranks: " << status.message();
      }
    }
  }
}

// A wave's lanes take turns on each link, so all of them must have their slots before any can finish.
TEST(Schedule, NeedsSlotsForEveryLane) {
  const auto plans = plans_of(algorithm_of(Collective::all_reduce, "ring"), 5, 0);
  const uint32_t enough = 3 * slots_per_lane(plans[0]);
  EXPECT_TRUE(together(plans, plans, {.lanes = 3, .stripes = 6, .slots = enough}).ok());
  const Status status = together(plans, plans, {.lanes = 3, .stripes = 6, .slots = enough - 1});
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
  EXPECT_TRUE(together(plans, plans, {.lanes = 2, .stripes = 4, .link_capacity = 6}).ok());
  const Status status = together(plans, plans, {.lanes = 2, .stripes = 4, .link_capacity = 2});
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.message(), HasSubstr("send block 1 to rank"));
}

TEST(Schedule, FindsRanksThatWaitForEachOther) {
  std::vector<Plan> plans(2, Plan(1));
  for (int rank = 0; rank < 2; ++rank) {
    plans[static_cast<size_t>(rank)].recv(1 - rank, 0);
    plans[static_cast<size_t>(rank)].send(1 - rank, 0);
  }
  const Status status = together(plans, plans, {});
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.message(), HasSubstr("waits in step 0, recv block 0 from rank 1"));
}

TEST(Schedule, RefusesPlansThatDoNotAgree) {
  std::vector<Plan> plans(2, Plan(1));
  plans[0].send(1, 0);
  EXPECT_THAT(together(plans, plans, {}).message(), HasSubstr("the peer does not receive it"));
}

}  // namespace
}  // namespace tutti
