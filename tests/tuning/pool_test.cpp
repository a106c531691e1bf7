// The shape of the slot pool: what it may take, and that every plan can run in it.
#include <gtest/gtest.h>

#include <algorithm>

#include "all_plans.h"
#include "arena.h"
#include "fixed_sizes.h"
#include "pool_shape.h"
#include "program.h"
#include "sample_teams.h"

namespace tutti {
namespace {

constexpr size_t kMiB = 1 << 20;

size_t bytes_of_a_rank(int size, bool single_host, uint32_t lanes = 0, size_t slot_bytes = 0) {
  const uint32_t local_ranks = single_host ? static_cast<uint32_t>(size) : 1;
  const PoolShape pool = pool_shape(size, local_ranks, lanes, slot_bytes);
  const uint32_t slots = pool.all_slots(local_ranks);
  const memory::ArenaShape arena{.ranks = local_ranks, .slots = slots, .slot_bytes = pool.slot_bytes};
  return slots * pool.slot_bytes + arena.bytes_beside_slots();
}

TEST(Pool, TakesAtMost16MiBOfEachRank) {
  for (int size = 1; size <= 300; ++size)
    for (const bool single_host : {true, false}) EXPECT_LE(bytes_of_a_rank(size, single_host), 16 * kMiB) << size;
  for (const int size : {2, 64}) EXPECT_LE(bytes_of_a_rank(size, true, 4, kMiB), 16 * kMiB) << size;
  EXPECT_LE(bytes_of_a_rank(1024, true), 112 * kMiB);
}

TEST(Pool, HasTheUsualSlotsWhereThereIsRoom) {
  EXPECT_EQ(pool_shape(2, 2, 0, 0).slot_bytes, 64u << 10);
  EXPECT_EQ(pool_shape(2, 2, 0, 0).slots, 80u);
  EXPECT_EQ(pool_shape(2, 2, 1, 4096).slot_bytes, 4096u);
}

TEST(Pool, HasSlotsForMessagesToEveryRank) {
  EXPECT_EQ(pool_shape(2, 2, 0, 0).message_slots, 16u);
  EXPECT_EQ(pool_shape(8, 8, 0, 0).message_slots, 2u);
  EXPECT_EQ(pool_shape(300, 300, 0, 0).message_slots, 1u);
  EXPECT_EQ(pool_shape(300, 1, 0, 0).message_slots, 0u);
  EXPECT_EQ(pool_shape(8, 8, 0, 0).all_slots(8), pool_shape(8, 8, 0, 0).slots + 14);
}

// Slots are taken for sends and, where peers are reached over streams, for what is received from each of them.
TEST(Pool, HoldsTheMessagesOfEveryPlan) {
  for (const int size : {2, 3, 8, 33, 129, 256, 511}) {
    const PoolShape pool = pool_shape(size, static_cast<uint32_t>(size), 0, 0);
    for (const Algorithm& algorithm : algorithms())
      for (const int rank : {0, size / 2, size - 1}) {
        const Plan plan = algorithm.plan(rank, Team(size), 0);
        EXPECT_GE(pool.slot_bytes, 64u * plan.widest_run()) << label(algorithm) << " of " << size;
        const Program program = compile(plan, algorithm.collective, rank, size, 0);
        EXPECT_GE(pool.slots, slots_per_stripe(program) + static_cast<uint32_t>(size)) << label(algorithm) << " of " << size;
      }
  }
}

// The slots that one lane takes from the pool, as the engine counts them: a slot for each message over a stream, and
// for each group of sends of its own that goes not only over streams.
uint32_t taken(const Program& program, const Team& team, int rank, bool shared_memory) {
  uint32_t slots = 0;
  const auto streams = [&](const Port& port) {
    return !shared_memory || team.host_of(program.peers[port.link].rank) != team.host_of(rank);
  };
  for (const Instruction& instruction : program.instructions) {
    slots += static_cast<uint32_t>(std::ranges::count_if(instruction.ins, streams));
    slots += instruction.take == Take::nothing && !std::ranges::all_of(instruction.outs, streams);
  }
  return slots;
}

// The least that a pool has for one lane suffices, whether ranks of one host share memory or not.
TEST(Pool, HoldsTheMessagesOfEveryPlanBetweenHosts) {
  auto mixes = host_mixes();
  for (const auto& extreme : {std::vector{1, 16}, {1, 1, 40}, {40, 1, 3}, {1, 2, 4, 8, 16, 32}}) mixes.push_back(extreme);
  mixes.push_back(std::vector<int>(70, 1));
  mixes.back().push_back(2);
  for (const auto& ranks : mixes) {
    const Team team = team_of(ranks, true);
    const auto least = 2 * (static_cast<uint32_t>(team.size) + 8);
    for (const Algorithm& algorithm : algorithms()) {
      for (int rank = 0; rank < team.size; ++rank) {
        const Plan plan = algorithm.plan(rank, team, 0);
        const Program program = compile(plan, algorithm.collective, rank, team.size, 0);
        for (const bool shared_memory : {true, false})
          ASSERT_LE(taken(program, team, rank, shared_memory), least)
              << label(algorithm) << ", " << label(ranks) << ", rank " << rank;
        ASSERT_GE(pool_shape(team.size, 1, 0, 0).slot_bytes, 64u * plan.widest_run()) << label(algorithm) << label(ranks);
      }
    }
  }
}

// A message of one lane may have to follow one of the next, so all lanes of a wave must hold their slots at once.
TEST(Pool, HoldsAllLanesOfAWave) {
  for (const uint32_t lanes : {0u, 1u, 8u, 64u})
    for (const int size : {2, 64, 256, 420, 512}) {
      RouteTerms terms;
      terms.size = size;
      terms.lanes = lanes;
      const PoolShape pool = pool_shape(size, static_cast<uint32_t>(size), lanes, 0);
      terms.slots = pool.slots;
      terms.slot_bytes = pool.slot_bytes;
      const Cut cut = tutti::cut(terms, 1 << 20, 1);
      EXPECT_GE(cut.lanes, 1u);
      uint32_t most = 0;
      for (const Algorithm& algorithm : algorithms()) {
        const uint32_t slots = slots_per_stripe(compile(algorithm.plan(0, Team(size), 0), algorithm.collective, 0, size, 0));
        most = std::max(most, slots);
        EXPECT_LE(cut.lanes * slots, pool.slots) << label(algorithm) << " of " << size << ", lanes " << lanes;
      }
      EXPECT_GE(most, static_cast<uint32_t>(size) - 1);  // direct: one for each peer
      if (lanes == 0 && size <= 64) {
        EXPECT_EQ(cut.lanes, standard_lanes(true));
      }
    }
}

// ---- calls that a device's kernels carry out ----

constexpr DeviceSlots kSlots{.lanes = 32, .flagged_bytes = 512 << 10, .stamped_bytes = 8 << 10};

TEST(DeviceCut, StampsWhatIsSmall) {
  const auto protocol = [](uint64_t block_bytes, uint64_t blocks_moved, uint32_t widest_run = 1, DeviceSlots slots = kSlots) {
    return cut_on_device(slots, block_bytes, blocks_moved, widest_run, {}).protocol;
  };
  EXPECT_EQ(protocol(0, 1), DeviceProtocol::stamped);
  EXPECT_EQ(protocol(kStampedUntil, 1), DeviceProtocol::stamped);
  EXPECT_EQ(protocol(kStampedUntil + 1, 1), DeviceProtocol::flagged);
  EXPECT_EQ(protocol(kStampedUntil / 14, 14), DeviceProtocol::stamped);
  EXPECT_EQ(protocol(kStampedUntil / 14 + 1, 14), DeviceProtocol::flagged);
  EXPECT_EQ(protocol(uint64_t{1} << 63, 2), DeviceProtocol::flagged) << "whose product is 0";
  EXPECT_EQ(protocol(64, 1, 128), DeviceProtocol::stamped);
  EXPECT_EQ(protocol(64, 1, 129), DeviceProtocol::flagged) << "64 bytes of each block do not fit";
}

TEST(DeviceCut, TakesTheProtocolThatIsAskedFor) {
  const auto asked = [](uint64_t block_bytes, uint32_t widest_run, DeviceProtocol wanted) {
    return cut_on_device(kSlots, block_bytes, 1, widest_run, wanted).protocol;
  };
  EXPECT_EQ(asked(64 << 20, 1, DeviceProtocol::stamped), DeviceProtocol::stamped);
  EXPECT_EQ(asked(64, 1, DeviceProtocol::flagged), DeviceProtocol::flagged);
  EXPECT_EQ(asked(64, 129, DeviceProtocol::stamped), DeviceProtocol::flagged);
  EXPECT_EQ(asked(UINT64_MAX, 1, DeviceProtocol::stamped), DeviceProtocol::flagged) << "nobody knows how long";
}

TEST(DeviceCut, FillsLanesAndFitsSlots) {
  const auto cut_of = [](uint64_t block_bytes, uint32_t widest_run, const Cut& wish = {0, 0}) {
    const Cut cut = cut_on_device(kSlots, block_bytes, 1, widest_run, {}, wish).cut;
    return std::pair(cut.lanes, cut.stripe_bytes);
  };
  using Shape = std::pair<uint32_t, size_t>;
  EXPECT_EQ(cut_of(0, 1), Shape(1, 4096));
  EXPECT_EQ(cut_of(4096, 1), Shape(1, 4096));
  EXPECT_EQ(cut_of(4097, 1), Shape(2, 4096));
  EXPECT_EQ(cut_of(200 << 10, 1), Shape(32, 6400));
  EXPECT_EQ(cut_of(kStampedUntil, 1), Shape(32, 8192)) << "all in one stripe a lane";
  EXPECT_EQ(cut_of(1 << 20, 1), Shape(32, 32 << 10));
  EXPECT_EQ(cut_of(1 << 30, 1), Shape(32, (512 << 10) - 64));
  EXPECT_EQ(cut_of(1 << 30, 4), Shape(32, (128 << 10) - 64));
  EXPECT_EQ(cut_of(UINT64_MAX, 1), Shape(32, (512 << 10) - 64));
  EXPECT_EQ(cut_of(1 << 20, 1, {4, 0}), Shape(4, 256 << 10));
  EXPECT_EQ(cut_of(1 << 20, 1, {64, 1024}), Shape(32, 1024));
}

}  // namespace
}  // namespace tutti
