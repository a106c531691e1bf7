// The shape of the slot pool: what it may take, and that every plan can run in it.
#include <gtest/gtest.h>

#include "all_plans.h"
#include "arena.h"
#include "choice.h"
#include "slots.h"

namespace tutti {
namespace {

constexpr size_t kMiB = 1 << 20;

size_t bytes_of_a_rank(int size, bool single_host, uint32_t lanes = 0, size_t slot_bytes = 0) {
  const PoolShape pool = pool_shape(size, single_host, lanes, slot_bytes);
  const memory::ArenaShape arena{.ranks = static_cast<uint32_t>(size), .slots = pool.slots, .slot_bytes = pool.slot_bytes};
  return pool.slots * pool.slot_bytes + arena.bytes_beside_slots();
}

TEST(Pool, TakesAtMost16MiBOfEachRank) {
  for (int size = 1; size <= 400; ++size)
    for (const bool single_host : {true, false}) EXPECT_LE(bytes_of_a_rank(size, single_host), 16 * kMiB) << size;
  for (const int size : {2, 64}) EXPECT_LE(bytes_of_a_rank(size, true, 4, kMiB), 16 * kMiB) << size;
  EXPECT_LE(bytes_of_a_rank(1024, true), 80 * kMiB);
}

TEST(Pool, HasTheUsualSlotsWhereThereIsRoom) {
  EXPECT_EQ(pool_shape(2, true, 0, 0).slot_bytes, 64u << 10);
  EXPECT_EQ(pool_shape(2, true, 0, 0).slots, 80u);
  EXPECT_EQ(pool_shape(2, true, 1, 4096).slot_bytes, 4096u);
}

// Slots are taken for sends and, where peers are reached over streams, for what is received from each of them.
TEST(Pool, HoldsTheMessagesOfEveryPlan) {
  for (const int size : {2, 3, 8, 33, 129, 256, 511}) {
    const PoolShape pool = pool_shape(size, true, 0, 0);
    for (const Algorithm& algorithm : algorithms())
      for (const int rank : {0, size / 2, size - 1}) {
        const Plan plan = algorithm.plan(rank, Team(size), 0);
        EXPECT_GE(pool.slot_bytes, 64u * plan.widest_run()) << label(algorithm) << " of " << size;
        EXPECT_GE(pool.slots, slots_per_lane(plan) + static_cast<uint32_t>(size)) << label(algorithm) << " of " << size;
      }
  }
}

}  // namespace
}  // namespace tutti
