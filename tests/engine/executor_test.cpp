// Every plan and codec with an executor that answers later, over links of every form: bit for bit what the host's
// executor makes over slots.  This is what a device will ask of the engine.
#include <gtest/gtest.h>

#include <vector>

#include "coded_world.h"
#include "exercise.h"
#include "sanitized.h"

namespace tutti::test {
namespace {

using Bits = std::vector<std::vector<int32_t>>;  // of the outputs of two operations, by rank

constexpr Wiring kWirings[] = {Wiring::slots, Wiring::streams, Wiring::puts, Wiring::all};

Case case_of(const Algorithm& algorithm, const Team& team, size_t count, uint32_t lanes) {
  Case c{&algorithm, team, team.size / 2, count, false, lanes, 64, DataType::float32};
  c.stripe_bytes = std::max<size_t>(64, 1024 / algorithm.plan(0, team, c.root).widest_run() / 64 * 64);
  return c;
}

bool may_be_in_place(Collective collective) {
  return collective == Collective::all_reduce || collective == Collective::broadcast || collective == Collective::reduce;
}

// Two operations at once, the second in place where that can be, and about half of all memory lent.
Bits outputs_of(const Case& c, Wiring wiring, bool late) {
  EngineWorld world(c.team, wiring, shape_of(c.team.size, 4096, c.lanes), static_cast<uint32_t>(c.count));
  if (late) world.compute_late(static_cast<uint32_t>(c.count) + c.lanes);
  Case in_place = c;
  in_place.in_place = may_be_in_place(c.algorithm->collective);
  Exercise first(c, 1, &world), second(in_place, 2, &world);
  for (Exercise* exercise : {&first, &second})
    world.start([&](int rank, LinkTable& link_table) { return exercise->operation(rank, link_table); });
  const Status status = world.finish();
  EXPECT_TRUE(status.ok()) << status.message();
  Bits bits;
  for (const Exercise* exercise : {&first, &second})
    for (const auto& output : exercise->outputs()) bits.emplace_back(output.begin(), output.end());
  for (int rank = 0; rank < c.team.size; ++rank) {
    EXPECT_EQ(world.reserved(rank), 0u) << rank;
    EXPECT_TRUE(world.link_table(rank).executor->idle()) << rank;
  }
  return bits;
}

class EveryPlan : public testing::TestWithParam<size_t> {};

TEST_P(EveryPlan, BitForBitAlthoughComputingTakesItsTime) {
  const Algorithm& algorithm = algorithms()[GetParam()];
  for (const int size : sizes_up_to(9))
    for (const size_t count : {size_t{3}, size_t{2500}}) {
      const Case c = case_of(algorithm, size, count, 1 + static_cast<uint32_t>(size) % 3);
      const Bits wanted = outputs_of(c, Wiring::slots, false);
      for (const Wiring wiring : kWirings) {
        SCOPED_TRACE(std::to_string(size) + " ranks, " + std::to_string(count) + " elements, wiring " +
                     std::to_string(static_cast<int>(wiring)));
        ASSERT_EQ(outputs_of(c, wiring, true), wanted);
      }
    }
}

TEST_P(EveryPlan, BitForBitBetweenHosts) {
  const std::vector<std::vector<int>> mixes{{2, 2}, {3, 1, 4}};
  for (const auto& mix : mixes) {
    const Case c = case_of(algorithms()[GetParam()], team_of(mix, true), 2500, 2);
    const Bits wanted = outputs_of(c, Wiring::slots, false);
    for (const Wiring wiring : {Wiring::hosts, Wiring::hosts_puts}) ASSERT_EQ(outputs_of(c, wiring, true), wanted);
  }
}

INSTANTIATE_TEST_SUITE_P(Executor, EveryPlan, testing::Range(size_t{0}, algorithms().size()), [](const auto& row) {
  const Algorithm& algorithm = algorithms()[row.param];
  return std::string(name(algorithm.collective)) + "_" + std::string(algorithm.name);
});

class EveryCodecLater : public testing::TestWithParam<const char*> {};

std::vector<uint32_t> bits_of(std::vector<float> numbers) {
  std::vector<uint32_t> bits(numbers.size());
  std::ranges::transform(numbers, bits.begin(), [](float x) { return std::bit_cast<uint32_t>(x); });
  return bits;
}

// Outputs and residuals of all ranks after some steps.
std::vector<std::vector<uint32_t>> coded_outputs_of(const Setup& setup) {
  CodedWorld world(setup);
  const auto size = static_cast<size_t>(setup.team.size);
  std::minstd_rand random(7);
  for (int step = 0; step < 2; ++step) {
    for (int rank = 0; rank < setup.team.size; ++rank) {
      std::vector<float> values(setup.count);
      for (float& v : values) v = static_cast<float>(static_cast<int32_t>(random() % 20001) - 10000) / 1024.0f;
      world.set_input(rank, values);
    }
    const Status status = world.step();
    EXPECT_TRUE(status.ok()) << status.message();
  }
  std::vector<std::vector<uint32_t>> all;
  for (size_t rank = 0; rank < size; ++rank) {
    all.push_back(bits_of(world.output(rank)));
    const float* left = world.tensor(rank).residual();
    if (left) all.push_back(bits_of(std::vector<float>(left, left + setup.count)));
  }
  return all;
}

TEST_P(EveryCodecLater, BitForBitAlthoughComputingTakesItsTime) {
  for (const Algorithm* algorithm : carriers())
    for (const int size : sizes_up_to(9)) {
      test::Setup setup{algorithm, size, Wiring::slots, GetParam(), 5000 + static_cast<size_t>(size)};
      const auto wanted = coded_outputs_of(setup);
      setup.late = true;
      for (const Wiring wiring : {kWirings[size % 3], Wiring::all}) {
        setup.wiring = wiring;
        SCOPED_TRACE(told(setup));
        ASSERT_EQ(coded_outputs_of(setup), wanted);
      }
    }
}

TEST_P(EveryCodecLater, OneRankAlone) {
  test::Setup setup{carriers()[0], 1, Wiring::slots, GetParam(), 3000};
  const auto wanted = coded_outputs_of(setup);
  setup.late = true;
  EXPECT_EQ(coded_outputs_of(setup), wanted);
}

INSTANTIATE_TEST_SUITE_P(Executor, EveryCodecLater, testing::ValuesIn(kSpecs), name_of);

// A call that fails returns its memory to the caller: nothing computes there any more.
TEST(Executor, NothingComputesAfterAFailure) {
  const Algorithm& ring = algorithms()[*find_algorithm(Collective::all_reduce, "ring")];
  uint64_t abandoned = 0;
  for (uint32_t seed = 1; seed <= 8 || (abandoned == 0 && seed <= 64); ++seed) {  // not every failure meets work
    EngineWorld world(3, Wiring::streams, shape_of(3, 4096, 4), seed);
    world.compute_late(seed);
    Exercise exercise(Case{&ring, 3, 0, 20'000, false, 4, 512}, 1, &world);
    world.start([&](int rank, LinkTable& link_table) { return exercise.operation(rank, link_table); });
    ASSERT_TRUE(world.advance(200).ok());
    for (const int from : {0, 1, 2}) world.cut(from, (from + 1) % 3);
    EXPECT_EQ(world.finish().code(), Code::peer_lost);
    for (int rank = 0; rank < 3; ++rank) {
      if (!world.failed(rank)) continue;
      const auto& executor = static_cast<LateExecutor&>(*world.link_table(rank).executor);
      EXPECT_TRUE(executor.idle()) << rank;
      abandoned += executor.abandoned();
    }
  }
  EXPECT_GT(abandoned, 0u);
}

}  // namespace
}  // namespace tutti::test
