// Requests: several in flight, ended in any order, by any thread, with blocking calls in between.

#include <gtest/gtest.h>

#include <deque>

#include "arena.h"
#include "local_world.h"

namespace tutti::test {
namespace {

Call call_of(Kind kind, int size, size_t count, uint64_t seed) {
  Call call;
  call.kind = kind;
  call.size = size;
  call.count = count;
  call.seed = seed;
  return call;
}

// Calls of every kind and several sizes, whose arenas all live at once.
std::vector<Call> mixed_calls(int size) {
  std::vector<Call> calls;
  for (int k = 0; k < kKinds; ++k) {
    for (const size_t count : {size_t{1}, size_t{513}, size_t{20'001}}) {
      calls.push_back(call_of(static_cast<Kind>(k), size, count, calls.size()));
      calls.back().root = static_cast<int>(calls.size()) % size;
    }
  }
  return calls;
}

enum class Order { first_to_last, last_to_first };

void run_all_in_flight(int size, Order order) {
  const LocalWorld world(size);
  ASSERT_EQ(world.size(), size);
  const std::vector<Call> calls = mixed_calls(size);
  std::vector<std::vector<Bytes>> inputs;
  for (const Call& call : calls) inputs.push_back(make_inputs(call));
  world.run([&](int rank, tutti_comm* comm) {
    std::deque<Arena> arenas;
    std::vector<tutti_request*> requests(calls.size(), nullptr);
    for (size_t i = 0; i < calls.size(); ++i) {
      arenas.emplace_back(calls[i], rank, inputs[i][static_cast<size_t>(rank)]);
      ASSERT_TRUE(succeeded(arenas.back().start(comm, &requests[i]), comm)) << describe(calls[i]);
    }
    for (size_t k = 0; k < calls.size(); ++k) {
      const size_t i = order == Order::first_to_last ? k : calls.size() - 1 - k;
      ASSERT_TRUE(succeeded(tutti_wait(requests[i]), comm)) << describe(calls[i]);
      EXPECT_EQ(arenas[i].check(inputs[i]), "");
    }
  });
}

TEST(Async, EveryKindInFlightAtOnce) { run_all_in_flight(4, Order::first_to_last); }
TEST(Async, EndedInReverse) { run_all_in_flight(3, Order::last_to_first); }
TEST(Async, OfOneRank) { run_all_in_flight(1, Order::last_to_first); }

TEST(Async, BlockingCallsWhileOthersAreInFlight) {
  constexpr int kSize = 3;
  const LocalWorld world(kSize);
  ASSERT_EQ(world.size(), kSize);
  const Call large = call_of(Kind::all_reduce, kSize, 200'003, 1);
  const Call small = call_of(Kind::all_reduce, kSize, 5, 2);
  const std::vector<Bytes> large_inputs = make_inputs(large), small_inputs = make_inputs(small);
  world.run([&](int rank, tutti_comm* comm) {
    const auto r = static_cast<size_t>(rank);
    for (int round = 0; round < 5; ++round) {
      Arena background(large, rank, large_inputs[r]), foreground(small, rank, small_inputs[r]);
      tutti_request* request = nullptr;
      ASSERT_TRUE(succeeded(background.start(comm, &request), comm));
      ASSERT_TRUE(succeeded(foreground.perform(comm), comm));
      EXPECT_EQ(foreground.check(small_inputs), "");
      ASSERT_TRUE(succeeded(tutti_barrier(comm, nullptr), comm));
      ASSERT_TRUE(succeeded(tutti_wait(request), comm));
      EXPECT_EQ(background.check(large_inputs), "");
    }
  });
}

// The progress thread carries an operation on although nobody waits.
// The first call on memory of a device waits for the other ranks, also one that only starts.
void meet_on_devices(const LocalWorld& world) {
  if (!DeviceBytes::wanted()) return;
  const Call call = call_of(Kind::all_reduce, world.size(), 1, 1);
  const std::vector<Bytes> inputs = make_inputs(call);
  world.run([&](int rank, tutti_comm* comm) {
    Arena arena(call, rank, inputs[static_cast<size_t>(rank)]);
    ASSERT_TRUE(succeeded(arena.perform(comm), comm));
  });
}

TEST(Async, FinishesWithoutTheCaller) {
  constexpr int kSize = 2;
  const LocalWorld world(kSize);
  ASSERT_EQ(world.size(), kSize);
  meet_on_devices(world);
  const Call call = call_of(Kind::all_reduce, kSize, 50'001, 3);
  const std::vector<Bytes> inputs = make_inputs(call);
  std::deque<Arena> arenas;
  std::vector<tutti_request*> requests(kSize, nullptr);
  for (int rank = 0; rank < kSize; ++rank) {
    arenas.emplace_back(call, rank, inputs[static_cast<size_t>(rank)]);
    ASSERT_TRUE(succeeded(arenas.back().start(world.comm(rank), &requests[static_cast<size_t>(rank)]), world.comm(rank)));
  }
  // One thread ends both ranks' requests in turn: only progress threads can finish the second while the first is waited
  // for.
  for (size_t r = 0; r < kSize; ++r) {
    EXPECT_EQ(test_until_done(requests[r]), TUTTI_SUCCESS);
    EXPECT_EQ(arenas[r].check(inputs), "");
  }
}

TEST(Async, WaitedForByAnotherThread) {
  constexpr int kSize = 3;
  const LocalWorld world(kSize);
  ASSERT_EQ(world.size(), kSize);
  const Call call = call_of(Kind::all_gather, kSize, 10'007, 4);
  const Call next = call_of(Kind::all_reduce, kSize, 77, 5);
  const std::vector<Bytes> inputs = make_inputs(call), next_inputs = make_inputs(next);
  world.run([&](int rank, tutti_comm* comm) {
    Arena arena(call, rank, inputs[static_cast<size_t>(rank)]);
    tutti_request* request = nullptr;
    ASSERT_TRUE(succeeded(arena.start(comm, &request), comm));
    std::thread waiter([&] {
      EXPECT_EQ(rank == 0 ? test_until_done(request) : tutti_wait(request), TUTTI_SUCCESS);
      EXPECT_EQ(arena.check(inputs), "");
    });
    Arena second(next, rank, next_inputs[static_cast<size_t>(rank)]);  // this thread goes on using the communicator
    EXPECT_TRUE(succeeded(second.perform(comm), comm));
    EXPECT_EQ(second.check(next_inputs), "");
    waiter.join();
  });
}

TEST(Async, TwoCommunicatorsInTwoThreadsAreIndependent) {
  constexpr int kSize = 2;
  const LocalWorld one(kSize), other(kSize);
  ASSERT_EQ(one.size(), kSize);
  ASSERT_EQ(other.size(), kSize);
  const auto work = [](const LocalWorld& world, uint64_t seed) {
    world.run([&](int rank, tutti_comm* comm) {
      for (uint64_t i = 0; i < 30; ++i) {
        const Call call = call_of(Kind::all_reduce, kSize, 100 * static_cast<size_t>(i) + 1, seed + i);
        const std::vector<Bytes> inputs = make_inputs(call);
        Arena arena(call, rank, inputs[static_cast<size_t>(rank)]);
        ASSERT_TRUE(succeeded(arena.perform(comm, i % 2 == 0 ? How::blocking : How::start_wait), comm));
        ASSERT_EQ(arena.check(inputs), "");
      }
    });
  };
  std::thread first([&] { work(one, 100); });
  std::thread second([&] { work(other, 200); });
  first.join();
  second.join();
}

TEST(Async, WaitingForNoRequestSucceeds) { EXPECT_EQ(tutti_wait(nullptr), TUTTI_SUCCESS); }

}  // namespace
}  // namespace tutti::test
