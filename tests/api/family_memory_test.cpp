// Communicators that are split off others lend each other's memory, between threads and between processes.
#include "family_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <future>
#include <vector>

#include "local_world.h"
#include "process_world.h"

namespace tutti::test {
namespace {

using testing::HasSubstr;

constexpr size_t kCount = 200'000;

class Threads : public testing::TestWithParam<const char*> {
  void SetUp() override { ::setenv("TUTTI_TRANSPORT", GetParam(), 1); }
  void TearDown() override { ::unsetenv("TUTTI_TRANSPORT"); }
};

TEST_P(Threads, LendMemoryOfTheFamily) {
  std::vector<tutti_comm*> comms(5);
  ASSERT_EQ(tutti_comm_create_local(comms.data(), 5), TUTTI_SUCCESS) << tutti_last_error(nullptr);
  on_all_ranks(5, [&](int rank) { EXPECT_EQ(check_family_memory(comms[static_cast<size_t>(rank)]), ""); });
}

// A call of the split on the parent's memory is under way while the parent wants to free that, and while it ends.
TEST_P(Threads, KeepWhatAnotherCommunicatorUses) {
  std::vector<tutti_comm*> comms(2);
  ASSERT_EQ(tutti_comm_create_local(comms.data(), 2), TUTTI_SUCCESS) << tutti_last_error(nullptr);
  std::promise<void> ended;
  on_all_ranks(2, [&](int rank) {
    tutti_comm *const world = comms[static_cast<size_t>(rank)], *child = nullptr;
    ASSERT_TRUE(succeeded(tutti_comm_split(world, 0, 0, &child), world));
    void* memory = nullptr;
    ASSERT_TRUE(succeeded(tutti_alloc(world, kCount * sizeof(float), &memory), world));
    auto* const numbers = static_cast<float*>(memory);
    std::fill_n(numbers, kCount, 1.0f);
    if (rank == 1) ended.get_future().wait();
    tutti_request* sum = nullptr;
    ASSERT_TRUE(succeeded(tutti_all_reduce_start(child, numbers, numbers, kCount, TUTTI_FLOAT32, TUTTI_SUM, nullptr, &sum), child));
    if (rank == 0) {
      EXPECT_EQ(tutti_free(world, memory), TUTTI_INVALID_ARGUMENT);
      EXPECT_THAT(tutti_last_error(world), HasSubstr("in use by all_reduce"));
      EXPECT_TRUE(succeeded(tutti_comm_destroy(world), nullptr));
      ended.set_value();
    }
    EXPECT_TRUE(succeeded(tutti_wait(sum), child));
    EXPECT_EQ(std::count(numbers, numbers + kCount, 2.0f), static_cast<ptrdiff_t>(kCount));
    if (rank == 1) {
      EXPECT_TRUE(succeeded(tutti_comm_destroy(world), nullptr));
    }
    EXPECT_TRUE(succeeded(tutti_comm_destroy(child), nullptr));
  });
}

// The parent goes on, and so does its memory; addresses that the dead split may still write to are not given out again.
TEST_P(Threads, GoOnAfterTheFailureOfASplit) {
  const LocalWorld world(3);
  ASSERT_EQ(world.size(), 3);
  world.run([](int rank, tutti_comm* comm) {
    tutti_comm* child = nullptr;
    ASSERT_TRUE(succeeded(tutti_comm_split(comm, 0, 0, &child), comm));
    void *memory = nullptr, *again = nullptr;
    ASSERT_TRUE(succeeded(tutti_alloc(comm, kCount * sizeof(float), &memory), comm));
    auto* const numbers = static_cast<float*>(memory);
    std::fill_n(numbers, kCount, 1.0f);
    ASSERT_TRUE(succeeded(tutti_all_reduce(child, numbers, numbers, kCount, TUTTI_FLOAT32, TUTTI_SUM, nullptr), child));
    ASSERT_TRUE(succeeded(tutti_barrier(comm, nullptr), comm));
    if (rank == 1) {
      ASSERT_TRUE(succeeded(tutti_comm_abort(child, "a test"), child));
    }
    while (tutti_all_reduce(child, numbers, numbers, 1, TUTTI_FLOAT32, TUTTI_MAX, nullptr) == TUTTI_SUCCESS) {
    }
    EXPECT_EQ(tutti_comm_destroy(child), TUTTI_SUCCESS);
    std::fill_n(numbers, kCount, 2.0f);
    ASSERT_TRUE(succeeded(tutti_all_reduce(comm, numbers, numbers, kCount, TUTTI_FLOAT32, TUTTI_SUM, nullptr), comm));
    EXPECT_EQ(std::count(numbers, numbers + kCount, 6.0f), static_cast<ptrdiff_t>(kCount));
    EXPECT_TRUE(succeeded(tutti_free(comm, memory), comm));
    ASSERT_TRUE(succeeded(tutti_alloc(comm, kCount * sizeof(float), &again), comm));
    EXPECT_NE(again, memory);
  });
}

INSTANTIATE_TEST_SUITE_P(Over, Threads, testing::Values("memory", "shm"), parameter_name);

class FamilyProcesses : public testing::TestWithParam<const char*> {};

TEST_P(FamilyProcesses, LendMemoryOfTheFamily) {
  ProcessWorld world(5, {program_from("API_TEST_RANK_PROGRAM"), "family_memory"}, {}, GetParam());
  for (const Ending& ending : world.wait(60)) EXPECT_EQ(ending.exit_code, 0) << ending.output;
}

INSTANTIATE_TEST_SUITE_P(Over, FamilyProcesses, testing::Values("shm", "tcp", "mixed"), parameter_name);

}  // namespace
}  // namespace tutti::test
