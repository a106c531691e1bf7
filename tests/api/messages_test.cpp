// Messages have an order of their own: between two ranks they are matched in call order, however they lie between the
// collectives and the messages to others, and one whose receiver is late keeps nobody else waiting.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <thread>

#include "local_world.h"
#include "sanitized.h"

namespace tutti::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Words = std::vector<uint32_t>;

constexpr size_t kHuge = kSanitized ? 2 << 20 : 8 << 20;  // words: far more than all slots hold
const std::vector<size_t> kSizes = {4, 20'000, 300'000, kHuge};

Words words_of(int src, size_t count) {
  Words words(count);
  std::iota(words.begin(), words.end(), static_cast<uint32_t>(src) << 28);
  return words;
}

tutti_request* start_send(tutti_comm* comm, const Words& words, int peer) {
  tutti_request* request = nullptr;
  EXPECT_TRUE(succeeded(tutti_send_start(comm, words.data(), words.size(), TUTTI_UINT32, peer, 0, nullptr, &request), comm));
  return request;
}

tutti_request* start_recv(tutti_comm* comm, Words& words, int peer) {
  tutti_request* request = nullptr;
  EXPECT_TRUE(succeeded(tutti_recv_start(comm, words.data(), words.size(), TUTTI_UINT32, peer, 0, nullptr, &request), comm));
  return request;
}

void expect_sum(tutti_comm* comm, size_t count) {
  Words sum(count, 1);
  EXPECT_TRUE(succeeded(tutti_all_reduce(comm, sum.data(), sum.data(), count, TUTTI_UINT32, TUTTI_SUM, nullptr), comm));
  EXPECT_EQ(sum, Words(count, static_cast<uint32_t>(tutti_comm_size(comm))));
}

TEST(Messages, ExchangeInARing) {
  for (const int size : {2, 3, 5}) {
    const LocalWorld world(size);
    ASSERT_EQ(world.size(), size);
    for (const size_t count : kSizes)
      world.run([&](int rank, tutti_comm* comm) {
        const int before = (rank + size - 1) % size;
        const Words sent = words_of(rank, count);
        Words got(count);
        tutti_request* const sending = start_send(comm, sent, (rank + 1) % size);
        tutti_request* const receiving = start_recv(comm, got, before);
        EXPECT_TRUE(succeeded(tutti_wait(sending), comm));
        EXPECT_TRUE(succeeded(tutti_wait(receiving), comm));
        EXPECT_EQ(got, words_of(before, count));
      });
  }
}

// Rank 1 takes its message only after rank 2 has told it to, which rank 2 does after its own.
TEST(Messages, LateReceiverKeepsNoOtherWaiting) {
  const LocalWorld world(3);
  ASSERT_EQ(world.size(), 3);
  for (const bool grouped : {false, true})
    world.run([&](int rank, tutti_comm* comm) {
      const Words sent = words_of(0, kHuge);
      Words got(kHuge), word(1);
      if (rank == 0 && grouped) {
        EXPECT_TRUE(succeeded(tutti_group_begin(comm), comm));
        for (const int peer : {1, 2})
          EXPECT_TRUE(succeeded(tutti_send(comm, sent.data(), kHuge, TUTTI_UINT32, peer, 0, nullptr), comm));
        EXPECT_TRUE(succeeded(tutti_group_end(comm), comm));
        return;
      }
      if (rank == 0) {
        tutti_request* const requests[] = {start_send(comm, sent, 1), start_send(comm, sent, 2)};
        for (tutti_request* const request : requests) EXPECT_TRUE(succeeded(tutti_wait(request), comm));
        return;
      }
      if (rank == 1) {
        EXPECT_TRUE(succeeded(tutti_recv(comm, word.data(), 1, TUTTI_UINT32, 2, 0, nullptr), comm));
      }
      EXPECT_TRUE(succeeded(tutti_recv(comm, got.data(), kHuge, TUTTI_UINT32, 0, 0, nullptr), comm));
      if (rank == 2) {
        EXPECT_TRUE(succeeded(tutti_send(comm, word.data(), 1, TUTTI_UINT32, 1, 0, nullptr), comm));
      }
      EXPECT_EQ(got, sent);
    });
}

// Each rank has its messages at another place among the collectives.
TEST(Messages, LieBetweenCollectivesAsEachRankLikes) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  for (const size_t of_message : kSizes)
    for (const size_t of_sum : kSizes)
      world.run([&](int rank, tutti_comm* comm) {
        const Words sent = words_of(0, of_message);
        if (rank == 0) {
          Words sum(of_sum, 1);
          tutti_request* summing = nullptr;
          ASSERT_TRUE(succeeded(
              tutti_all_reduce_start(comm, sum.data(), sum.data(), of_sum, TUTTI_UINT32, TUTTI_SUM, nullptr, &summing), comm));
          ASSERT_TRUE(succeeded(tutti_send(comm, sent.data(), of_message, TUTTI_UINT32, 1, 0, nullptr), comm));
          ASSERT_TRUE(succeeded(tutti_wait(summing), comm));
          EXPECT_EQ(sum, Words(of_sum, 2));
          tutti_request* const sending = start_send(comm, sent, 1);  // received after a later collective
          expect_sum(comm, of_sum);
          ASSERT_TRUE(succeeded(tutti_wait(sending), comm));
        } else {
          Words got(of_message), again(of_message);
          ASSERT_TRUE(succeeded(tutti_recv(comm, got.data(), of_message, TUTTI_UINT32, 0, 0, nullptr), comm));
          EXPECT_EQ(got, sent);
          expect_sum(comm, of_sum);
          tutti_request* const receiving = start_recv(comm, again, 0);  // sent before an earlier collective
          expect_sum(comm, of_sum);
          ASSERT_TRUE(succeeded(tutti_wait(receiving), comm));
          EXPECT_EQ(again, sent);
        }
      });
}

TEST(Messages, ReceivePostedBeforeManyCollectives) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([&](int rank, tutti_comm* comm) {
    Words got(100'000);
    tutti_request* const receiving = rank == 1 ? start_recv(comm, got, 0) : nullptr;
    for (int i = 0; i < 100; ++i) expect_sum(comm, i % 2 == 0 ? 10 : 50'000);
    if (rank == 0) {
      EXPECT_TRUE(succeeded(tutti_send(comm, words_of(0, 100'000).data(), 100'000, TUTTI_UINT32, 1, 0, nullptr), comm));
    }
    if (rank == 1) {
      EXPECT_TRUE(succeeded(tutti_wait(receiving), comm));
    }
    if (rank == 1) {
      EXPECT_EQ(got, words_of(0, 100'000));
    }
  });
}

// ---- nothing against something ----

TEST(Messages, ReceiveOfNothingMeetsAMessage) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([&](int rank, tutti_comm* comm) {
    Words words(8);
    const size_t count = rank == 1 ? 0 : 8;
    tutti_status status = rank == 0 ? tutti_send(comm, words.data(), count, TUTTI_UINT32, 1, 0, nullptr)
                                    : tutti_recv(comm, words.data(), count, TUTTI_UINT32, 0, 0, nullptr);
    if (status == TUTTI_SUCCESS) status = tutti_barrier(comm, nullptr);
    EXPECT_EQ(status, TUTTI_MISMATCH);
    EXPECT_THAT(tutti_last_error(comm), AllOf(HasSubstr("of 0 uint32"), HasSubstr("of 8 uint32")));
  });
}

TEST(Messages, AllToAllOfNothingAgainstSomething) {
  for (const bool sends_nothing : {false, true}) {
    const LocalWorld world(3);
    ASSERT_EQ(world.size(), 3);
    world.run([&](int rank, tutti_comm* comm) {
      constexpr size_t kMost = 100'000;
      std::vector<size_t> gives(3, kMost), gets(3, kMost);
      const size_t at[] = {0, kMost, 2 * kMost};
      if (rank == 1) (sends_nothing ? gives : gets)[0] = 0;
      const Words in(3 * kMost, 7);
      Words out(3 * kMost);
      tutti_status status =
          tutti_all_to_all_v(comm, in.data(), gives.data(), at, out.data(), gets.data(), at, TUTTI_UINT32, nullptr);
      if (status == TUTTI_SUCCESS) status = tutti_barrier(comm, nullptr);
      EXPECT_EQ(status, TUTTI_MISMATCH);
      EXPECT_THAT(tutti_last_error(comm), AllOf(HasSubstr("of 0 uint32"), HasSubstr("of 100000 uint32")));
    });
  }
}

TEST(Messages, AllToAllWithEmptyParts) {
  const LocalWorld world(3);
  ASSERT_EQ(world.size(), 3);
  world.run([&](int rank, tutti_comm* comm) {
    for (const size_t unit : {size_t{0}, size_t{1}, size_t{40'000}}) {
      // Rank r gives r · unit to each rank above it, nothing to others.
      std::vector<size_t> gives(3), gets(3), from(3), to(3);
      for (int peer = 0; peer < 3; ++peer) {
        gives[static_cast<size_t>(peer)] = peer > rank ? static_cast<size_t>(rank) * unit : 0;
        gets[static_cast<size_t>(peer)] = peer < rank ? static_cast<size_t>(peer) * unit : 0;
        from[static_cast<size_t>(peer)] = to[static_cast<size_t>(peer)] = static_cast<size_t>(peer) * 2 * unit;
      }
      const Words in(6 * unit + 1, static_cast<uint32_t>(rank) + 1);
      Words out(6 * unit + 1);
      ASSERT_TRUE(succeeded(
          tutti_all_to_all_v(comm, in.data(), gives.data(), from.data(), out.data(), gets.data(), to.data(), TUTTI_UINT32, nullptr),
          comm));
      for (size_t peer = 0; peer < 3; ++peer)
        for (size_t i = 0; i < gets[peer]; ++i) ASSERT_EQ(out[to[peer] + i], peer + 1);
    }
  });
}

TEST(Messages, OverlapOfPartsIsFound) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  Words memory(1'000);
  const size_t counts[] = {10, 10}, sends[] = {0, 500};
  const auto overlap = [&](size_t first, size_t second) {
    const size_t receives[] = {first, second};
    return tutti_all_to_all_v(world.comm(0), memory.data(), counts, sends, memory.data(), counts, receives, TUTTI_UINT32, nullptr);
  };
  for (const auto& [first, second] : std::vector<std::pair<size_t, size_t>>{{9, 700}, {700, 509}, {491, 700}, {500, 20}, {20, 0}}) {
    EXPECT_EQ(overlap(first, second), TUTTI_INVALID_ARGUMENT) << first << " " << second;
    EXPECT_THAT(tutti_last_error(world.comm(0)), HasSubstr("overlap"));
  }
  world.run([&](int rank, tutti_comm* comm) {  // side by side is right
    Words own(1'000, static_cast<uint32_t>(rank));
    const size_t receives[] = {10, 490};
    EXPECT_TRUE(succeeded(
        tutti_all_to_all_v(comm, own.data(), counts, sends, own.data(), counts, receives, TUTTI_UINT32, nullptr), comm));
    EXPECT_EQ(own[10], 0u);
    EXPECT_EQ(own[490], 1u);
  });
}

// ---- requests and the end ----

TEST(Messages, CommunicatorWithARequestIsNotDestroyed) {
  LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([&](int rank, tutti_comm* comm) {
    Words sum(200'000, 1);
    tutti_request* request = nullptr;
    ASSERT_TRUE(succeeded(
        tutti_all_reduce_start(comm, sum.data(), sum.data(), sum.size(), TUTTI_UINT32, TUTTI_SUM, nullptr, &request), comm));
    EXPECT_EQ(tutti_comm_destroy(comm), TUTTI_INVALID_ARGUMENT);
    EXPECT_THAT(tutti_last_error(nullptr),
                AllOf(HasSubstr("1 request"), HasSubstr("all_reduce #1 of 200000 uint32"), HasSubstr("tutti_wait")));
    EXPECT_TRUE(succeeded(tutti_wait(request), comm));
    EXPECT_EQ(sum, Words(200'000, 2)) << rank;
  });
}

TEST(Messages, RequestsOutliveADeadCommunicator) {
  tutti_comm* comms[2];
  ASSERT_EQ(tutti_comm_create_local(comms, 2), TUTTI_SUCCESS);
  Words words(10);
  tutti_request* const waited = start_recv(comms[0], words, 1);
  tutti_request* const tested = start_recv(comms[0], words, 1);
  EXPECT_EQ(tutti_comm_abort(comms[1], "no more"), TUTTI_SUCCESS);
  float x = 1;
  EXPECT_EQ(tutti_all_reduce(comms[0], &x, &x, 1, TUTTI_FLOAT32, TUTTI_SUM, nullptr), TUTTI_ABORTED);
  for (tutti_comm* comm : comms) tutti_comm_destroy(comm);
  EXPECT_EQ(tutti_wait(waited), TUTTI_ABORTED);
  EXPECT_THAT(tutti_last_error(nullptr), HasSubstr("no more"));
  int done = 0;
  EXPECT_EQ(tutti_test(tested, &done), TUTTI_ABORTED);
  EXPECT_EQ(done, 1);
}

// One thread ends the communicators of all ranks one after another.
TEST(Messages, EndsNeedNoRendezvous) {
  tutti_comm* comms[5];
  ASSERT_EQ(tutti_comm_create_local(comms, 5), TUTTI_SUCCESS);
  for (tutti_comm* comm : comms) EXPECT_EQ(tutti_comm_destroy(comm), TUTTI_SUCCESS) << tutti_last_error(nullptr);
}

}  // namespace
}  // namespace tutti::test
