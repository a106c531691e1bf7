#include "slots.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "all_plans.h"
#include "plan_text.h"

namespace tutti {
namespace {

TEST(Slots, AReceiveDirectlyBeforeASendOfTheSameRunPassesItsSlotOn) {
  Plan plan(4, 2);
  plan.recv(1, 0);
  plan.send(2, 0);
  plan.recv_reduce(1, 1, 2);
  plan.send(2, 1, 2);
  plan.send(3, 1, 2);
  plan.fold(std::array{1, 2}, 3);
  plan.send(1, 3);
  for (const size_t step : {0u, 2u, 5u}) EXPECT_TRUE(passes_slot_on(plan, step)) << step;
  for (const size_t step : {1u, 3u, 4u, 6u}) EXPECT_FALSE(passes_slot_on(plan, step)) << step;
  EXPECT_EQ(slots_per_lane(plan), 0u);
}

TEST(Slots, OtherSendsTakeOneSlotPerGroup) {
  Plan plan(4, 2);
  plan.send(1, 0);
  plan.send(2, 0);  // the same slot
  plan.send(3, 0);
  plan.send(1, 1, 2);
  plan.send(2, 1);  // another run
  plan.recv(1, 3);
  plan.send(2, 0);  // not what was received
  EXPECT_EQ(group_size(plan, 0), 3u);
  EXPECT_EQ(group_size(plan, 1), 2u);
  EXPECT_EQ(group_size(plan, 3), 1u);
  EXPECT_TRUE(group_goes_on(plan, 1));
  EXPECT_FALSE(group_goes_on(plan, 2));
  EXPECT_FALSE(passes_slot_on(plan, 5));
  EXPECT_EQ(slots_per_lane(plan), 4u);
}

TEST(Slots, OfEmptyPlansAreNone) { EXPECT_EQ(slots_per_lane(Plan(1)), 0u); }

struct Need {
  Collective collective;
  std::string_view name;
  uint32_t slots;  // the most of any of 9 ranks
};

TEST(Slots, NeededByThePlans) {
  using enum Collective;
  for (const Need& need :
       {Need{all_reduce, "ring", 1}, Need{all_reduce, "tree", 2}, Need{all_reduce, "recursive", 7}, Need{all_reduce, "doubling", 1},
        Need{all_reduce, "direct", 8}, Need{reduce_scatter, "ring", 1}, Need{all_gather, "direct", 1}, Need{broadcast, "ring", 1},
        Need{broadcast, "tree", 2}, Need{broadcast, "direct", 1}, Need{gather, "tree", 1}, Need{all_to_all, "direct", 8}}) {
    uint32_t most = 0;
    for (const Plan& plan : plans_of(algorithm_of(need.collective, need.name), 9, 0)) most = std::max(most, slots_per_lane(plan));
    EXPECT_EQ(most, need.slots) << name(need.collective) << " " << need.name;
  }
}

TEST(Slots, AreNeverMoreThanRanks) {
  for (const Algorithm& algorithm : algorithms()) {
    for (int size = 1; size <= 130; ++size) {
      for (const Plan& plan : plans_of(algorithm, size, 0))
        ASSERT_LE(slots_per_lane(plan), static_cast<uint32_t>(size)) << label(algorithm);
    }
  }
}

TEST(Text, DescribesSteps) {
  Plan plan(4, 3);
  plan.send(1, 2);
  plan.recv(3, 3, 3);
  plan.recv_reduce(3, 2, 1, true);
  plan.send(1, 2);
  plan.fold(std::array{0, 2}, 1, 1, false);
  EXPECT_EQ(describe(plan),
            "   0  send block 2 to rank 1\n"
            "   1  recv blocks 3-1 from rank 3\n"
            "   2  recv_reduce block 2 from rank 3, completes, slot passes on\n"
            "   3  send block 2 to rank 1\n"
            "   4  fold block 1 from ranks 0, 2\n");
}

}  // namespace
}  // namespace tutti
