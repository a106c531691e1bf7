// tutti_comm_create_group: communicators of some ranks, of which the others know nothing.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <string_view>
#include <thread>

#include "local_world.h"
#include "sanitized.h"
#include "transports.h"

namespace tutti::test {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;

class CreateGroup : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (const std::string why = lacks(GetParam()); !why.empty()) GTEST_SKIP() << why;
    ::setenv("TUTTI_TRANSPORT", GetParam(), 1);
  }
  void TearDown() override {
    for (const char* name : {"TUTTI_TRANSPORT", "TUTTI_BOOTSTRAP_TIMEOUT"}) ::unsetenv(name);
  }
};

INSTANTIATE_TEST_SUITE_P(Over, CreateGroup, testing::Values("memory", "shm", "tcp", "ucx"));

tutti_comm* group_of(tutti_comm* parent, const std::vector<int>& ranks, int key = 0) {
  tutti_comm* child = nullptr;
  EXPECT_TRUE(succeeded(tutti_comm_create_group(parent, ranks.data(), static_cast<int>(ranks.size()), key, 0, &child), parent));
  return child;
}

// The old ranks of a group, as its collectives give them.
std::vector<int> members_of(tutti_comm* group, int old_rank) {
  std::vector<int> all(static_cast<size_t>(tutti_comm_size(group)));
  EXPECT_TRUE(succeeded(tutti_all_gather(group, &old_rank, all.data(), 1, TUTTI_INT32, nullptr), group));
  return all;
}

void expect_large_sum(tutti_comm* group) {
  const std::vector<float> ones(100'000, 1);
  std::vector<float> sums(ones.size());
  EXPECT_TRUE(succeeded(tutti_all_reduce(group, ones.data(), sums.data(), ones.size(), TUTTI_FLOAT32, TUTTI_SUM, nullptr), group));
  EXPECT_EQ(sums, std::vector<float>(ones.size(), static_cast<float>(tutti_comm_size(group))));
}

void destroy(tutti_comm* group) { EXPECT_EQ(tutti_comm_destroy(group), TUTTI_SUCCESS) << tutti_last_error(nullptr); }

TEST_P(CreateGroup, OnlyMembersTakePart) {
  const LocalWorld world(4);
  ASSERT_EQ(world.size(), 4);
  world.run([](int rank, tutti_comm* comm) {
    if (rank == 1) return;
    const std::vector<int> ranks = {3, 0, 2};
    tutti_comm* const group = group_of(comm, ranks);
    ASSERT_NE(group, nullptr);
    EXPECT_EQ(tutti_comm_size(group), 3);
    EXPECT_EQ(ranks[static_cast<size_t>(tutti_comm_rank(group))], rank);
    EXPECT_EQ(members_of(group, rank), ranks);
    expect_large_sum(group);
    destroy(group);
  });
  world.run([](int, tutti_comm* comm) { EXPECT_TRUE(succeeded(tutti_barrier(comm, nullptr), comm)); });  // the parent goes on
}

// As a framework makes a mesh: each rank creates the groups that it is in, in an order of its own.
TEST_P(CreateGroup, RowsAndColumns) {
  constexpr int kRows = 2, kColumns = 3;
  const LocalWorld world(kRows * kColumns);
  ASSERT_EQ(world.size(), kRows * kColumns);
  world.run([](int rank, tutti_comm* comm) {
    const int row = rank / kColumns, column = rank % kColumns;
    std::vector<int> in_row, in_column;
    for (int c = 0; c < kColumns; ++c) in_row.push_back(row * kColumns + c);
    for (int r = 0; r < kRows; ++r) in_column.push_back(r * kColumns + column);
    tutti_comm* const rows = group_of(comm, in_row);
    tutti_comm* const columns = group_of(comm, in_column);
    ASSERT_TRUE(rows && columns);
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(members_of(columns, rank), in_column);
      EXPECT_EQ(members_of(rows, rank), in_row);
      EXPECT_EQ(members_of(comm, rank), (std::vector<int>{0, 1, 2, 3, 4, 5}));
    }
    expect_large_sum(rows);
    destroy(rows);
    destroy(columns);
  });
}

TEST_P(CreateGroup, OfOneAndOfAll) {
  const LocalWorld world(3);
  ASSERT_EQ(world.size(), 3);
  world.run([](int rank, tutti_comm* comm) {
    tutti_comm* const alone = group_of(comm, {rank});
    tutti_comm* const all = group_of(comm, {2, 1, 0});
    ASSERT_TRUE(alone && all);
    EXPECT_EQ(members_of(alone, rank), std::vector<int>{rank});
    EXPECT_EQ(members_of(all, rank), (std::vector<int>{2, 1, 0}));
    if (rank != 0) {
      tutti_comm* const inner = group_of(all, {0, 1});  // old ranks 2 and 1
      ASSERT_NE(inner, nullptr);
      EXPECT_EQ(members_of(inner, rank), (std::vector<int>{2, 1}));
      destroy(inner);
    }
    destroy(alone);
    destroy(all);
  });
}

TEST_P(CreateGroup, TheSameRanksAgainAndAgain) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([](int rank, tutti_comm* comm) {
    for (int i = 0; i < 10; ++i) {
      tutti_comm* const group = group_of(comm, {1, 0});
      ASSERT_NE(group, nullptr);
      EXPECT_EQ(members_of(group, rank), (std::vector<int>{1, 0}));
      destroy(group);
    }
  });
}

// Threads create groups of the same ranks at once, by different keys, while the parent is in use.
TEST_P(CreateGroup, ByThreads) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([](int rank, tutti_comm* comm) {
    std::vector<std::thread> threads;
    for (int key = 0; key < 3; ++key)
      threads.emplace_back([=] {
        for (int i = 0; i < 3; ++i) {
          tutti_comm* const group = group_of(comm, {0, 1}, key);
          ASSERT_NE(group, nullptr);
          EXPECT_EQ(members_of(group, rank), (std::vector<int>{0, 1}));
          int sent = 100 * key + rank, got = -1;
          EXPECT_TRUE(succeeded(tutti_send(group, &sent, 1, TUTTI_INT32, 1 - rank, 0, nullptr), group));
          EXPECT_TRUE(succeeded(tutti_recv(group, &got, 1, TUTTI_INT32, 1 - rank, 0, nullptr), group));
          EXPECT_EQ(got, 100 * key + 1 - rank);
          destroy(group);
        }
      });
    for (int i = 0; i < 30; ++i) EXPECT_EQ(members_of(comm, rank), (std::vector<int>{0, 1}));
    for (auto& thread : threads) thread.join();
  });
}

TEST_P(CreateGroup, UserMessagesDoNotMeetItsOwn) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([](int rank, tutti_comm* comm) {
    int got = -1;
    tutti_request* request = nullptr;
    ASSERT_TRUE(succeeded(tutti_recv_start(comm, &got, 1, TUTTI_INT32, TUTTI_ANY_SOURCE, TUTTI_ANY_TAG, nullptr, &request), comm));
    tutti_comm* const group = group_of(comm, {0, 1});
    ASSERT_NE(group, nullptr);
    ASSERT_TRUE(succeeded(tutti_send(comm, &rank, 1, TUTTI_INT32, 1 - rank, 77, nullptr), comm));
    ASSERT_TRUE(succeeded(tutti_wait(request), comm));
    EXPECT_EQ(got, 1 - rank);
    destroy(group);
  });
}

// ---- failures ----

// Over UCX a first message waits until its receiver makes a call, and nobody drives its sender then: who comes too late
// is not told that the others have given up, and waits in vain for the first rank.
bool tells_latecomers(std::string_view transport) { return transport != "ucx"; }

// The k-th call of one member belongs to the k-th of the others.
void miss_a_member(int timeout_ms, bool latecomer_is_told) {
  const LocalWorld world(3);
  ASSERT_EQ(world.size(), 3);
  const int ranks[] = {0, 1, 2};
  std::atomic<int> failed{0};
  world.run([&](int rank, tutti_comm* comm) {
    tutti_comm* group = nullptr;
    if (rank == 2)
      for (int before = failed; before < 2; before = failed) failed.wait(before);
    EXPECT_EQ(tutti_comm_create_group(comm, ranks, 3, 0, timeout_ms, &group), TUTTI_UNREACHABLE);
    EXPECT_EQ(group, nullptr);
    const std::string missing = rank != 2 || latecomer_is_told ? "rank 2 (" : "rank 0 (";
    EXPECT_THAT(tutti_last_error(comm), AllOf(HasSubstr(missing), HasSubstr(" did not take part in tutti_comm_create_group")));
    ++failed;
    failed.notify_all();
  });
  world.run([&](int rank, tutti_comm* comm) {
    EXPECT_TRUE(succeeded(tutti_barrier(comm, nullptr), comm));
    tutti_comm* const group = group_of(comm, {0, 1, 2});
    ASSERT_NE(group, nullptr);
    EXPECT_EQ(members_of(group, rank), (std::vector<int>{0, 1, 2}));
    destroy(group);
  });
}

TEST_P(CreateGroup, AMissingMemberIsNamedAndTheParentLives) {
  if (!tells_latecomers(GetParam())) GTEST_SKIP() << "a latecomer would wait for 12 s; the next test has it wait less";
  ::setenv("TUTTI_BOOTSTRAP_TIMEOUT", "10s", 1);  // it bounds the creation of the parent, too
  miss_a_member(0, true);
}

TEST_P(CreateGroup, TheCallersTimeGoesBeforeThatOfTheSettings) {
  ::setenv("TUTTI_BOOTSTRAP_TIMEOUT", "1h", 1);
  miss_a_member(2000, tells_latecomers(GetParam()));
}

TEST_P(CreateGroup, AFailureOfTheParentEndsIt) {
  LocalWorld world(3);
  ASSERT_EQ(world.size(), 3);
  const int ranks[] = {0, 1};
  world.run([&](int rank, tutti_comm* comm) {
    tutti_comm* group = nullptr;
    if (rank == 2) {
      EXPECT_EQ(tutti_comm_abort(comm, "the end"), TUTTI_SUCCESS);
    }
    if (rank == 0) {
      EXPECT_EQ(tutti_comm_create_group(comm, ranks, 2, 0, 0, &group), TUTTI_ABORTED);
      EXPECT_THAT(tutti_last_error(comm), HasSubstr("the end"));
    }
  });
}

TEST(CreateGroupArguments, AreChecked) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  tutti_comm* const comm = world.comm(0);
  tutti_comm* group = nullptr;
  const auto says = [&](const std::vector<int>& ranks, int size, int key, const std::string& what) {
    EXPECT_EQ(tutti_comm_create_group(comm, ranks.empty() ? nullptr : ranks.data(), size, key, 0, &group), TUTTI_INVALID_ARGUMENT);
    EXPECT_THAT(tutti_last_error(comm), HasSubstr(what));
    EXPECT_EQ(group, nullptr);
  };
  says({}, 1, 0, "ranks is NULL");
  says({0}, 0, 0, "size is 0, must be 1 to 2");
  says({0, 1, 2}, 3, 0, "size is 3");
  says({0, 1}, 2, -1, "key is -1");
  says({0, 2}, 2, 0, "rank 2 is not a rank of the parent (0 to 1)");
  says({0, -1}, 2, 0, "rank -1 is not");
  says({0, 0}, 2, 0, "rank 0 is named twice");
  says({1}, 1, 0, "this rank, 0, is not among the ranks");
  EXPECT_EQ(tutti_comm_create_group(nullptr, nullptr, 1, 0, 0, &group), TUTTI_INVALID_ARGUMENT);
  const int self = 0;
  EXPECT_EQ(tutti_comm_create_group(comm, &self, 1, 0, 0, nullptr), TUTTI_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace tutti::test
