// tutti_comm_split: who lands where, and that parents and children do not disturb each other.

#include <gtest/gtest.h>

#include <filesystem>
#include <iterator>

#include "local_world.h"

namespace tutti::test {
namespace {

// Sum over the communicator of 2^(world rank): says who is in it.
uint32_t members(tutti_comm* comm, int world_rank) {
  const uint32_t mine = 1u << world_rank;
  uint32_t all = 0;
  EXPECT_TRUE(succeeded(tutti_all_reduce(comm, &mine, &all, 1, TUTTI_UINT32, TUTTI_SUM, nullptr), comm));
  return all;
}

TEST(Split, ByColor) {
  const LocalWorld world(6);
  ASSERT_EQ(world.size(), 6);
  world.run([](int rank, tutti_comm* comm) {
    tutti_comm* child = nullptr;
    ASSERT_TRUE(succeeded(tutti_comm_split(comm, rank % 2, 0, &child), comm));
    EXPECT_EQ(tutti_comm_size(child), 3);
    EXPECT_EQ(tutti_comm_rank(child), rank / 2);  // equal keys: order of the old ranks
    EXPECT_EQ(members(child, rank), rank % 2 == 0 ? 0b010101u : 0b101010u);
    EXPECT_EQ(members(comm, rank), 0b111111u);
    EXPECT_TRUE(succeeded(tutti_comm_destroy(child), nullptr));
    EXPECT_EQ(members(comm, rank), 0b111111u);  // the parent goes on without it
  });
}

TEST(Split, KeysOrderTheRanks) {
  const LocalWorld world(4);
  ASSERT_EQ(world.size(), 4);
  world.run([](int rank, tutti_comm* comm) {
    tutti_comm* child = nullptr;
    ASSERT_TRUE(succeeded(tutti_comm_split(comm, 7, -10 * rank, &child), comm));
    EXPECT_EQ(tutti_comm_rank(child), 3 - rank);
    std::vector<int32_t> order(4, -1);
    ASSERT_TRUE(succeeded(tutti_all_gather(child, &rank, order.data(), 1, TUTTI_INT32, nullptr), child));
    EXPECT_EQ(order, (std::vector<int32_t>{3, 2, 1, 0}));
    EXPECT_TRUE(succeeded(tutti_comm_destroy(child), nullptr));
  });
}

TEST(Split, ColorMinusOneJoinsNone) {
  const LocalWorld world(3);
  ASSERT_EQ(world.size(), 3);
  world.run([](int rank, tutti_comm* comm) {
    auto* child = reinterpret_cast<tutti_comm*>(8);
    ASSERT_TRUE(succeeded(tutti_comm_split(comm, rank == 1 ? -1 : 0, 0, &child), comm));
    if (rank == 1) {
      EXPECT_EQ(child, nullptr);
    } else {
      EXPECT_EQ(tutti_comm_size(child), 2);
      EXPECT_EQ(members(child, rank), 0b101u);
      EXPECT_TRUE(succeeded(tutti_comm_destroy(child), nullptr));
    }
  });
}

TEST(Split, EachRankAlone) {
  const LocalWorld world(3);
  ASSERT_EQ(world.size(), 3);
  world.run([](int rank, tutti_comm* comm) {
    tutti_comm* child = nullptr;
    ASSERT_TRUE(succeeded(tutti_comm_split(comm, rank, 0, &child), comm));
    EXPECT_EQ(tutti_comm_size(child), 1);
    EXPECT_EQ(members(child, rank), 1u << rank);
    EXPECT_TRUE(succeeded(tutti_comm_destroy(child), nullptr));
  });
}

TEST(Split, SplitsOfASplit) {
  const LocalWorld world(8);
  ASSERT_EQ(world.size(), 8);
  world.run([](int rank, tutti_comm* comm) {
    tutti_comm *half = nullptr, *quarter = nullptr;
    ASSERT_TRUE(succeeded(tutti_comm_split(comm, rank / 4, 0, &half), comm));
    ASSERT_TRUE(succeeded(tutti_comm_split(half, tutti_comm_rank(half) / 2, 0, &quarter), half));
    EXPECT_EQ(members(quarter, rank), 0b11u << (rank / 2 * 2));
    EXPECT_EQ(members(half, rank), 0b1111u << (rank / 4 * 4));
    EXPECT_TRUE(succeeded(tutti_comm_destroy(half), nullptr));  // a parent may end before its child
    EXPECT_EQ(members(quarter, rank), 0b11u << (rank / 2 * 2));
    EXPECT_TRUE(succeeded(tutti_comm_destroy(quarter), nullptr));
  });
}

// Both children of every split at once, again and again: contexts must not be confused.
TEST(Split, ManyInTurn) {
  const LocalWorld world(4);
  ASSERT_EQ(world.size(), 4);
  world.run([](int rank, tutti_comm* comm) {
    for (int round = 0; round < 8; ++round) {
      tutti_comm* child = nullptr;
      const int color = (rank >> (round % 2)) & 1;
      ASSERT_TRUE(succeeded(tutti_comm_split(comm, color, 0, &child), comm));
      EXPECT_EQ(tutti_comm_size(child), 2);
      members(child, rank);
      EXPECT_TRUE(succeeded(tutti_comm_destroy(child), nullptr));
    }
    EXPECT_EQ(members(comm, rank), 0b1111u);
  });
}

// A split is one call of the parent's, however many of its own the library makes of it: the next call is the third, and
// is named so.
TEST(Split, CountsAsOneCall) {
  const LocalWorld world(3);
  ASSERT_EQ(world.size(), 3);
  world.run([](int rank, tutti_comm* comm) {
    std::vector<float> values(100'000, 1.0F);
    const auto sum = [&](size_t count) {
      return tutti_all_reduce(comm, values.data(), values.data(), count, TUTTI_FLOAT32, TUTTI_SUM, nullptr);
    };
    EXPECT_TRUE(succeeded(sum(values.size()), comm));
    tutti_comm* child = nullptr;
    ASSERT_TRUE(succeeded(tutti_comm_split(comm, 0, 0, &child), comm));
    EXPECT_EQ(sum(rank == 0 ? 90'000 : 80'000), TUTTI_MISMATCH);
    const std::string sentence = tutti_last_error(comm);
    EXPECT_NE(sentence.find("all_reduce #3 of 90000 float32"), std::string::npos) << sentence;
    EXPECT_NE(sentence.find("all_reduce #3 of 80000 float32"), std::string::npos) << sentence;
    EXPECT_TRUE(succeeded(tutti_comm_destroy(child), nullptr));
  });
}

TEST(Split, NoDescriptorIsLeftBehind) {
  const auto descriptors = [] {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return std::distance(begin(all), end(all));
  };
  // The world of a test before may still be closing its few, and so may the last one here; ten rounds would leave more.
  const auto before = descriptors();
  for (int round = 0; round < 10; ++round) {
    const LocalWorld world(4);
    ASSERT_EQ(world.size(), 4);
    world.run([](int rank, tutti_comm* comm) {
      tutti_comm *half = nullptr, *pair = nullptr;
      ASSERT_TRUE(succeeded(tutti_comm_split(comm, rank == 3 ? -1 : 5, rank, &half), comm));
      if (!half) return;
      ASSERT_TRUE(succeeded(tutti_comm_split(half, rank / 2, 0, &pair), half));
      EXPECT_TRUE(succeeded(tutti_comm_destroy(pair), nullptr));
      EXPECT_TRUE(succeeded(tutti_comm_destroy(half), nullptr));
    });
  }
  EXPECT_LT(descriptors(), before + 10);
}

}  // namespace
}  // namespace tutti::test
