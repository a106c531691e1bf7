// Random programs of mixed collectives between threads, on a group and on its splits.  API_TEST_SEED repeats them.

#include "random_program.h"

#include <gtest/gtest.h>

#include <iostream>

#include "cases.h"
#include "local_world.h"
#include "sanitized.h"

namespace tutti::test {
namespace {

constexpr ProgramLimits kLimits{.steps = fewer(60, 20)};

uint64_t announced_seed() {
  const uint64_t seed = random_seed();
  std::cout << "API_TEST_SEED=" << seed << std::endl;
  return seed;
}

TEST(RandomProgram, OnOneGroup) {
  const uint64_t seed = announced_seed();
  for (const int size : sizes_up_to(8)) {
    const LocalWorld world(size);
    ASSERT_EQ(world.size(), size);
    world.run([&](int rank, tutti_comm* comm) {
      EXPECT_EQ(run_random_program({{comm, 0}}, seed + static_cast<uint64_t>(size), kLimits), "")
          << "size " << size << ", rank " << rank;
    });
  }
}

// A split of `member` by a random color of each rank.
Member split(const Member& member, uint64_t seed) {
  const auto rank = static_cast<uint64_t>(tutti_comm_rank(member.comm));
  const int color = static_cast<int>(random_word(seed, member.group, rank) % 2);
  const int key = static_cast<int>(random_word(seed + 1, member.group, rank) % 100);
  Member child{nullptr, 2 * member.group + static_cast<uint64_t>(color) + 1};
  EXPECT_TRUE(succeeded(tutti_comm_split(member.comm, color, key, &child.comm), member.comm));
  return child;
}

TEST(RandomProgram, OnAGroupAndItsSplits) {
  const uint64_t seed = announced_seed();
  for (const int size : {2, 5, 8}) {
    const LocalWorld world(size);
    ASSERT_EQ(world.size(), size);
    world.run([&](int rank, tutti_comm* comm) {
      const Member parent{comm, 0};
      const Member child = split(parent, seed);
      ASSERT_NE(child.comm, nullptr);
      const Member grandchild = split(child, seed);
      ASSERT_NE(grandchild.comm, nullptr);
      EXPECT_EQ(run_random_program({parent, child, grandchild}, seed, kLimits), "") << "size " << size << ", rank " << rank;
      EXPECT_TRUE(succeeded(tutti_comm_destroy(grandchild.comm), nullptr));
      EXPECT_EQ(run_random_program({parent, child}, seed + 1, kLimits), "") << "size " << size << ", rank " << rank;
      EXPECT_TRUE(succeeded(tutti_comm_destroy(child.comm), nullptr));
    });
  }
}

}  // namespace
}  // namespace tutti::test
