// Communicators over `rdma` on several devices and ports, and on hosts where memory cannot be registered, over the fake
// verbs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <sstream>
#include <utility>

#include "fake_verbs/fake_verbs.h"
#include "local_world.h"
#include "process_world.h"

namespace tutti::test {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::Each;
using testing::HasSubstr;
using testing::Not;
using testing::UnorderedElementsAre;

constexpr uint64_t kNoLimit = UINT64_MAX;
constexpr char kTooLow[] =
    "of memory with the RDMA device fake0: the limit of locked memory is too low; raise it (ulimit -l unlimited";

class Rdma : public testing::Test {
 protected:
  void SetUp() override {
    if (!fake_) GTEST_SKIP() << "this needs the fake verbs (tests/links/fake_verbs)";
    std::filesystem::create_directories(folder_ / "class/infiniband");  // this host has devices
    ::setenv("SYSFS_PATH", folder_.c_str(), 1);
    ::setenv("TUTTI_DEBUG", "info", 1);
    ::setenv("TUTTI_DEBUG_FILE", (folder_ / "log").c_str(), 1);
    allow("^memory,shm");
  }
  void TearDown() override {
    if (!fake_) return;
    fake_->set_devices(1, 1);
    fake_->set_lockable(kNoLimit);
    for (const char* name : {"SYSFS_PATH", "TUTTI_DEBUG", "TUTTI_DEBUG_FILE", "TUTTI_TRANSPORT"}) ::unsetenv(name);
    std::filesystem::remove_all(folder_);
  }
  static void allow(const char* transports) { ::setenv("TUTTI_TRANSPORT", transports, 1); }
  std::string log() const {
    std::ostringstream text;
    text << std::ifstream(folder_ / "log").rdbuf();
    return text.str();
  }
  void clear_log() const { std::filesystem::resize_file(folder_ / "log", 0); }

  // The transports of all ranks of a world in which large and small sums come out right.
  static std::vector<std::string> transports_of(const LocalWorld& world) {
    std::mutex mutex;
    std::vector<std::string> transports;
    world.run([&](int, tutti_comm* comm) {
      for (const size_t count : {size_t{3}, size_t{100'000}}) {
        const std::vector<float> ones(count, 1);
        std::vector<float> sums(count);
        EXPECT_TRUE(succeeded(tutti_all_reduce(comm, ones.data(), sums.data(), count, TUTTI_FLOAT32, TUTTI_SUM, nullptr), comm));
        EXPECT_EQ(sums, std::vector<float>(count, static_cast<float>(world.size())));
      }
      int sent = tutti_comm_rank(comm), got = -1;
      const int next = (sent + 1) % world.size(), previous = (sent + world.size() - 1) % world.size();
      tutti_request* request = nullptr;
      EXPECT_TRUE(succeeded(tutti_recv_start(comm, &got, 1, TUTTI_INT32, previous, 0, nullptr, &request), comm));
      EXPECT_TRUE(succeeded(tutti_send(comm, &sent, 1, TUTTI_INT32, next, 0, nullptr), comm));
      EXPECT_TRUE(succeeded(tutti_wait(request), comm));
      EXPECT_EQ(got, previous);
      tutti_stats stats{};
      stats.struct_size = sizeof stats;
      EXPECT_TRUE(succeeded(tutti_comm_stats(comm, &stats), comm));
      const std::lock_guard lock(mutex);
      transports.emplace_back(stats.transports);
    });
    return transports;
  }
  static std::vector<std::string> transports_of(int ranks) { return transports_of(LocalWorld(ranks)); }

  const FakeVerbs* const fake_ = fake_verbs();

 private:
  const std::filesystem::path folder_ = new_folder();
};

// The first test of the file: once a process could register memory it does not try again.
TEST_F(Rdma, IsNotUsedWhereNothingCanBeRegistered) {
  static bool tried = false;
  if (std::exchange(tried, true)) GTEST_SKIP() << "this process has tried";
  fake_->set_lockable(0);
  EXPECT_THAT(transports_of(3), Each("tcp 2"));
  EXPECT_THAT(log(), HasSubstr("rdma is not used: registering 16 MiB " + std::string(kTooLow)));
}

TEST_F(Rdma, RanksTakeTurnsWithDevicesAndPorts) {
  fake_->set_devices(2, 2);
  EXPECT_THAT(transports_of(5), Each("rdma 4"));
  const std::string text = log();
  const char* const kPorts[] = {"fake0 port 1", "fake0 port 2", "fake1 port 1", "fake1 port 2", "fake0 port 1"};
  for (int rank = 0; rank < 5; ++rank)
    EXPECT_THAT(text, ContainsRegex("\\[" + std::to_string(rank) + "/5 [^]]*\\] info: rdma: " + kPorts[rank] + ", RoCE v2, GID 3"));
}

TEST_F(Rdma, TcpServesWhereNoSlotsCanBeRegistered) {
  ASSERT_THAT(transports_of(2), Each("rdma 1"));
  clear_log();
  const uint64_t objects = fake_->objects();
  fake_->set_lockable(0);
  {
    const LocalWorld world(3);
    EXPECT_EQ(world.size(), 3);
    EXPECT_THAT(transports_of(world), Each("tcp 2"));
    EXPECT_EQ(fake_->objects(), objects);
  }
  for (const char* rank : {"0", "1", "2"})
    EXPECT_THAT(log(), ContainsRegex("\\[" + std::string(rank) +
                                     "/3 [^]]*\\] warn: communicator local: rdma is not used by this rank: registering "));
  EXPECT_THAT(log(), AllOf(HasSubstr(kTooLow), Not(HasSubstr("info: rdma: "))));
}

// Of three ranks two find room for their slots: these two use rdma, and both tcp with the third.
TEST_F(Rdma, TcpServesThoseWhoseSlotsCannotBeRegistered) {
  const uint64_t before = fake_->locked();
  uint64_t of_three = 0;
  {
    const LocalWorld world(3);
    ASSERT_THAT(transports_of(world), Each("rdma 2"));
    of_three = fake_->locked() - before;
  }
  ASSERT_EQ(fake_->locked(), before);
  clear_log();
  fake_->set_lockable(of_three * 5 / 6);
  EXPECT_THAT(transports_of(3), UnorderedElementsAre("rdma 1, tcp 1", "rdma 1, tcp 1", "tcp 2"));
  const std::string text = log();
  const size_t first = text.find(kTooLow);
  EXPECT_NE(first, std::string::npos);
  EXPECT_EQ(text.find(kTooLow, first + 1), std::string::npos);
}

// Of two ranks one finds room, and needs it no more.
TEST_F(Rdma, NothingStaysRegisteredForNobody) {
  const uint64_t before = fake_->locked();
  uint64_t of_two = 0;
  {
    const LocalWorld world(2);
    ASSERT_THAT(transports_of(world), Each("rdma 1"));
    of_two = fake_->locked() - before;
  }
  fake_->set_lockable(of_two * 3 / 4);
  const LocalWorld world(2);
  EXPECT_THAT(transports_of(world), Each("tcp 1"));
  EXPECT_EQ(fake_->locked(), before);
}

TEST_F(Rdma, ASplitMayUseTcpWhereItsParentDoesNot) {
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  fake_->set_lockable(0);
  world.run([](int, tutti_comm* comm) {
    tutti_comm* child = nullptr;
    ASSERT_TRUE(succeeded(tutti_comm_split(comm, 0, 0, &child), comm));
    tutti_stats stats{};
    stats.struct_size = sizeof stats;
    EXPECT_TRUE(succeeded(tutti_barrier(child, nullptr), child));
    EXPECT_TRUE(succeeded(tutti_comm_stats(child, &stats), child));
    EXPECT_STREQ(stats.transports, "tcp 1");
    EXPECT_TRUE(succeeded(tutti_comm_destroy(child), nullptr));
  });
}

TEST_F(Rdma, WhatWasAskedForByNameIsAnError) {
  ASSERT_THAT(transports_of(2), Each("rdma 1"));
  fake_->set_lockable(0);
  for (const char* named : {"rdma", "rdma,tcp"}) {
    allow(named);
    std::vector<tutti_comm*> comms(2);
    EXPECT_EQ(tutti_comm_create_local(comms.data(), 2), TUTTI_OUT_OF_MEMORY) << named;
    EXPECT_THAT(tutti_last_error(nullptr), AllOf(HasSubstr("registering "), HasSubstr(kTooLow)));
  }
}

TEST_F(Rdma, WithoutAnotherTransportItIsAnError) {
  ASSERT_THAT(transports_of(2), Each("rdma 1"));
  fake_->set_lockable(0);
  allow("^memory,shm,tcp,ucx");
  std::vector<tutti_comm*> comms(2);
  EXPECT_EQ(tutti_comm_create_local(comms.data(), 2), TUTTI_UNREACHABLE);
  EXPECT_THAT(tutti_last_error(nullptr), HasSubstr("may not use tcp or ucx (TUTTI_TRANSPORT"));
  EXPECT_THAT(log(), HasSubstr(kTooLow));
}

}  // namespace
}  // namespace tutti::test
