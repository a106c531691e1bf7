// A call that fails before it was started has changed nothing: every allocation that it makes is failed in turn, and
// the thread that it needs; after TUTTI_OUT_OF_MEMORY the same call succeeds, with the right result on all ranks.  One
// that fails in the middle ends the communicator for all, with one sentence.

#include <gtest/gtest.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <numeric>
#include <span>
#include <utility>

#include <dlfcn.h>

#include "local_world.h"
#include "sanitized.h"

namespace {

thread_local long allocations_left = -1;  // -1: as many as are wanted
thread_local bool one_failed = false;
thread_local bool no_threads = false;

bool fails() {
  if (allocations_left < 0 || allocations_left-- > 0) return false;
  return one_failed = true;
}

void* allocate(std::size_t bytes, std::size_t alignment) {
  if (fails()) throw std::bad_alloc();
  void* memory = nullptr;
  if (posix_memalign(&memory, std::max(alignment, sizeof(void*)), std::max<std::size_t>(bytes, 1)) != 0) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t bytes) { return allocate(bytes, __STDCPP_DEFAULT_NEW_ALIGNMENT__); }
void* operator new(std::size_t bytes, std::align_val_t alignment) { return allocate(bytes, static_cast<std::size_t>(alignment)); }
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return operator new(bytes);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* memory, const std::nothrow_t&) noexcept { std::free(memory); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*body)(void*), void* argument) {
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  static const auto create = reinterpret_cast<Create>(::dlsym(RTLD_NEXT, "pthread_create"));
  return no_threads ? EAGAIN : create(thread, attributes, body, argument);
}

namespace tutti::test {
namespace {

struct Case {
  const char* name;
  size_t count;
  // Returns the first failure; `values`: count of them, in place.
  tutti_status (*call)(tutti_comm* comm, std::vector<float>& values, int rank);
  float expected;
};

tutti_status sum(tutti_comm* comm, std::vector<float>& values, int) {
  return tutti_all_reduce(comm, values.data(), values.data(), values.size(), TUTTI_FLOAT32, TUTTI_SUM, nullptr);
}

tutti_status sum_by(const char* algorithm, tutti_comm* comm, std::vector<float>& values) {
  tutti_call_options options;
  tutti_call_options_init(&options);
  options.algorithm = algorithm;
  return tutti_all_reduce(comm, values.data(), values.data(), values.size(), TUTTI_FLOAT32, TUTTI_SUM, &options);
}

tutti_status wait_for(tutti_status started, tutti_request* request) {
  allocations_left = -1;  // what fails after the start is another matter
  return started == TUTTI_SUCCESS ? tutti_wait(request) : started;
}

tutti_status start_sum(tutti_comm* comm, std::vector<float>& values, int) {
  tutti_request* request = nullptr;
  const tutti_status status =
      tutti_all_reduce_start(comm, values.data(), values.data(), values.size(), TUTTI_FLOAT32, TUTTI_SUM, nullptr, &request);
  EXPECT_EQ(status == TUTTI_SUCCESS, request != nullptr);
  return wait_for(status, request);
}

tutti_status start_exchange(tutti_comm* comm, std::vector<float>& values, int rank) {
  static thread_local std::vector<float> got;
  got.assign(values.size(), 0);
  tutti_request* request = nullptr;
  tutti_status status = tutti_group_begin(comm);
  if (status == TUTTI_SUCCESS) status = tutti_send(comm, values.data(), values.size(), TUTTI_FLOAT32, 1 - rank, 0, nullptr);
  if (status == TUTTI_SUCCESS) status = tutti_recv(comm, got.data(), got.size(), TUTTI_FLOAT32, 1 - rank, 0, nullptr);
  const tutti_status ended = tutti_group_end_start(comm, &request);
  if (status != TUTTI_SUCCESS) {  // the group was not complete, and what it held so far is a call as well
    allocations_left = -1;
    EXPECT_EQ(ended, TUTTI_SUCCESS) << tutti_last_error(comm);
  }
  status = wait_for(ended, request);
  if (status == TUTTI_SUCCESS) std::transform(values.begin(), values.end(), got.begin(), values.begin(), std::plus<>());
  return status;
}

const Case kCases[] = {
    {"flat", 10, sum, 3},
    {"chosen for 200000", 200'000, sum, 3},
    {"ring", 5'000, [](tutti_comm* c, std::vector<float>& v, int) { return sum_by("ring", c, v); }, 3},
    {"tree", 5'000, [](tutti_comm* c, std::vector<float>& v, int) { return sum_by("tree", c, v); }, 3},
    {"flat, started", 10, start_sum, 3},
    {"200000, started", 200'000, start_sum, 3},
};

// On memory of a device, where there is one (device_bytes.h), and back.
tutti_status sum_on_device(tutti_comm* comm, std::vector<float>& values, bool waits) {
  const long left = std::exchange(allocations_left, -1);
  Bytes bytes(values.size() * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  const DeviceBytes memory(bytes);
  tutti_call_options options;
  tutti_call_options_init(&options);
  options.stream = memory.stream();
  allocations_left = left;
  const tutti_status status =
      tutti_all_reduce(comm, memory.data(), memory.data(), values.size(), TUTTI_FLOAT32, TUTTI_SUM, waits ? nullptr : &options);
  allocations_left = -1;
  bytes = memory.content();
  const tutti_status later = tutti_comm_status(comm);
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return status == TUTTI_SUCCESS ? later : status;
}

// Fails the n-th allocation of rank 0's call; true if there was one to fail.
bool try_failing(const Case& test, long n) {
  LocalWorld world(2);
  EXPECT_EQ(world.size(), 2);
  bool failed = false;
  world.run([&](int rank, tutti_comm* comm) {
    std::vector<float> values(test.count, static_cast<float>(rank + 1));
    one_failed = false;
    if (rank == 0) allocations_left = n;
    tutti_status status = test.call(comm, values, rank);
    if (rank == 0) failed = one_failed;
    allocations_left = -1;
    if (status == TUTTI_OUT_OF_MEMORY) {
      EXPECT_EQ(rank, 0);
      EXPECT_EQ(values, std::vector<float>(test.count, 1.0F)) << "a call that was not started wrote";
      status = test.call(comm, values, rank);
    }
    if (status == TUTTI_SUCCESS) {
      EXPECT_EQ(values, std::vector<float>(test.count, test.expected)) << test.name << ", allocation " << n << ", rank " << rank;
    } else {
      EXPECT_EQ(status, TUTTI_SYSTEM) << tutti_last_error(comm);  // in the middle: the communicator is dead, for all
      float x = 1;
      EXPECT_EQ(tutti_all_reduce(comm, &x, &x, 1, TUTTI_FLOAT32, TUTTI_SUM, nullptr), TUTTI_SYSTEM);
    }
  });
  return failed;
}

class OverTransports : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { ::setenv("TUTTI_TRANSPORT", GetParam(), 1); }
  void TearDown() override { ::unsetenv("TUTTI_TRANSPORT"); }
};

INSTANTIATE_TEST_SUITE_P(Guarantee, OverTransports, testing::Values("memory", "tcp"));

TEST_P(OverTransports, AnyAllocationMayFail) {
  const bool shares_memory = std::string(GetParam()) == "memory";
  for (const Case& test : kCases) {
    // Over TCP each try takes a bootstrap's time; a prime, so that no loop hides.
    const long stride = shares_memory ? 1 : kSanitized ? 23 : 7;
    long n = 0;
    while (n < 1'000 && try_failing(test, n)) n += stride;
    EXPECT_LT(n, 1'000) << test.name;
    EXPECT_GT(n, shares_memory ? 0 : 1) << test.name << ": nothing was failed";
    if (testing::Test::HasFailure()) return;
  }
}

// The fake driver's own allocations fail, too, and it says so as a driver does.
TEST(Guarantee, CallsOnDevicesMayFail) {
  if (!DeviceBytes::wanted()) GTEST_SKIP() << "API_TEST_DEVICE=1 runs it";
  const Case cases[] = {
      {"on a stream", 50'000, [](tutti_comm* c, std::vector<float>& v, int) { return sum_on_device(c, v, false); }, 3},
      {"on a device", 50'000, [](tutti_comm* c, std::vector<float>& v, int) { return sum_on_device(c, v, true); }, 3}};
  for (const Case& test : cases) {
    const long stride = kSanitized ? 7 : 1;
    long n = 0;
    while (n < 3'000 && try_failing(test, n)) n += stride;
    EXPECT_LT(n, 3'000) << test.name;
    EXPECT_GT(n, 20) << test.name << ": nothing was failed";
    if (testing::Test::HasFailure()) return;
  }
}

TEST(Guarantee, ThreadMayBeRefused) {
  LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  std::atomic<bool> refused{false};  // the ranks of a process share the thread
  world.run([&](int rank, tutti_comm* comm) {
    std::vector<float> values(100'000, static_cast<float>(rank + 1)), given_up(values);
    if (rank == 0) refused.wait(false);
    if (rank == 1) {
      no_threads = true;
      tutti_request* request = nullptr;
      EXPECT_EQ(tutti_all_reduce_start(comm, given_up.data(), given_up.data(), given_up.size(), TUTTI_FLOAT32, TUTTI_SUM, nullptr,
                                       &request),
                TUTTI_OUT_OF_MEMORY);
      EXPECT_EQ(request, nullptr);
      no_threads = false;
      refused = true;
      refused.notify_all();
    }
    EXPECT_EQ(start_sum(comm, values, rank), TUTTI_SUCCESS) << tutti_last_error(comm);
    EXPECT_EQ(values, std::vector<float>(values.size(), 3.0F));
    EXPECT_EQ(given_up, std::vector<float>(given_up.size(), static_cast<float>(rank + 1)));
  });
}

// The ranks ask each other whether all buffers can be lent.  Who fails after it was answered does not ask again.
TEST(Guarantee, LentCallsMayFail) {
  constexpr size_t kCount = 1 << 20;
  constexpr int kRanks = 3;
  bool failed = true;
  for (long n = 0; failed && n < 200 && !HasFailure(); ++n) {
    LocalWorld world(kRanks);
    ASSERT_EQ(world.size(), kRanks);
    failed = false;
    world.run([&](int rank, tutti_comm* comm) {
      void* memory = nullptr;
      ASSERT_EQ(tutti_alloc(comm, kCount * sizeof(float), &memory), TUTTI_SUCCESS);
      const std::span values(static_cast<float*>(memory), kCount);
      std::ranges::fill(values, static_cast<float>(rank + 1));
      const auto call = [&] { return tutti_all_reduce(comm, memory, memory, kCount, TUTTI_FLOAT32, TUTTI_SUM, nullptr); };
      one_failed = false;
      if (rank == 0) allocations_left = n;
      tutti_status status = call();
      allocations_left = -1;
      if (rank == 0) failed = one_failed;
      if (status == TUTTI_OUT_OF_MEMORY) status = call();
      // TUTTI_SYSTEM: in the middle.
      EXPECT_TRUE(status == TUTTI_SUCCESS || status == TUTTI_SYSTEM) << n << ": " << tutti_last_error(comm);
      if (status != TUTTI_SUCCESS) return;
      EXPECT_EQ(std::ranges::count(values, 6.0F), static_cast<long>(kCount)) << "allocation " << n << ", rank " << rank;
      tutti_stats stats{};
      stats.struct_size = sizeof stats;
      EXPECT_EQ(tutti_comm_stats(comm, &stats), TUTTI_SUCCESS);
      EXPECT_STREQ(stats.last_algorithm, "direct");
    });
  }
  EXPECT_FALSE(failed);
}

TEST(Guarantee, GroupsMayFail) {
  const Case exchange{"exchange", 5'000, start_exchange, 3};
  LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([&](int rank, tutti_comm* comm) {
    std::vector<float> values(exchange.count, static_cast<float>(rank + 1));
    EXPECT_EQ(exchange.call(comm, values, rank), TUTTI_SUCCESS) << tutti_last_error(comm);
    EXPECT_EQ(values, std::vector<float>(exchange.count, exchange.expected));
  });
}

}  // namespace
}  // namespace tutti::test
