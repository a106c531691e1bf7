// Every plan through the engine, over links that delay, over streams that read late, over puts that land late, and over
// all at once.
#include <gtest/gtest.h>

#include "exercise.h"
#include "sample_teams.h"
#include "sanitized.h"

namespace tutti::test {
namespace {

// Two operations in flight, sizes from nothing to many waves.
void exercise(const Algorithm& algorithm, const Team& team, Wiring wiring, uint32_t seed) {
  constexpr size_t kSlot = 4096;
  const int size = team.size;
  std::minstd_rand random(seed);
  const auto p = static_cast<size_t>(size);
  for (const size_t count : {size_t{0}, size_t{1}, p, p + 1, size_t{777}, size_t{40 * 1024 / 4 + 3}}) {
    Case c{&algorithm, team, static_cast<int>(random() % p), count, false, 1 + static_cast<uint32_t>(random() % 4), 64};
    const Plan plan = algorithm.plan(0, team, c.root);
    c.stripe_bytes = std::max<size_t>(64, (random() % 2 ? kSlot : 512) / plan.widest_run() / 64 * 64);
    const bool may_be_in_place = !each_rank_has_a_part(algorithm.collective) && algorithm.collective != Collective::barrier;
    SCOPED_TRACE(std::string(name(algorithm.collective)) + " " + std::string(algorithm.name) + ", " + std::to_string(size) +
                 " ranks on " + std::to_string(team.hosts()) + " hosts, root " + std::to_string(c.root) + ", count " +
                 std::to_string(count) + ", lanes " + std::to_string(c.lanes) + ", stripe " + std::to_string(c.stripe_bytes));
    EngineWorld world(team, wiring, shape_of(size, kSlot, c.lanes), seed + static_cast<uint32_t>(count));
    Exercise first(c, 1, &world);
    c.in_place = may_be_in_place;
    Exercise second(c, 2, &world);
    world.start([&](int rank, LinkTable& link_table) { return first.operation(rank, link_table); });
    world.start([&](int rank, LinkTable& link_table) { return second.operation(rank, link_table); });
    const Status status = world.finish();
    ASSERT_TRUE(status.ok()) << status.message();
    first.expect_right();
    second.expect_right();
    for (int rank = 0; rank < size; ++rank) ASSERT_EQ(world.reserved(rank), 0u);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

class EveryAlgorithm : public ::testing::TestWithParam<size_t> {};

TEST_P(EveryAlgorithm, OverEveryFormOfLink) {
  const Algorithm& algorithm = algorithms()[GetParam()];
  for (const int size : sizes_up_to(9))
    for (const Wiring wiring : {Wiring::slots, Wiring::streams, Wiring::mixed, Wiring::puts, Wiring::all}) {
      exercise(algorithm, size, wiring, static_cast<uint32_t>(17 * size + static_cast<int>(wiring)));
      if (HasFatalFailure()) return;
    }
}

TEST_P(EveryAlgorithm, BetweenAndWithinHosts) {
  const std::vector<std::vector<int>> mixes{{2, 2}, {3, 1, 4}, {1, 5}, {2, 1, 1, 3}, {4, 4}, {1, 1, 1}};
  for (size_t i = 0; i < mixes.size(); ++i) {
    for (const Wiring wiring : {Wiring::hosts, Wiring::hosts_puts}) {
      exercise(algorithms()[GetParam()], team_of(mixes[i], i % 2 == 1), wiring, static_cast<uint32_t>(31 * i + 1));
      if (HasFatalFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Engine, EveryAlgorithm, ::testing::Range(size_t{0}, algorithms().size()), [](const auto& row) {
  const Algorithm& algorithm = algorithms()[row.param];
  return std::string(name(algorithm.collective)) + "_" + std::string(algorithm.name);
});

TEST(Engine, SaysWhenALinkIsLost) {
  const Algorithm& ring = algorithms()[*find_algorithm(Collective::all_reduce, "ring")];
  EngineWorld world(3, Wiring::streams, shape_of(3, 4096, 2), 7);
  Exercise exercise({&ring, 3, 0, 5000, false, 2, 1024}, 1, &world);
  world.cut(1, 2);
  world.start([&](int rank, LinkTable& link_table) { return exercise.operation(rank, link_table); });
  const Status status = world.finish();
  EXPECT_EQ(status.code(), Code::peer_lost);
  const char* const story = "the stream was cut (seen by this rank); this rank was in all_reduce #1";
  EXPECT_NE(status.message().find(story), std::string::npos) << status.message();
}

TEST(Engine, NamesBothCallsOnMismatch) {
  const Algorithm& ring = algorithms()[*find_algorithm(Collective::all_reduce, "ring")];
  const Algorithm& tree = algorithms()[*find_algorithm(Collective::broadcast, "direct")];
  EngineWorld world(2, Wiring::slots, shape_of(2, 4096, 1), 5);
  Exercise reduce({&ring, 2, 0, 100, false, 1, 256}, 1, &world), broadcast({&tree, 2, 0, 100, false, 1, 256}, 1, &world);
  world.start_at(0, [&](int rank, LinkTable& link_table) { return broadcast.operation(rank, link_table); });
  world.start_at(1, [&](int rank, LinkTable& link_table) { return reduce.operation(rank, link_table); });
  const Status status = world.finish();
  EXPECT_EQ(status.code(), Code::mismatch);
  EXPECT_NE(status.message().find("all_reduce"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("broadcast"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace tutti::test
