// Many operations in flight in a pool that holds just the slots which the greediest of them needs for one wave of
// stripes, and ranks of very different speeds: nothing deadlocks, values are right, every slot comes destination.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>

#include "exercise.h"
#include "sample_teams.h"

namespace tutti::test {
namespace {

constexpr size_t kSlot = 1024;

// Any collectives by any algorithms; `wiring` decides between them only.
std::deque<Exercise> random_exercises(const Team& team, uint32_t seed, int count) {
  std::minstd_rand random(seed);
  std::deque<Exercise> exercises;
  for (int i = 0; i < count; ++i) {
    const Algorithm& algorithm = algorithms()[random() % algorithms().size()];
    Case c{&algorithm, team, static_cast<int>(random() % static_cast<uint32_t>(team.size)), random() % 3000, false, 1, 64};
    c.lanes = 1 + static_cast<uint32_t>(random() % 5);
    c.stripe_bytes = std::max<size_t>(64, kSlot / algorithm.plan(0, team, c.root).widest_run() / 64 * 64);
    exercises.emplace_back(c, i + 1);
  }
  return exercises;
}

// The most slots that one wave takes on any rank: a message of one lane may have to follow one of the next, so all must
// have begun.
uint32_t least_slots(std::deque<Exercise>& exercises, const Team& team, Wiring wiring) {
  EngineWorld world(team, wiring, shape_of(team.size, kSlot, 1), 1);
  uint32_t most = 1;
  for (Exercise& exercise : exercises)
    for (int rank = 0; rank < team.size; ++rank)
      most = std::max(most, exercise.lanes() * exercise.slots(rank, world.link_table(rank)));
  return most;
}

void run(const Team& team, Wiring wiring, uint32_t seed, uint32_t spare_slots, int slow_rank) {
  SCOPED_TRACE(std::to_string(team.size) + " ranks on " + std::to_string(team.hosts()) + " hosts, wiring " +
               std::to_string(static_cast<int>(wiring)) + ", seed " + std::to_string(seed) + ", " + std::to_string(spare_slots) +
               " slots to spare, slow rank " + std::to_string(slow_rank));
  auto exercises = random_exercises(team, seed, 12);
  memory::ArenaShape shape = shape_of(team.size, kSlot, 1);
  shape.slots = least_slots(exercises, team, wiring) + spare_slots;
  EngineWorld world(team, wiring, shape, seed);
  if (slow_rank >= 0) world.slow_down(slow_rank, 40);
  std::minstd_rand random(seed + 1);
  std::vector<size_t> started(static_cast<size_t>(team.size), 0);
  // Ranks call when it suits them: some are many calls ahead of others.
  for (size_t left = exercises.size() * started.size(); left > 0;) {
    const auto rank = static_cast<int>(random() % started.size());
    size_t& next = started[static_cast<size_t>(rank)];
    if (next == exercises.size() || (rank == slow_rank && random() % 8 != 0)) continue;
    world.start_at(rank, [&](int r, LinkTable& link_table) { return exercises[next].operation(r, link_table); });
    ++next;
    --left;
    const Status status = world.advance(static_cast<int>(random() % 60));
    ASSERT_TRUE(status.ok()) << status.message();
  }
  const Status status = world.finish();
  ASSERT_TRUE(status.ok()) << status.message();
  for (const Exercise& exercise : exercises) exercise.expect_right();
  for (int rank = 0; rank < team.size; ++rank) {
    EXPECT_EQ(world.reserved(rank), 0u) << rank;
    EXPECT_EQ(world.free_slots(rank), shape.slots) << rank;
  }
}

TEST(EngineStress, ManyOperationsInTheSmallestPool) {
  for (uint32_t seed = 1; seed <= 6; ++seed)
    for (const int size : {2, 3, 5, 8})
      for (const Wiring wiring : {Wiring::slots, Wiring::streams, Wiring::mixed, Wiring::puts, Wiring::all}) {
        run(size, wiring, seed, seed % 3, -1);
        if (HasFatalFailure()) return;
      }
}

TEST(EngineStress, OneRankIsFarBehind) {
  for (uint32_t seed = 1; seed <= 4; ++seed)
    for (const int size : {2, 4, 7})
      for (const Wiring wiring : {Wiring::slots, Wiring::streams, Wiring::mixed, Wiring::puts, Wiring::all}) {
        run(size, wiring, 100 + seed, 0, static_cast<int>(seed) % size);
        if (HasFatalFailure()) return;
      }
}

TEST(EngineStress, BetweenHosts) {
  const std::vector<std::vector<int>> mixes{{2, 2}, {3, 1, 4}, {1, 5}};
  for (uint32_t seed = 1; seed <= 4; ++seed)
    for (const auto& mix : mixes) {
      const Team team = team_of(mix, seed % 2 == 1);
      run(team, seed % 2 == 0 ? Wiring::hosts : Wiring::hosts_puts, 200 + seed, 0, seed > 2 ? 0 : -1);
      if (HasFatalFailure()) return;
    }
}

}  // namespace
}  // namespace tutti::test
