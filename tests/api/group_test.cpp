// Sends, receives and groups of them.

#include <gtest/gtest.h>

#include <numeric>

#include "local_world.h"
#include "sanitized.h"
#include "test_call.h"

namespace tutti::test {
namespace {

using Words = std::vector<uint32_t>;

// The i-th message from src to dst: its length and first word tell them apart.
Words message(int src, int dst, size_t i, size_t count) {
  Words words(count);
  std::iota(words.begin(), words.end(), static_cast<uint32_t>(src * 1'000'000 + dst * 100'000) + static_cast<uint32_t>(i) * 1'000);
  return words;
}

tutti_status send(tutti_comm* comm, const Words& words, int peer) {
  return tutti_send(comm, words.data(), words.size(), TUTTI_UINT32, peer, 0, nullptr);
}

tutti_status recv(tutti_comm* comm, Words& words, int peer) {
  return tutti_recv(comm, words.data(), words.size(), TUTTI_UINT32, peer, 0, nullptr);
}

TEST(PointToPoint, MessagesArriveInOrder) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  const std::vector<size_t> counts = {1, 0, 17, 70'001, 3, 300'001};
  world.run([&](int rank, tutti_comm* comm) {
    for (size_t i = 0; i < counts.size(); ++i) {
      const Words sent = message(0, 1, i, counts[i]);
      if (rank == 0) {
        ASSERT_TRUE(succeeded(send(comm, sent, 1), comm));
      } else {
        Words got(counts[i]);
        ASSERT_TRUE(succeeded(recv(comm, got, 0), comm));
        EXPECT_EQ(got, sent);
      }
    }
  });
}

TEST(PointToPoint, PingPong) {
  const LocalWorld world(3);
  ASSERT_EQ(world.size(), 3);
  world.run([&](int rank, tutti_comm* comm) {  // rank 1 takes no part
    Words words(64, 0);
    for (uint32_t round = 0; round < 50 && rank != 1; ++round) {
      if (rank == 0) {
        words.assign(64, round);
        ASSERT_TRUE(succeeded(send(comm, words, 2), comm));
        ASSERT_TRUE(succeeded(recv(comm, words, 2), comm));
        EXPECT_EQ(words, Words(64, round + 1));
      } else {
        ASSERT_TRUE(succeeded(recv(comm, words, 0), comm));
        for (uint32_t& word : words) ++word;
        ASSERT_TRUE(succeeded(send(comm, words, 0), comm));
      }
    }
  });
}

TEST(PointToPoint, StartedSendsAndReceives) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([&](int rank, tutti_comm* comm) {
    const int peer = 1 - rank;
    const Words sent = message(rank, peer, 0, 100'001);
    Words got(sent.size());
    tutti_request *sending = nullptr, *receiving = nullptr;
    ASSERT_TRUE(succeeded(tutti_send_start(comm, sent.data(), sent.size(), TUTTI_UINT32, peer, 0, nullptr, &sending), comm));
    ASSERT_TRUE(succeeded(tutti_recv_start(comm, got.data(), got.size(), TUTTI_UINT32, peer, 0, nullptr, &receiving), comm));
    EXPECT_TRUE(succeeded(tutti_wait(receiving), comm));
    EXPECT_TRUE(succeeded(tutti_wait(sending), comm));
    EXPECT_EQ(got, message(peer, rank, 0, sent.size()));
  });
}

TEST(Group, RingExchangeDoesNotDeadlock) {
  for (const size_t count : {size_t{1}, size_t{1'000}, size_t{200'003}}) {
    const LocalWorld world(5);
    ASSERT_EQ(world.size(), 5);
    world.run([&](int rank, tutti_comm* comm) {
      const int next = (rank + 1) % 5, previous = (rank + 4) % 5;
      const Words sent = message(rank, next, 0, count);
      Words got(count);
      ASSERT_TRUE(succeeded(tutti_group_begin(comm), comm));
      ASSERT_TRUE(succeeded(send(comm, sent, next), comm));
      ASSERT_TRUE(succeeded(recv(comm, got, previous), comm));
      ASSERT_TRUE(succeeded(tutti_group_end(comm), comm));
      EXPECT_EQ(got, message(previous, rank, 0, count));
    });
  }
}

// Messages of different lengths, some empty, several per pair, the peers named in a different order at each rank.
void exchange_all_pairs(const LocalWorld& world, size_t per_pair, bool start) {
  const int size = world.size();
  const auto count = [](int src, int dst, size_t i) {
    return static_cast<size_t>(random_word(9, static_cast<uint64_t>(src * 100 + dst), i) % 3'000) * (i % 3);
  };
  world.run([&](int rank, tutti_comm* comm) {
    std::vector<std::vector<Words>> sent(static_cast<size_t>(size)), got(static_cast<size_t>(size));
    ASSERT_TRUE(succeeded(tutti_group_begin(comm), comm));
    for (int k = 1; k < size; ++k) {
      const int peer = (rank + k) % size;
      auto& to = sent[static_cast<size_t>(peer)];
      auto& from = got[static_cast<size_t>(peer)];
      for (size_t i = 0; i < per_pair; ++i) {
        to.push_back(message(rank, peer, i, count(rank, peer, i)));
        from.emplace_back(count(peer, rank, i));
      }
      for (size_t i = 0; i < per_pair; ++i) {
        ASSERT_TRUE(succeeded(send(comm, to[i], peer), comm));
        ASSERT_TRUE(succeeded(recv(comm, from[i], peer), comm));
      }
    }
    if (start) {
      tutti_request* request = nullptr;
      ASSERT_TRUE(succeeded(tutti_group_end_start(comm, &request), comm));
      ASSERT_TRUE(succeeded(tutti_wait(request), comm));
    } else {
      ASSERT_TRUE(succeeded(tutti_group_end(comm), comm));
    }
    for (int peer = 0; peer < size; ++peer) {
      for (size_t i = 0; i < got[static_cast<size_t>(peer)].size(); ++i) {
        EXPECT_EQ(got[static_cast<size_t>(peer)][i], message(peer, rank, i, count(peer, rank, i))) << peer << " to " << rank;
      }
    }
  });
}

TEST(Group, AllPairs) {
  for (const int size : {2, 3, 8}) {
    const LocalWorld world(size);
    ASSERT_EQ(world.size(), size);
    exchange_all_pairs(world, 1, false);
    exchange_all_pairs(world, 7, false);
    exchange_all_pairs(world, 7, true);
  }
}

TEST(Group, EmptyGroupSucceeds) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([&](int, tutti_comm* comm) {
    EXPECT_TRUE(succeeded(tutti_group_begin(comm), comm));
    EXPECT_TRUE(succeeded(tutti_group_end(comm), comm));
  });
}

// Only some ranks take part, and collectives before and after meet no stray message.
TEST(Group, BetweenSomeRanksOnly) {
  const LocalWorld world(4);
  ASSERT_EQ(world.size(), 4);
  world.run([&](int rank, tutti_comm* comm) {
    for (int round = 0; round < 10; ++round) {
      int32_t one = 1, sum = 0;
      ASSERT_TRUE(succeeded(tutti_all_reduce(comm, &one, &sum, 1, TUTTI_INT32, TUTTI_SUM, nullptr), comm));
      EXPECT_EQ(sum, 4);
      if (rank == 0 || rank == 3) {
        const int peer = 3 - rank;
        const Words sent = message(rank, peer, static_cast<size_t>(round), 999);
        Words got(999);
        ASSERT_TRUE(succeeded(tutti_group_begin(comm), comm));
        ASSERT_TRUE(succeeded(recv(comm, got, peer), comm));
        ASSERT_TRUE(succeeded(send(comm, sent, peer), comm));
        ASSERT_TRUE(succeeded(tutti_group_end(comm), comm));
        EXPECT_EQ(got, message(peer, rank, static_cast<size_t>(round), 999));
      }
    }
  });
}

// More messages than a link holds or the pool has slots, both ways and among several; large ones have many stripes.
TEST(Group, OfManyMessages) {
  struct Shape {
    int size;
    size_t messages, words;
  };
  for (const Shape& shape : {Shape{2, 300, 3}, Shape{2, fewer<size_t>(30, 6), 90'001}, Shape{4, fewer<size_t>(100, 50), 1'001},
                             Shape{3, fewer<size_t>(25, 6), 70'001}}) {
    const LocalWorld world(shape.size);
    ASSERT_EQ(world.size(), shape.size);
    world.run([&](int rank, tutti_comm* comm) {
      for (const bool starts : {false, true}) {
        std::vector<Words> sent, got, expected;
        for (size_t i = 0; i < shape.messages; ++i)
          for (int peer = 0; peer < shape.size; ++peer) {
            sent.push_back(message(rank, peer, i, shape.words));
            expected.push_back(message(peer, rank, i, shape.words));
            got.emplace_back(shape.words);
          }
        ASSERT_TRUE(succeeded(tutti_group_begin(comm), comm));
        const auto p = static_cast<size_t>(shape.size);
        for (size_t k = 0; k < sent.size(); ++k) ASSERT_TRUE(succeeded(send(comm, sent[k], static_cast<int>(k % p)), comm));
        for (size_t k = 0; k < got.size(); ++k) ASSERT_TRUE(succeeded(recv(comm, got[k], static_cast<int>(k % p)), comm));
        if (starts) {
          tutti_request* request = nullptr;
          ASSERT_TRUE(succeeded(tutti_group_end_start(comm, &request), comm));
          int done = 0;
          while (rank == 0 && done == 0) ASSERT_TRUE(succeeded(tutti_test(request, &done), comm));
          if (rank != 0) {
            ASSERT_TRUE(succeeded(tutti_wait(request), comm));
          }
        } else {
          ASSERT_TRUE(succeeded(tutti_group_end(comm), comm));
        }
        for (size_t k = 0; k < got.size(); ++k) ASSERT_EQ(got[k], expected[k]) << "rank " << rank << ", message " << k;
      }
    });
  }
}

// The other end need not make a group of what this one groups.
TEST(Group, MeetsSingleCalls) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  constexpr size_t kWords = 400'003, kMessages = 3;  // equally long, so only the order tells them apart
  world.run([&](int rank, tutti_comm* comm) {
    for (const bool sender_groups : {true, false}) {
      std::vector<Words> sent, got(kMessages, Words(kWords));
      for (size_t i = 0; i < kMessages; ++i) sent.push_back(message(0, 1, i, kWords));
      const bool groups = (rank == 0) == sender_groups;
      if (groups) {
        ASSERT_TRUE(succeeded(tutti_group_begin(comm), comm));
      }
      for (size_t i = 0; i < kMessages; ++i)
        ASSERT_TRUE(succeeded(rank == 0 ? send(comm, sent[i], 1) : recv(comm, got[i], 0), comm));
      if (groups) {
        ASSERT_TRUE(succeeded(tutti_group_end(comm), comm));
      }
      for (size_t i = 0; rank == 1 && i < kMessages; ++i) EXPECT_EQ(got[i] == sent[i], true) << i << ", grouped " << groups;
    }
  });
}

}  // namespace
}  // namespace tutti::test
