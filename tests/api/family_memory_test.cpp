// Communicators that are split off others lend each other's memory, between threads and between processes.
#include "family_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <future>
#include <mutex>
#include <thread>
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

TEST_P(Threads, KeepMemoryBeyondTheFamily) {
  std::vector<tutti_comm*> comms(5);
  ASSERT_EQ(tutti_comm_create_local(comms.data(), 5), TUTTI_SUCCESS) << tutti_last_error(nullptr);
  on_all_ranks(5, [&](int rank) { EXPECT_EQ(check_kept_memory(comms[static_cast<size_t>(rank)]), ""); });
}

TEST_P(Threads, FreeKeptMemoryOnAnyCommunicatorButNotWhatIsUsed) {
  const LocalWorld world(2), other(2);
  ASSERT_EQ(world.size(), 2);
  ASSERT_EQ(other.size(), 2);
  std::promise<void> refused;
  world.run([&](int rank, tutti_comm* comm) {
    void *memory = nullptr, *unkept = nullptr;
    ASSERT_TRUE(succeeded(tutti_alloc_with(comm, kCount * sizeof(float), TUTTI_ALLOC_KEEP, &memory), comm));
    ASSERT_TRUE(succeeded(tutti_alloc_with(comm, 1, TUTTI_ALLOC_UNINITIALIZED, &unkept), comm));
    auto* const numbers = static_cast<float*>(memory);
    std::fill_n(numbers, kCount, 1.0f);
    if (rank == 1) refused.get_future().wait();
    tutti_request* sum = nullptr;
    ASSERT_TRUE(succeeded(tutti_all_reduce_start(comm, numbers, numbers, kCount, TUTTI_FLOAT32, TUTTI_SUM, nullptr, &sum), comm));
    if (rank == 0) {
      EXPECT_EQ(tutti_free(nullptr, memory), TUTTI_INVALID_ARGUMENT);
      EXPECT_THAT(tutti_last_error(nullptr), HasSubstr("in use by all_reduce"));
      EXPECT_EQ(tutti_free(other.comm(0), memory), TUTTI_INVALID_ARGUMENT);
      EXPECT_THAT(tutti_last_error(other.comm(0)), HasSubstr("in use by all_reduce"));
      refused.set_value();
    }
    EXPECT_TRUE(succeeded(tutti_wait(sum), comm));
    EXPECT_EQ(std::count(numbers, numbers + kCount, 2.0f), static_cast<ptrdiff_t>(kCount));
    EXPECT_EQ(tutti_free(nullptr, unkept), TUTTI_INVALID_ARGUMENT);
    EXPECT_THAT(tutti_last_error(nullptr), HasSubstr("was not allocated with TUTTI_ALLOC_KEEP"));
    EXPECT_EQ(tutti_free(nullptr, numbers + 1), TUTTI_INVALID_ARGUMENT);
    EXPECT_TRUE(succeeded(tutti_free(nullptr, nullptr), nullptr));
    tutti_comm* const others = other.comm(rank);
    EXPECT_TRUE(succeeded(tutti_free(others, memory), others));
    EXPECT_EQ(tutti_free(others, memory), TUTTI_INVALID_ARGUMENT);
    EXPECT_THAT(tutti_last_error(others), HasSubstr("not of tutti_alloc on this communicator"));
    EXPECT_EQ(tutti_alloc_with(comm, 1, 4, &memory), TUTTI_INVALID_ARGUMENT);
    EXPECT_THAT(tutti_last_error(comm), HasSubstr("tutti_alloc_with: flags are 4, must be TUTTI_ALLOC_UNINITIALIZED"));
  });
}

// Threads free what they like, while others allocate and communicators begin and end.
TEST_P(Threads, FreeKeptMemoryAtAnyTime) {
  std::mutex mutex;
  std::vector<void*> kept;
  std::atomic<bool> over{false};
  std::atomic<int> freed{0};
  std::vector<std::thread> freeing;
  for (int i = 0; i < 2; ++i)
    freeing.emplace_back([&] {
      for (;;) {
        void* memory = nullptr;
        const bool last = over;
        {
          const std::lock_guard lock(mutex);
          if (!kept.empty()) memory = kept.back(), kept.pop_back();
        }
        if (!memory && last) return;
        if (!memory) continue;
        EXPECT_EQ(static_cast<int*>(memory)[100], 7);
        freed += tutti_free(nullptr, memory) == TUTTI_SUCCESS;
      }
    });
  constexpr int kFamilies = 5, kEach = 30;
  for (int family = 0; family < kFamilies; ++family) {
    const LocalWorld world(2);
    ASSERT_EQ(world.size(), 2);
    world.run([&](int, tutti_comm* comm) {
      for (unsigned i = 0; i < kEach; ++i) {
        void* memory = nullptr;
        ASSERT_TRUE(succeeded(tutti_alloc_with(comm, 5000, TUTTI_ALLOC_KEEP | i % 2, &memory), comm));
        static_cast<int*>(memory)[100] = 7;
        const std::lock_guard lock(mutex);
        kept.push_back(memory);
      }
    });
  }
  over = true;
  for (std::thread& thread : freeing) thread.join();
  EXPECT_EQ(freed, 2 * kFamilies * kEach);
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

TEST_P(FamilyProcesses, KeepMemoryBeyondTheFamily) {
  ProcessWorld world(5, {program_from("API_TEST_RANK_PROGRAM"), "kept_memory"}, {}, GetParam());
  for (const Ending& ending : world.wait(60)) EXPECT_EQ(ending.exit_code, 0) << ending.output;
}

INSTANTIATE_TEST_SUITE_P(Over, FamilyProcesses, testing::Values("shm", "tcp", "mixed"), parameter_name);

// By kernels, over a driver that opens one process's memory in another.
TEST(DeviceLoans, BetweenProcesses) {
  if (!std::getenv("API_TEST_DEVICE")) GTEST_SKIP() << "API_TEST_DEVICE=1 and TUTTI_CUDA=kernels run it";
  for (const int size : {2, 4}) {
    ProcessWorld world(size, {program_from("API_TEST_RANK_PROGRAM"), "lent_memory"}, {}, "shm");
    for (const Ending& ending : world.wait(60)) EXPECT_EQ(ending.exit_code, 0) << ending.output;
  }
}

TEST(DeviceLoans, BetweenProcessesThatCannotOpenThem) {
  if (!std::getenv("API_TEST_DEVICE")) GTEST_SKIP() << "API_TEST_DEVICE=1 and TUTTI_CUDA=kernels run it";
  ProcessWorld world(2, {program_from("API_TEST_RANK_PROGRAM"), "unopened_memory"}, {}, "shm");
  for (const Ending& ending : world.wait(60)) EXPECT_EQ(ending.exit_code, 0) << ending.output;
}

}  // namespace
}  // namespace tutti::test
