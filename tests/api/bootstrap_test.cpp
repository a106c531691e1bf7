// Every way for ranks to meet that does not need a launcher, with ranks as threads that use the real transports.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <future>
#include <map>
#include <mutex>

#include "local_world.h"
#include "process_world.h"
#include "random_program.h"

namespace tutti::test {
namespace {

using testing::HasSubstr;

// A shorter wait for bootstraps that cannot succeed.
class Impatience {
 public:
  Impatience() { setenv("TUTTI_BOOTSTRAP_TIMEOUT", "1s", 1); }
  Impatience(const Impatience&) = delete;
  ~Impatience() { unsetenv("TUTTI_BOOTSTRAP_TIMEOUT"); }
};

// Creates a communicator of `size` threads, each with the config that `fill` completes, and uses it.
template <class Fill>
void live(int size, const Fill& fill) {
  on_all_ranks(size, [&](int rank) {
    tutti_config config;
    tutti_config_init(&config);
    config.rank = rank;
    config.size = size;
    fill(config);
    tutti_comm* comm = nullptr;
    ASSERT_TRUE(succeeded(tutti_comm_create(&comm, &config), nullptr));
    EXPECT_EQ(tutti_comm_rank(comm), rank);
    EXPECT_EQ(tutti_comm_size(comm), size);
    EXPECT_EQ(run_random_program({{comm, 0}}, 5, {.steps = 15}), "");
    EXPECT_TRUE(succeeded(tutti_comm_destroy(comm), nullptr));
  });
}

TEST(Bootstrap, ByUniqueId) {
  tutti_unique_id id;
  ASSERT_TRUE(succeeded(tutti_get_unique_id(&id), nullptr));
  live(4, [&](tutti_config& config) { config.id = &id; });
}

TEST(Bootstrap, ByTwoUniqueIdsAtOnce) {
  tutti_unique_id one, other;
  ASSERT_TRUE(succeeded(tutti_get_unique_id(&one), nullptr));
  ASSERT_TRUE(succeeded(tutti_get_unique_id(&other), nullptr));
  EXPECT_NE(std::memcmp(&one, &other, sizeof one), 0);
  std::thread first([&] { live(2, [&](tutti_config& config) { config.id = &one; }); });
  live(3, [&](tutti_config& config) { config.id = &other; });
  first.join();
}

TEST(Bootstrap, ByFile) {
  const std::filesystem::path folder = new_folder();
  const std::string store = "file:" + (folder / "store").string();
  live(3, [&](tutti_config& config) { config.store = store.c_str(); });
  std::filesystem::remove_all(folder);
}

// The caller's store: a dictionary with waiting.
class Dictionary {
 public:
  tutti_store_callbacks callbacks() { return {set, get, this}; }

 private:
  static int set(void* context, const char* key, const void* value, size_t bytes) {
    auto* self = static_cast<Dictionary*>(context);
    const std::lock_guard lock(self->mutex_);
    self->values_[key].assign(static_cast<const char*>(value), bytes);
    self->changed_.notify_all();
    return 0;
  }

  static int get(void* context, const char* key, void* value, size_t* length, int timeout_ms) {
    auto* self = static_cast<Dictionary*>(context);
    std::unique_lock lock(self->mutex_);
    const auto there = [&] { return self->values_.contains(key); };
    if (!self->changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), there)) return -1;
    const std::string& found = self->values_[key];
    if (found.size() > *length) return -1;
    std::memcpy(value, found.data(), found.size());
    *length = found.size();
    return 0;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::string> values_;
};

TEST(Bootstrap, ByCallbacks) {
  Dictionary dictionary;
  const tutti_store_callbacks callbacks = dictionary.callbacks();
  live(3, [&](tutti_config& config) { config.callbacks = &callbacks; });
}

TEST(Bootstrap, StoreThatFailsIsAnError) {
  const Impatience impatience;
  const tutti_store_callbacks callbacks = {
      [](void*, const char*, const void*, size_t) { return -1; },
      [](void*, const char*, void*, size_t*, int) { return -1; },
      nullptr,
  };
  tutti_config config;
  tutti_config_init(&config);
  config.rank = 1;
  config.size = 2;
  config.callbacks = &callbacks;
  tutti_comm* comm = nullptr;
  EXPECT_NE(tutti_comm_create(&comm, &config), TUTTI_SUCCESS);
  EXPECT_EQ(comm, nullptr);
  EXPECT_GT(std::strlen(tutti_last_error(nullptr)), 10u);
}

// "world" at one rank and "trainers" at the other: each learns what the other said.
TEST(Bootstrap, DifferentNamesAreRefused) {
  const Impatience impatience;
  const std::filesystem::path folder = new_folder();
  const std::string store = "file:" + (folder / "store").string();
  on_all_ranks(2, [&](int rank) {
    tutti_config config;
    tutti_config_init(&config);
    config.rank = rank;
    config.size = 2;
    config.store = store.c_str();
    config.name = rank == 0 ? "world" : "trainers";
    tutti_comm* comm = nullptr;
    EXPECT_NE(tutti_comm_create(&comm, &config), TUTTI_SUCCESS);
    EXPECT_EQ(comm, nullptr);
    EXPECT_THAT(tutti_last_error(nullptr), HasSubstr("trainers"));
  });
  std::filesystem::remove_all(folder);
}

TEST(Bootstrap, OneRankNeedsNobody) {
  live(1, [](tutti_config&) {});
  LocalWorld alone(1);
  EXPECT_EQ(alone.size(), 1);
}

TEST(Statistics, CountWhatWasDone) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([](int, tutti_comm* comm) {
    std::vector<float> data(1'000, 1.0F);
    tutti_call_options options;
    tutti_call_options_init(&options);
    options.algorithm = "ring";
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(
          succeeded(tutti_all_reduce(comm, data.data(), data.data(), data.size(), TUTTI_FLOAT32, TUTTI_SUM, &options), comm));
    }
    tutti_stats stats;
    stats.struct_size = sizeof stats;
    ASSERT_TRUE(succeeded(tutti_comm_stats(comm, &stats), comm));
    EXPECT_EQ(stats.operations, 3u);
    EXPECT_EQ(stats.input_bytes, 3u * 4'000);
    EXPECT_EQ(stats.sent_bytes, 3u * 4'000);  // a ring of two sends half of the data in each of two phases
    EXPECT_EQ(stats.received_bytes, 3u * 4'000);
    EXPECT_GT(stats.nanoseconds, 0u);
    EXPECT_GT(stats.memory_bytes, 0u);
    EXPECT_STREQ(stats.last_algorithm, "ring");
    EXPECT_GT(std::strlen(stats.last_reason), 0u);
    EXPECT_THAT(stats.transports, HasSubstr("memory 1"));
    EXPECT_GE(stats.last_lanes, 1u);
  });
}

TEST(Memory, OfTuttiAllocIsAlignedAndWritable) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([](int rank, tutti_comm* comm) {
    constexpr size_t kBytes = 3'000'000;
    void *first = nullptr, *second = nullptr;
    ASSERT_TRUE(succeeded(tutti_alloc(comm, kBytes, &first), comm));
    ASSERT_TRUE(succeeded(tutti_alloc(comm, 1, &second), comm));  // freed with the communicator
    EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % 4096, 0u);
    std::memset(first, rank + 1, kBytes);
    ASSERT_TRUE(succeeded(tutti_all_reduce(comm, first, first, kBytes, TUTTI_INT8, TUTTI_SUM, nullptr), comm));
    EXPECT_EQ(static_cast<int8_t*>(first)[kBytes - 1], 3);
    EXPECT_TRUE(succeeded(tutti_free(comm, first), comm));
    EXPECT_TRUE(succeeded(tutti_free(comm, nullptr), comm));
  });
}

TEST(Memory, OfAllRanksMakesLargeReductionsDirect) {
  constexpr size_t kCount = (5 << 20) / sizeof(float);
  const LocalWorld world(3);
  ASSERT_EQ(world.size(), 3);
  world.run([](int rank, tutti_comm* comm) {
    void* lent = nullptr;
    ASSERT_TRUE(succeeded(tutti_alloc(comm, kCount * sizeof(float), &lent), comm));
    std::vector<float> plain(kCount);
    for (const bool all : {true, false, true}) {
      float* numbers = all || rank != 1 ? static_cast<float*>(lent) : plain.data();
      std::fill_n(numbers, kCount, static_cast<float>(rank + 1));
      ASSERT_TRUE(succeeded(tutti_all_reduce(comm, numbers, numbers, kCount, TUTTI_FLOAT32, TUTTI_SUM, nullptr), comm));
      EXPECT_EQ(std::count(numbers, numbers + kCount, 6.0f), static_cast<ptrdiff_t>(kCount));
      tutti_stats stats{};
      stats.struct_size = sizeof stats;
      ASSERT_TRUE(succeeded(tutti_comm_stats(comm, &stats), comm));
      EXPECT_EQ(std::string(stats.last_reason).find("tutti_alloc") != std::string::npos, all) << stats.last_reason;
    }
  });
}

TEST(Memory, InUseIsNotFreed) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  std::promise<void> refused;
  world.run([&](int rank, tutti_comm* comm) {
    constexpr size_t kCount = 100'000;
    void* memory = nullptr;
    ASSERT_TRUE(succeeded(tutti_alloc(comm, kCount * sizeof(float), &memory), comm));
    auto* numbers = static_cast<float*>(memory);
    std::fill_n(numbers, kCount, 1.0f);
    if (rank == 1) refused.get_future().wait();  // so the other one's call is under way, and stays so
    tutti_request* sum = nullptr;
    ASSERT_TRUE(succeeded(tutti_all_reduce_start(comm, numbers, numbers, kCount, TUTTI_FLOAT32, TUTTI_SUM, nullptr, &sum), comm));
    if (rank == 0) {
      EXPECT_EQ(tutti_free(comm, memory), TUTTI_INVALID_ARGUMENT);
      EXPECT_THAT(tutti_last_error(comm), HasSubstr("in use by all_reduce"));
      refused.set_value();
    }
    ASSERT_TRUE(succeeded(tutti_wait(sum), comm));
    EXPECT_EQ(numbers[kCount - 1], 2.0f);
    EXPECT_TRUE(succeeded(tutti_free(comm, memory), comm));
    EXPECT_EQ(tutti_free(comm, memory), TUTTI_INVALID_ARGUMENT);
  });
}

}  // namespace
}  // namespace tutti::test
