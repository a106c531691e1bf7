// Many operations in flight on a group, its splits and their splits, over every transport between threads of one
// process, with pools that run dry and ranks of unequal speed.  Seeds are fixed; values decide, never times.

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string>

#include "local_world.h"
#include "random_program.h"
#include "sanitized.h"
#include "transports.h"

namespace tutti::test {
namespace {

// Set while a communicator is made.
class Settings {
 public:
  explicit Settings(std::map<std::string, std::string> values) : values_(std::move(values)) {
    for (const auto& [name, value] : values_) setenv(name.c_str(), value.c_str(), 1);
  }
  Settings(const Settings&) = delete;
  ~Settings() {
    for (const auto& [name, value] : values_) unsetenv(name.c_str());
  }

 private:
  std::map<std::string, std::string> values_;
};

class Stress : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (const std::string why = lacks(GetParam()); !why.empty()) GTEST_SKIP() << why;
  }

  // A random program on the world, two ways of halving it, and a split of the first half.
  void run(int size, uint64_t seed, const ProgramLimits& limits, std::map<std::string, std::string> values = {}) {
    SCOPED_TRACE(std::string(GetParam()) + ", " + std::to_string(size) + " ranks, seed " + std::to_string(seed));
    values["TUTTI_TRANSPORT"] = GetParam();
    const Settings settings(values);
    const LocalWorld world(size);
    ASSERT_EQ(world.size(), size);
    world.run([&](int rank, tutti_comm* comm) {
      tutti_stats stats{};
      stats.struct_size = sizeof stats;
      ASSERT_TRUE(succeeded(tutti_comm_stats(comm, &stats), comm));
      ASSERT_EQ(stats.transports, GetParam() + (" " + std::to_string(size - 1)));  // or this would test another one
      tutti_comm *half = nullptr, *stripe = nullptr, *part = nullptr;
      const int side = rank * 2 / size, parity = rank % 2;
      ASSERT_TRUE(succeeded(tutti_comm_split(comm, side, -rank, &half), comm));
      ASSERT_TRUE(succeeded(tutti_comm_split(comm, parity, 0, &stripe), comm));
      ASSERT_TRUE(succeeded(tutti_comm_split(half, tutti_comm_rank(half) % 2, 0, &part), half));
      const auto name = [](int kind, int color) { return static_cast<uint64_t>(10 * kind + color); };
      const uint64_t part_name = name(3, 2 * side + tutti_comm_rank(half) % 2);
      EXPECT_EQ(run_random_program({{comm, 0}, {half, name(1, side)}, {stripe, name(2, parity)}, {part, part_name}}, seed, limits),
                "")
          << "rank " << rank;
      for (tutti_comm* child : {part, stripe, half}) EXPECT_TRUE(succeeded(tutti_comm_destroy(child), nullptr));
    });
  }
};

INSTANTIATE_TEST_SUITE_P(Over, Stress, testing::Values("memory", "shm", "tcp", "ucx"),
                         [](const auto& tested) { return std::string(tested.param); });

TEST_P(Stress, ManyRequestsOnSeveralCommunicators) {
  run(2, 11, {.steps = fewer(80, 24), .elements = 3'000, .in_flight = 30});
  run(4, 12, {.steps = fewer(80, 24), .elements = 3'000, .in_flight = 30});
  run(5, 13, {.steps = fewer(60, 18), .elements = 2'000, .in_flight = 60});  // all at once
}

// A wave of eight lanes takes nearly all slots of 4 KiB; one lane and one slot for each of many stripes is the other
// extreme.
TEST_P(Stress, PoolsThatRunDry) {
  for (const char* lanes : {"1", "8"})
    run(4, 21, {.steps = fewer(50, 15), .elements = 8'000, .in_flight = 40}, {{"TUTTI_SLOT_BYTES", "4K"}, {"TUTTI_LANES", lanes}});
}

TEST_P(Stress, RanksOfUnequalSpeed) {
  run(3, 31, {.steps = fewer(80, 24), .elements = 3'000, .in_flight = 12, .uneven = true});
  run(4, 32, {.steps = fewer(60, 18), .elements = 3'000, .in_flight = 25, .uneven = true},
      {{"TUTTI_SLOT_BYTES", "4K"}, {"TUTTI_LANES", "2"}});
}

}  // namespace
}  // namespace tutti::test
