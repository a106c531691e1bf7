// Tags, receives from any rank, messages shorter than their receive, and messages to oneself, over each transport.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <numeric>
#include <random>
#include <set>

#include "local_world.h"
#include "sanitized.h"
#include "transports.h"

namespace tutti::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Words = std::vector<uint32_t>;

constexpr size_t kLongWords = kSanitized ? 300'000 : 3'000'000;  // words: more than all slots of a link hold

Words words_with(int src, int tag, size_t count) {
  Words words(count);
  std::iota(words.begin(), words.end(), static_cast<uint32_t>(src) << 28 | static_cast<uint32_t>(tag) << 20);
  return words;
}

tutti_status send_words(tutti_comm* comm, const Words& words, int peer, int tag) {
  return tutti_send(comm, words.data(), words.size(), TUTTI_UINT32, peer, tag, nullptr);
}

struct Outcome {
  tutti_status status = TUTTI_INTERNAL;
  tutti_received got{-7, -7, 7};
};

tutti_message_options telling(tutti_received& got) {
  tutti_message_options options;
  tutti_message_options_init(&options);
  options.received = &got;
  return options;
}

Outcome recv_words(tutti_comm* comm, Words& words, int peer, int tag) {
  Outcome outcome;
  const tutti_message_options options = telling(outcome.got);
  outcome.status = tutti_recv(comm, words.data(), words.size(), TUTTI_UINT32, peer, tag, &options);
  return outcome;
}

void expect_words(tutti_comm* comm, int peer, int tag, const Words& expected, int real_peer, int real_tag) {
  Words words(expected.size());
  const Outcome outcome = recv_words(comm, words, peer, tag);
  ASSERT_TRUE(succeeded(outcome.status, comm));
  EXPECT_EQ(outcome.got.source, real_peer);
  EXPECT_EQ(outcome.got.tag, real_tag);
  ASSERT_EQ(outcome.got.count, expected.size());
  EXPECT_TRUE(words == expected) << "from " << real_peer << ", tag " << real_tag;
}

void expect_words(tutti_comm* comm, int peer, int tag, const Words& expected) {
  expect_words(comm, peer, tag, expected, peer, tag);
}

class Tags : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (const std::string why = lacks(GetParam()); !why.empty()) GTEST_SKIP() << why;
    ::setenv("TUTTI_TRANSPORT", GetParam(), 1);
  }
  void TearDown() override { ::unsetenv("TUTTI_TRANSPORT"); }
};

INSTANTIATE_TEST_SUITE_P(Over, Tags, testing::Values("memory", "shm", "tcp", "ucx"));

TEST_P(Tags, AreReceivedInAnyOrder) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  for (const size_t count : {size_t{0}, size_t{3}, size_t{70'000}, kLongWords})
    world.run([&](int rank, tutti_comm* comm) {
      if (rank == 0) {
        for (const int tag : {1, 2, 3, 2, 1}) ASSERT_TRUE(succeeded(send_words(comm, words_with(0, tag, count), 1, tag), comm));
      } else {
        for (const int tag : {3, 1, 1, 2, 2}) expect_words(comm, 0, tag, words_with(0, tag, count));
      }
    });
}

TEST_P(Tags, OfOneKindKeepTheirOrder) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([&](int rank, tutti_comm* comm) {
    if (rank == 0) {
      for (int i = 0; i < 40; ++i) ASSERT_TRUE(succeeded(send_words(comm, words_with(i % 8, i % 4, 1'000), 1, i % 4), comm));
    } else {
      for (int tag = 3; tag >= 0; --tag)
        for (int i = tag; i < 40; i += 4) expect_words(comm, 0, tag, words_with(i % 8, tag, 1'000));
    }
  });
}

TEST_P(Tags, AnySourceAndAnyTag) {
  constexpr int kRanks = 4, kMessages = 5;
  const LocalWorld world(kRanks);
  ASSERT_EQ(world.size(), kRanks);
  for (const size_t count : {size_t{2}, size_t{50'000}})
    world.run([&](int rank, tutti_comm* comm) {
      if (rank != 0) {
        for (int i = 0; i < kMessages; ++i)
          ASSERT_TRUE(succeeded(send_words(comm, words_with(rank, i, count + static_cast<size_t>(i)), 0, i), comm));
        return;
      }
      int next_tag[kRanks] = {};
      for (int i = 0; i < kMessages * (kRanks - 1); ++i) {
        Words words(count + kMessages);
        const Outcome outcome = recv_words(comm, words, TUTTI_ANY_SOURCE, TUTTI_ANY_TAG);
        ASSERT_TRUE(succeeded(outcome.status, comm));
        ASSERT_TRUE(outcome.got.source > 0 && outcome.got.source < kRanks) << outcome.got.source;
        EXPECT_EQ(outcome.got.tag, next_tag[outcome.got.source]++);
        ASSERT_EQ(outcome.got.count, count + static_cast<size_t>(outcome.got.tag));
        words.resize(outcome.got.count);
        EXPECT_TRUE(words == words_with(outcome.got.source, outcome.got.tag, words.size()));
      }
    });
}

// The first receive that asks for a message gets it, however it asks.
TEST_P(Tags, ReceivesArePostedInOrder) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([&](int rank, tutti_comm* comm) {
    if (rank == 0) {
      Words go(1);
      ASSERT_TRUE(succeeded(recv_words(comm, go, 1, 9).status, comm));
      for (const int tag : {5, 6, 5}) ASSERT_TRUE(succeeded(send_words(comm, words_with(0, tag, 10), 1, tag), comm));
      return;
    }
    struct Posted {
      int peer, tag;
      Words words = Words(10);
      tutti_received got{};
      tutti_message_options options{};
      tutti_request* request = nullptr;
    };
    std::deque<Posted> posted;
    for (const auto& [peer, tag] : {std::pair(0, 6), std::pair(TUTTI_ANY_SOURCE, 5), std::pair(0, TUTTI_ANY_TAG)}) {
      Posted& p = posted.emplace_back(Posted{peer, tag});
      p.options = telling(p.got);
      ASSERT_TRUE(succeeded(tutti_recv_start(comm, p.words.data(), 10, TUTTI_UINT32, peer, tag, &p.options, &p.request), comm));
    }
    ASSERT_TRUE(succeeded(send_words(comm, Words(1), 0, 9), comm));
    for (Posted& p : posted) ASSERT_TRUE(succeeded(tutti_wait(p.request), comm));
    const int expected[] = {6, 5, 5};
    for (size_t i = 0; i < posted.size(); ++i) {
      EXPECT_EQ(posted[i].got.tag, expected[i]);
      EXPECT_EQ(posted[i].got.source, 0);
      EXPECT_TRUE(posted[i].words == words_with(0, expected[i], 10));
    }
  });
}

TEST_P(Tags, ShorterMessagesAreReceived) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([&](int rank, tutti_comm* comm) {
    for (const size_t count : {size_t{0}, size_t{1}, size_t{16'383}, size_t{100'000}, kLongWords - 1}) {
      if (rank == 0) {
        ASSERT_TRUE(succeeded(send_words(comm, words_with(0, 4, count), 1, 4), comm));
        continue;
      }
      Words words(kLongWords, 77);
      const Outcome outcome = recv_words(comm, words, 0, 4);
      ASSERT_TRUE(succeeded(outcome.status, comm));
      EXPECT_EQ(outcome.got.count, count);
      EXPECT_EQ(std::count(words.begin() + static_cast<long>(count), words.end(), 77), static_cast<long>(kLongWords - count));
      words.resize(count);
      EXPECT_TRUE(words == words_with(0, 4, count));
    }
  });
}

TEST_P(Tags, LongerMessagesAndOtherTypesAreMismatches) {
  for (const bool longer : {true, false})
    for (const bool set_aside : {false, true}) {
      const LocalWorld world(2);
      ASSERT_EQ(world.size(), 2);
      world.run([&](int rank, tutti_comm* comm) {
        Words words(9);
        tutti_status status = TUTTI_SUCCESS;
        if (rank == 0) {
          status = send_words(comm, words, 1, 3);
          if (status == TUTTI_SUCCESS) status = send_words(comm, Words(1), 1, 8);
        } else {
          if (set_aside) {
            ASSERT_TRUE(succeeded(recv_words(comm, words, 0, 8).status, comm));
          }
          status = tutti_recv(comm, words.data(), longer ? 8 : 9, longer ? TUTTI_UINT32 : TUTTI_INT32, 0, 3, nullptr);
          EXPECT_EQ(status, TUTTI_MISMATCH);
        }
        if (status == TUTTI_SUCCESS) status = tutti_barrier(comm, nullptr);
        EXPECT_EQ(status, TUTTI_MISMATCH);
        EXPECT_THAT(tutti_last_error(comm),
                    AllOf(HasSubstr(longer ? "of 8 uint32, tag 3" : "of 9 int32, tag 3"), HasSubstr("of 9 uint32, tag 3")));
      });
    }
}

// ---- messages to oneself ----

TEST_P(Tags, ToOneself) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([&](int rank, tutti_comm* comm) {
    for (const size_t count : {size_t{0}, size_t{5}, kLongWords}) {
      Words sent = words_with(rank, 1, count);
      ASSERT_TRUE(succeeded(send_words(comm, sent, rank, 1), comm));  // does not wait
      sent.assign(count, 0);
      ASSERT_TRUE(succeeded(send_words(comm, words_with(rank, 2, count), rank, 2), comm));
      expect_words(comm, rank, 2, words_with(rank, 2, count));
      expect_words(comm, TUTTI_ANY_SOURCE, TUTTI_ANY_TAG, words_with(rank, 1, count), rank, 1);

      Words got(count);
      tutti_request *sending = nullptr, *receiving = nullptr;
      sent = words_with(rank, 3, count);
      ASSERT_TRUE(succeeded(tutti_send_start(comm, sent.data(), count, TUTTI_UINT32, rank, 3, nullptr, &sending), comm));
      int done = 1;
      EXPECT_EQ(tutti_test(sending, &done), TUTTI_SUCCESS);
      EXPECT_EQ(done, 0) << "a started send holds its buffer until it is received";
      ASSERT_TRUE(succeeded(tutti_recv_start(comm, got.data(), count, TUTTI_UINT32, rank, 3, nullptr, &receiving), comm));
      ASSERT_TRUE(succeeded(tutti_wait(sending), comm));
      ASSERT_TRUE(succeeded(tutti_wait(receiving), comm));
      EXPECT_TRUE(got == sent);

      ASSERT_TRUE(succeeded(tutti_recv_start(comm, got.data(), count, TUTTI_UINT32, rank, 4, nullptr, &receiving), comm));
      ASSERT_TRUE(succeeded(send_words(comm, words_with(rank, 4, count), rank, 4), comm));
      ASSERT_TRUE(succeeded(tutti_wait(receiving), comm));
      EXPECT_TRUE(got == words_with(rank, 4, count));
    }
  });
}

TEST_P(Tags, ToOneselfInAGroup) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([&](int rank, tutti_comm* comm) {
    const Words own = words_with(rank, 1, 1'000), other = words_with(rank, 2, 50'000);
    Words from_self(1'000), from_peer(50'000);
    ASSERT_TRUE(succeeded(tutti_group_begin(comm), comm));
    ASSERT_TRUE(succeeded(send_words(comm, own, rank, 1), comm));
    ASSERT_TRUE(succeeded(send_words(comm, other, 1 - rank, 2), comm));
    ASSERT_TRUE(succeeded(tutti_recv(comm, from_peer.data(), 50'000, TUTTI_UINT32, 1 - rank, 2, nullptr), comm));
    ASSERT_TRUE(succeeded(tutti_recv(comm, from_self.data(), 1'000, TUTTI_UINT32, rank, 1, nullptr), comm));
    ASSERT_TRUE(succeeded(tutti_group_end(comm), comm));
    EXPECT_TRUE(from_self == own);
    EXPECT_TRUE(from_peer == words_with(1 - rank, 2, 50'000));
    ASSERT_TRUE(succeeded(tutti_group_begin(comm), comm));  // its receive comes later
    ASSERT_TRUE(succeeded(send_words(comm, own, rank, 1), comm));
    ASSERT_TRUE(succeeded(tutti_group_end(comm), comm));
    expect_words(comm, rank, 1, own);
  });
}

TEST(TagsOnce, LongerMessageToOneself) {
  LocalWorld world(1);
  ASSERT_EQ(world.size(), 1);
  tutti_comm* const comm = world.comm(0);
  Words words(4);
  ASSERT_TRUE(succeeded(send_words(comm, Words(5), 0, 0), comm));
  EXPECT_EQ(recv_words(comm, words, 0, 0).status, TUTTI_MISMATCH);
  EXPECT_THAT(tutti_last_error(comm), AllOf(HasSubstr("of 4 uint32"), HasSubstr("of 5 uint32")));
}

// ---- among collectives, in any order ----

// Each rank sends to all, itself included, what both ends draw from the same numbers; receives are posted in another
// order than messages are sent, some of them from any rank, while collectives go on.
TEST_P(Tags, RandomTraffic) {
  constexpr int kRanks = 3, kTags = 4;
  const int rounds = kSanitized ? 6 : 25;
  const LocalWorld world(kRanks);
  ASSERT_EQ(world.size(), kRanks);
  world.run([&](int rank, tutti_comm* comm) {
    std::mt19937 own(static_cast<uint32_t>(rank) + 77);
    for (int round = 0; round < rounds; ++round) {
      struct Item {
        int peer, tag;
        Words words;
        size_t count;
        tutti_received got{};
        tutti_message_options options{};
        tutti_request* request = nullptr;
      };
      std::deque<Item> sends, receives;
      for (int from = 0; from < kRanks; ++from)
        for (int to = 0; to < kRanks; ++to) {
          std::mt19937 both(static_cast<uint32_t>(round * 100 + from * 10 + to));
          for (int i = 0; i < 6; ++i) {
            const int tag = static_cast<int>(both() % kTags);
            const size_t count = both() % 3 == 0 ? both() % 60'000 : both() % 50;
            Words words = words_with(from, tag, count);
            if (count > 0) words[0] += static_cast<uint32_t>(i);
            if (from == rank) sends.push_back({to, tag, words, count});
            if (to == rank) receives.push_back({from, tag, std::move(words), count});
          }
        }
      // Of one source and tag in order: a random order of those pairs, not within them.
      std::vector<size_t> order(receives.size());
      std::iota(order.begin(), order.end(), size_t{0});
      std::vector<uint32_t> rank_of_pair(kRanks * kTags);
      for (uint32_t& r : rank_of_pair) r = static_cast<uint32_t>(own());
      std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
        const auto key = [&](const Item& item) { return rank_of_pair[static_cast<size_t>(item.peer * kTags + item.tag)]; };
        return key(receives[a]) < key(receives[b]);
      });
      std::vector<Words> buffers(receives.size());
      size_t next_send = 0, next_receive = 0;
      while (next_send < sends.size() || next_receive < order.size()) {
        if (next_receive == order.size() || (next_send < sends.size() && own() % 2 == 0)) {
          Item& item = sends[next_send++];
          ASSERT_TRUE(succeeded(
              tutti_send_start(comm, item.words.data(), item.count, TUTTI_UINT32, item.peer, item.tag, nullptr, &item.request),
              comm));
        } else {
          const size_t which = order[next_receive++];
          Item& item = receives[which];
          buffers[which].resize(item.count + 5);
          item.options = telling(item.got);
          ASSERT_TRUE(succeeded(tutti_recv_start(comm, buffers[which].data(), item.count + 5, TUTTI_UINT32, item.peer, item.tag,
                                                 &item.options, &item.request),
                                comm));
        }
      }
      int32_t one = 1, sum = 0;
      ASSERT_TRUE(succeeded(tutti_all_reduce(comm, &one, &sum, 1, TUTTI_INT32, TUTTI_SUM, nullptr), comm));
      EXPECT_EQ(sum, kRanks);
      for (Item& item : sends) ASSERT_TRUE(succeeded(tutti_wait(item.request), comm));
      for (size_t i = 0; i < receives.size(); ++i) {
        Item& item = receives[i];
        ASSERT_TRUE(succeeded(tutti_wait(item.request), comm));
        EXPECT_EQ(item.got.source, item.peer);
        EXPECT_EQ(item.got.tag, item.tag);
        ASSERT_EQ(item.got.count, item.count);
        buffers[i].resize(item.count);
        ASSERT_TRUE(buffers[i] == item.words) << "round " << round << ", from " << item.peer << ", tag " << item.tag;
      }
    }
  });
}

// A receive that waits for a rare word keeps the many messages before it waiting once enough of them are held.
TEST_P(Tags, ManyMessagesBeforeTheOneAskedFor) {
  if (kSanitized) GTEST_SKIP() << "takes 300 MiB";
  constexpr size_t kWords = 1 << 20, kMessages = 75;
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([&](int rank, tutti_comm* comm) {
    Words words(kWords, 5);
    if (rank == 0) {
      for (size_t i = 0; i < kMessages; ++i) {
        words[0] = static_cast<uint32_t>(i);
        ASSERT_TRUE(succeeded(send_words(comm, words, 1, 1), comm));
      }
      ASSERT_TRUE(succeeded(send_words(comm, Words(1, 99), 1, 2), comm));
      return;
    }
    Words rare(1);
    tutti_request* receiving = nullptr;
    ASSERT_TRUE(succeeded(tutti_recv_start(comm, rare.data(), 1, TUTTI_UINT32, TUTTI_ANY_SOURCE, 2, nullptr, &receiving), comm));
    for (size_t i = 0; i < kMessages; ++i) {
      ASSERT_TRUE(succeeded(recv_words(comm, words, 0, 1).status, comm));
      EXPECT_EQ(words[0], i);
      EXPECT_EQ(words[kWords - 1], 5u);
    }
    ASSERT_TRUE(succeeded(tutti_wait(receiving), comm));
    EXPECT_EQ(rare[0], 99u);
  });
}

// ---- arguments, failures ----

TEST(TagsOnce, WrongArgumentsChangeNothing) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  tutti_comm* const comm = world.comm(0);
  uint32_t word = 0;
  tutti_request* request = nullptr;
  const auto says = [&](tutti_status status, const std::string& what) {
    EXPECT_EQ(status, TUTTI_INVALID_ARGUMENT) << what;
    EXPECT_THAT(tutti_last_error(comm), HasSubstr(what));
  };
  says(tutti_send(comm, &word, 1, TUTTI_UINT32, 1, -1, nullptr), "tutti_send: tag -1 must be 0 or more");
  says(tutti_recv(comm, &word, 1, TUTTI_UINT32, 1, -2, nullptr), "tutti_recv: tag -2 must be 0 or more, or TUTTI_ANY_TAG");
  says(tutti_send(comm, &word, 1, TUTTI_UINT32, TUTTI_ANY_SOURCE, 0, nullptr), "tutti_send: peer -1 is not a rank");
  says(tutti_recv(comm, &word, 1, TUTTI_UINT32, 2, 0, nullptr), "nor TUTTI_ANY_SOURCE");
  tutti_received got;
  tutti_message_options options = telling(got);
  says(tutti_send(comm, &word, 1, TUTTI_UINT32, 1, 0, &options), "received is of receives only");
  options.timeout_ms = -5;
  says(tutti_recv(comm, &word, 1, TUTTI_UINT32, 1, 0, &options), "timeout_ms is negative");
  options.timeout_ms = 0;
  says(tutti_recv_start(comm, &word, 1, TUTTI_UINT32, 1, 0, &options, nullptr), "request is NULL");
  EXPECT_EQ(request, nullptr);
  world.run([&](int rank, tutti_comm* mine) {  // it still works
    if (rank == 0) {
      EXPECT_TRUE(succeeded(send_words(mine, Words(1, 6), 1, 0), mine));
    } else {
      expect_words(mine, 0, 0, Words(1, 6));
    }
  });
}

TEST_P(Tags, TimeoutOfAReceiveNamesIt) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([&](int rank, tutti_comm* comm) {
    if (rank == 0) return;
    uint32_t word = 0;
    tutti_message_options options;
    tutti_message_options_init(&options);
    options.timeout_ms = 200;
    EXPECT_EQ(tutti_recv(comm, &word, 1, TUTTI_UINT32, TUTTI_ANY_SOURCE, 12, &options), TUTTI_TIMEOUT);
    EXPECT_THAT(tutti_last_error(comm), HasSubstr("point_to_point of 1 uint32, tag 12"));
  });
}

TEST_P(Tags, ReceivesUnderWayEndWithTheCommunicator) {
  LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  Words words(10);
  tutti_request *receiving = nullptr, *sending = nullptr;
  tutti_comm* const comm = world.comm(0);
  ASSERT_TRUE(succeeded(
      tutti_recv_start(comm, words.data(), 10, TUTTI_UINT32, TUTTI_ANY_SOURCE, TUTTI_ANY_TAG, nullptr, &receiving), comm));
  ASSERT_TRUE(succeeded(tutti_send_start(comm, words.data(), 0, TUTTI_INT8, 0, 1, nullptr, &sending), comm));  // another type
  EXPECT_EQ(tutti_wait(receiving), TUTTI_MISMATCH);
  EXPECT_EQ(tutti_wait(sending), TUTTI_MISMATCH);
}

}  // namespace
}  // namespace tutti::test
