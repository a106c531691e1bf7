// Ends of requests: waited for with a limit, told to a function, by other threads than those that start and wait.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <numeric>
#include <string>
#include <thread>

#include "local_world.h"
#include "sanitized.h"
#include "transports.h"

namespace tutti::test {
namespace {

using testing::HasSubstr;

// What a function of tutti_request_notify is given.
struct Bell {
  std::mutex mutex;
  std::condition_variable rung;
  int rings = 0;
  tutti_request* to_end = nullptr;  // by the function itself
  tutti_status status = TUTTI_INTERNAL;

  static void ring(void* context) {
    Bell& bell = *static_cast<Bell*>(context);
    if (bell.to_end) bell.status = tutti_wait(bell.to_end);
    const std::lock_guard lock(bell.mutex);
    ++bell.rings;
    bell.rung.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex);
    rung.wait(lock, [this] { return rings > 0; });
  }
  int count() {
    const std::lock_guard lock(mutex);
    return rings;
  }
};

class Completions : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (const std::string why = lacks(GetParam()); !why.empty()) GTEST_SKIP() << why;
    ::setenv("TUTTI_TRANSPORT", GetParam(), 1);
  }
  void TearDown() override { ::unsetenv("TUTTI_TRANSPORT"); }
};

INSTANTIATE_TEST_SUITE_P(Over, Completions, testing::Values("memory", "shm", "tcp", "ucx"));

tutti_request* begin_sum(tutti_comm* comm, std::vector<float>& values) {
  tutti_request* request = nullptr;
  EXPECT_TRUE(succeeded(
      tutti_all_reduce_start(comm, values.data(), values.data(), values.size(), TUTTI_FLOAT32, TUTTI_SUM, nullptr, &request),
      comm));
  return request;
}

// ---- tutti_wait_for ----

TEST_P(Completions, WaitingHasALimit) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  for (const size_t count : {size_t{1}, size_t{300'000}}) {
    std::vector<float> values[2] = {std::vector<float>(count, 1), std::vector<float>(count, 2)};
    tutti_request* const first = begin_sum(world.comm(0), values[0]);
    int done = 7;
    for (const int limit : {0, 1, 20}) {
      EXPECT_EQ(tutti_wait_for(first, limit, &done), TUTTI_SUCCESS);
      EXPECT_EQ(done, 0);
    }
    tutti_request* const second = begin_sum(world.comm(1), values[1]);
    EXPECT_EQ(tutti_wait_for(first, 600'000, &done), TUTTI_SUCCESS);
    EXPECT_EQ(done, 1);
    EXPECT_TRUE(succeeded(tutti_wait(second), world.comm(1)));
    for (const auto& mine : values) EXPECT_EQ(mine, std::vector<float>(count, 3));
  }
}

// What was waited for in vain goes on without anybody.
TEST_P(Completions, OperationsGoOnAfterALimit) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  std::vector<float> values[2] = {std::vector<float>(500'000, 1), std::vector<float>(500'000, 2)};
  tutti_request* requests[2];
  int done = 0;
  requests[0] = begin_sum(world.comm(0), values[0]);
  EXPECT_EQ(tutti_wait_for(requests[0], 1, &done), TUTTI_SUCCESS);
  requests[1] = begin_sum(world.comm(1), values[1]);
  EXPECT_TRUE(succeeded(tutti_wait(requests[1]), world.comm(1)));
  EXPECT_TRUE(succeeded(tutti_wait(requests[0]), world.comm(0)));
  EXPECT_EQ(values[0], values[1]);
}

TEST_P(Completions, AFailureEndsALimitedWait) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  std::vector<float> values(10);
  tutti_request* const request = begin_sum(world.comm(0), values);
  EXPECT_EQ(tutti_comm_abort(world.comm(1), "enough"), TUTTI_SUCCESS);
  int done = 0;
  EXPECT_EQ(tutti_wait_for(request, 600'000, &done), TUTTI_ABORTED);
  EXPECT_EQ(done, 1);
  EXPECT_THAT(tutti_last_error(world.comm(0)), HasSubstr("enough"));
}

// ---- tutti_request_notify ----

TEST_P(Completions, TellOfTheEnd) {
  const LocalWorld world(3);
  ASSERT_EQ(world.size(), 3);
  for (const size_t count : {size_t{1}, size_t{100'000}})
    world.run([&](int, tutti_comm* comm) {
      for (int i = 0; i < 20; ++i) {
        std::vector<float> values(count, 1);
        Bell bell;
        tutti_request* const request = begin_sum(comm, values);
        ASSERT_TRUE(succeeded(tutti_request_notify(request, Bell::ring, &bell), comm));
        bell.wait();
        int done = 0;
        EXPECT_EQ(tutti_test(request, &done), TUTTI_SUCCESS);
        ASSERT_EQ(done, 1);
        EXPECT_EQ(bell.count(), 1);
        ASSERT_EQ(values, std::vector<float>(count, 3));
      }
    });
}

TEST_P(Completions, MayEndTheirRequest) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([&](int, tutti_comm* comm) {
    std::vector<float> values(50'000, 1);
    Bell bell;
    bell.to_end = begin_sum(comm, values);
    ASSERT_TRUE(succeeded(tutti_request_notify(bell.to_end, Bell::ring, &bell), comm));
    bell.wait();
    EXPECT_EQ(bell.status, TUTTI_SUCCESS);
    EXPECT_EQ(values, std::vector<float>(50'000, 2));
  });
}

// A chain: each end starts the next operation, from whatever thread finds it.
struct Chain {
  tutti_comm* comm;
  std::vector<float> values = std::vector<float>(1'000, 1);
  tutti_request* request = nullptr;
  int left = 50;
  std::mutex mutex;
  Bell done;

  static void next(void* context) {
    Chain& chain = *static_cast<Chain*>(context);
    {
      const std::lock_guard lock(chain.mutex);  // what starts it may not have stored the request yet
      EXPECT_EQ(tutti_wait(chain.request), TUTTI_SUCCESS);
    }
    if (--chain.left == 0)
      Bell::ring(&chain.done);
    else
      chain.start();
  }
  void start() {
    {
      const std::lock_guard lock(mutex);
      request = begin_sum(comm, values);
    }
    EXPECT_EQ(tutti_request_notify(request, next, this), TUTTI_SUCCESS);
  }
};

TEST_P(Completions, MayStartTheNextOperation) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([&](int, tutti_comm* comm) {
    Chain chain{comm};
    chain.start();
    chain.done.wait();
    EXPECT_EQ(chain.values[999], 1125899906842624.0F);  // 2 to the 50
  });
}

TEST_P(Completions, OfAGroupComeWithItsLastMessage) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  tutti_comm *one = world.comm(0), *other = world.comm(1);
  uint32_t a = 0, b = 0, word = 5;
  ASSERT_TRUE(succeeded(tutti_group_begin(one), one));
  ASSERT_TRUE(succeeded(tutti_recv(one, &a, 1, TUTTI_UINT32, 1, 1, nullptr), one));
  ASSERT_TRUE(succeeded(tutti_recv(one, &b, 1, TUTTI_UINT32, 1, 2, nullptr), one));
  tutti_request* request = nullptr;
  ASSERT_TRUE(succeeded(tutti_group_end_start(one, &request), one));
  Bell bell;
  ASSERT_TRUE(succeeded(tutti_request_notify(request, Bell::ring, &bell), one));
  ASSERT_TRUE(succeeded(tutti_send(other, &word, 1, TUTTI_UINT32, 0, 2, nullptr), other));
  int done = 0;
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(tutti_wait_for(request, 1, &done), TUTTI_SUCCESS);
    ASSERT_EQ(done, 0);
  }
  EXPECT_EQ(bell.count(), 0);
  ASSERT_TRUE(succeeded(tutti_send(other, &word, 1, TUTTI_UINT32, 0, 1, nullptr), other));
  bell.wait();
  EXPECT_TRUE(succeeded(tutti_wait(request), one));
  EXPECT_EQ(a + b, 10u);
  EXPECT_EQ(bell.count(), 1);
}

TEST_P(Completions, TellOfAFailure) {
  for (const bool destroyed : {false, true}) {
    tutti_comm* comms[2];
    ASSERT_EQ(tutti_comm_create_local(comms, 2), TUTTI_SUCCESS) << tutti_last_error(nullptr);
    std::vector<float> values(10);
    tutti_request* const request = begin_sum(comms[0], values);
    Bell bell;
    ASSERT_TRUE(succeeded(tutti_request_notify(request, Bell::ring, &bell), comms[0]));
    EXPECT_EQ(bell.count(), 0);
    EXPECT_EQ(tutti_comm_abort(comms[1], "no more"), TUTTI_SUCCESS);
    if (destroyed) {
      float x = 1;
      EXPECT_EQ(tutti_all_reduce(comms[0], &x, &x, 1, TUTTI_FLOAT32, TUTTI_SUM, nullptr), TUTTI_ABORTED);
      for (tutti_comm* comm : comms) tutti_comm_destroy(comm);
    }
    bell.wait();
    EXPECT_EQ(tutti_wait(request), TUTTI_ABORTED);
    EXPECT_EQ(bell.count(), 1);
    if (!destroyed)
      for (tutti_comm* comm : comms) tutti_comm_destroy(comm);
  }
}

TEST(CompletionArguments, AreChecked) {
  const LocalWorld world(1);
  ASSERT_EQ(world.size(), 1);
  tutti_comm* const comm = world.comm(0);
  uint32_t word = 0;
  tutti_request* request = nullptr;
  int done = 0;
  ASSERT_TRUE(succeeded(tutti_recv_start(comm, &word, 1, TUTTI_UINT32, 0, 1, nullptr, &request), comm));
  Bell bell;
  EXPECT_EQ(tutti_request_notify(nullptr, Bell::ring, &bell), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_request_notify(request, nullptr, &bell), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_wait_for(nullptr, 1, &done), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_wait_for(request, 1, nullptr), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_wait_for(request, -1, &done), TUTTI_INVALID_ARGUMENT);
  EXPECT_THAT(tutti_last_error(comm), HasSubstr("timeout_ms is negative"));
  EXPECT_TRUE(succeeded(tutti_request_notify(request, Bell::ring, &bell), comm));
  EXPECT_EQ(tutti_request_notify(request, Bell::ring, &bell), TUTTI_INVALID_ARGUMENT);
  EXPECT_THAT(tutti_last_error(comm), HasSubstr("has a function already"));
  EXPECT_EQ(bell.count(), 0);
  ASSERT_TRUE(succeeded(tutti_send(comm, &word, 1, TUTTI_UINT32, 0, 1, nullptr), comm));
  EXPECT_TRUE(succeeded(tutti_wait(request), comm));
  EXPECT_EQ(bell.count(), 1);
}

// ---- several threads ----

// One thread waits for what another must start.
TEST_P(Completions, AWaitingThreadLetsOthersStart) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([&](int rank, tutti_comm* comm) {
    for (const size_t count : {size_t{4}, size_t{200'000}}) {
      std::vector<float> values(count, 1);
      uint32_t word = 0;
      if (rank == 1) {  // takes part only once it has got the message
        ASSERT_TRUE(succeeded(tutti_recv(comm, &word, 1, TUTTI_UINT32, 0, 1, nullptr), comm));
      }
      std::atomic<bool> started{false};
      std::thread sender([&] {
        if (rank == 1) return;
        while (!started) std::this_thread::yield();
        std::this_thread::sleep_for(std::chrono::milliseconds(5));  // by now the other most likely waits
        word = 9;
        EXPECT_TRUE(succeeded(tutti_send(comm, &word, 1, TUTTI_UINT32, 1, 1, nullptr), comm));
      });
      started = true;
      EXPECT_TRUE(succeeded(tutti_all_reduce(comm, values.data(), values.data(), count, TUTTI_FLOAT32, TUTTI_SUM, nullptr), comm));
      sender.join();
      EXPECT_EQ(values, std::vector<float>(count, 2));
      EXPECT_EQ(word, 9u);
    }
  });
}

// Threads start collectives in an order that they settle among themselves, and each waits for its own.
TEST_P(Completions, ThreadsTakeTurnsInCollectives) {
  constexpr int kThreads = 4;
  const int rounds = kSanitized ? 20 : 100;
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([&](int rank, tutti_comm* comm) {
    std::mutex turn_mutex;
    std::condition_variable turn_changed;
    int turn = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t)
      threads.emplace_back([&, t] {
        for (int i = 0; i < rounds; ++i) {
          const size_t count = (i + t) % 3 == 0 ? 30'000 : 3;
          std::vector<int32_t> values(count, rank + t), sums(count);
          tutti_request* request = nullptr;
          {
            std::unique_lock lock(turn_mutex);
            turn_changed.wait(lock, [&] { return turn % kThreads == t; });
            ASSERT_TRUE(succeeded(
                tutti_all_reduce_start(comm, values.data(), sums.data(), count, TUTTI_INT32, TUTTI_SUM, nullptr, &request), comm));
            ++turn;
            turn_changed.notify_all();
          }
          ASSERT_TRUE(succeeded(tutti_wait(request), comm));
          ASSERT_EQ(sums, std::vector<int32_t>(count, 2 * t + 1));
        }
      });
    for (auto& thread : threads) thread.join();
  });
}

// Messages need no such order: each pair of threads has a tag.
TEST_P(Completions, ThreadsHaveTheirOwnMessages) {
  constexpr int kThreads = 4;
  const int rounds = kSanitized ? 30 : 200;
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([&](int rank, tutti_comm* comm) {
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t)
      threads.emplace_back([&, t] {
        for (int i = 0; i < rounds; ++i) {
          const size_t count = i % 10 == 0 ? 20'000 : 8;
          std::vector<int32_t> sent(count, 1000 * t + i), got(count);
          if (i % 3 == 0) {
            ASSERT_TRUE(succeeded(tutti_group_begin(comm), comm));
            ASSERT_TRUE(succeeded(tutti_send(comm, sent.data(), count, TUTTI_INT32, 1 - rank, t, nullptr), comm));
            ASSERT_TRUE(succeeded(tutti_recv(comm, got.data(), count, TUTTI_INT32, 1 - rank, t, nullptr), comm));
            ASSERT_TRUE(succeeded(tutti_group_end(comm), comm));
          } else {
            tutti_request* request = nullptr;
            ASSERT_TRUE(succeeded(tutti_recv_start(comm, got.data(), count, TUTTI_INT32, 1 - rank, t, nullptr, &request), comm));
            ASSERT_TRUE(succeeded(tutti_send(comm, sent.data(), count, TUTTI_INT32, 1 - rank, t, nullptr), comm));
            ASSERT_TRUE(succeeded(tutti_wait(request), comm));
          }
          ASSERT_EQ(got, sent);
        }
      });
    for (auto& thread : threads) thread.join();
  });
}

// Threads of this process that show under this name.
int threads_named(const std::string& name) {
  int found = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string line;
    std::getline(std::ifstream(task.path() / "comm"), line);
    found += line == name;
  }
  return found;
}

TEST(CompletionThreads, OneCarriesAllCommunicatorsOn) {
  std::vector<std::unique_ptr<LocalWorld>> worlds;
  for (int i = 0; i < 6; ++i) worlds.push_back(std::make_unique<LocalWorld>(2));
  std::vector<float> values(100'000, 1);
  std::deque<std::vector<float>> sums;
  std::vector<tutti_request*> requests;
  for (const auto& world : worlds)
    for (int rank = 0; rank < 2; ++rank) {
      auto& sum = sums.emplace_back(values.size());
      tutti_request* request = nullptr;
      EXPECT_TRUE(succeeded(tutti_all_reduce_start(world->comm(rank), values.data(), sum.data(), sum.size(), TUTTI_FLOAT32,
                                                   TUTTI_SUM, nullptr, &request),
                            world->comm(rank)));
      requests.push_back(request);
    }
  EXPECT_EQ(threads_named("tutti-progress"), 1);
  for (tutti_request* request : requests) EXPECT_EQ(tutti_wait(request), TUTTI_SUCCESS);
  for (const auto& sum : sums) EXPECT_EQ(sum, std::vector<float>(values.size(), 2));
  worlds.resize(1);
  EXPECT_EQ(threads_named("tutti-progress"), 1);
  worlds.clear();
  EXPECT_EQ(threads_named("tutti-progress"), 0);
}

}  // namespace
}  // namespace tutti::test
