// What only `rdma` links do: credits, copies, and failures by their sentences.
#include <gmock/gmock.h>
#include <poll.h>

#include "posted_world.h"
#include "rdma_world.h"

namespace tutti {
namespace {

using test::fake_verbs;
using testing::HasSubstr;

class RdmaTransportTest : public testing::Test, protected PostedWorld<RdmaWorld> {
 protected:
  void SetUp() override {
    if (!RdmaWorld::available()) GTEST_SKIP() << "this machine has no RDMA port";
  }
  // Restores what a test has changed about the fake.
  void TearDown() override {
    unmake();
    if (const auto* fake = fake_verbs()) {
      fake->set_moody(false, 0);
      fake->set_devices(1, 1);
      fake->set_lockable(UINT64_MAX);
      fake->fail_message(UINT64_MAX, 0);
    }
  }
  void make(int ranks, uint32_t slots = 16, size_t slot_bytes = 65536) { PostedWorld::make(ranks, slots, slot_bytes); }
  void pass(int from, int to, size_t bytes, uint32_t number) {
    ASSERT_EQ(settled([&] { return at(from).send(to, pattern(number, bytes), call(number)); }), Progress::done);
    Bytes got(bytes);
    ASSERT_EQ(settled([&] { return at(to).receive(from, got, call(number)); }), Progress::done);
    ASSERT_EQ(got, pattern(number, bytes));
  }
};

TEST_F(RdmaTransportTest, LongMessagesAreNotCopiedByTheReceiver) {
  make(2);
  for (uint32_t i = 0; i < 20; ++i) ASSERT_NO_FATAL_FAILURE(pass(0, 1, 65536, i));
  const rdma::Counters sender = world().transport(0).counters(), receiver = world().transport(1).counters();
  EXPECT_EQ(sender.messages, 20u);
  EXPECT_EQ(sender.writes, 20u);
  EXPECT_EQ(receiver.copied_bytes, 0u);
  EXPECT_EQ(receiver.credit_frames, 10u);  // one for every two landing slots
}

// Each rank uses a port of its own.
TEST_F(RdmaTransportTest, PortsOfOneHostReachEachOther) {
  if (const auto* fake = fake_verbs()) fake->set_devices(2, 2);
  const auto ports = static_cast<int>(RdmaWorld::ports().size());
  if (ports < 2) GTEST_SKIP() << "this machine has one RDMA port";
  make(ports);
  for (int rank = 0; rank < ports; ++rank)
    EXPECT_EQ(world().transport(rank).port().name(), RdmaWorld::ports()[static_cast<size_t>(rank)].name());
  for (int from = 0; from < ports; ++from)
    for (int to = 0; to < ports; ++to)
      for (const size_t bytes : {64u, 65536u})
        if (from != to) {
          ASSERT_NO_FATAL_FAILURE(pass(from, to, bytes, static_cast<uint32_t>(bytes) + static_cast<uint32_t>(from)));
        }
}

TEST_F(RdmaTransportTest, OneCompletionOfAMessageAtEachEnd) {
  make(2);
  for (uint32_t i = 0; i < 10; ++i) {
    ASSERT_NO_FATAL_FAILURE(pass(0, 1, i % 2 ? 65536 : 64, i));
    ASSERT_NO_FATAL_FAILURE(pass(1, 0, i % 2 ? 64 : 65536, 100 + i));
  }
  ASSERT_EQ(settled([&] {
              return at(0).all_sent() && at(1).all_sent() && world().transport(0).drained() && world().transport(1).drained()
                         ? Progress::done
                         : Progress::busy;
            }),
            Progress::done);
  for (int rank : {0, 1}) {
    const rdma::Counters counters = world().transport(rank).counters();
    EXPECT_EQ(counters.messages, 10u);
    EXPECT_EQ(counters.writes, 5u);
    EXPECT_EQ(counters.copied_bytes, 5 * 64u);
    EXPECT_EQ(counters.completions, 10u + 10u + counters.credit_frames + world().transport(1 - rank).counters().credit_frames);
    EXPECT_LE(counters.credit_frames, 3u);  // credits travel with messages
  }
}

TEST_F(RdmaTransportTest, ManyShortMessagesOneWay) {
  make(2);
  for (uint32_t i = 0; i < 1000; ++i) ASSERT_NO_FATAL_FAILURE(pass(0, 1, i % (rdma::kMostShort + 1), i));
  EXPECT_EQ(world().transport(0).counters().writes, 0u);
  EXPECT_EQ(world().transport(1).counters().credit_frames, 1000 / (rdma::RdmaLink::kMessages / 2));
}

TEST_F(RdmaTransportTest, ASenderHearsThatItsPeerIsGone) {
  make(2, 8);
  ASSERT_NO_FATAL_FAILURE(pass(0, 1, 65536, 1));
  ASSERT_NO_FATAL_FAILURE(pass(1, 0, 64, 2));
  const uint32_t slots = world().pool(0).slots();
  kill(1);
  EXPECT_TRUE(at(0).progress().ok());
  const Slot slot = world().pool(0).acquire();
  ASSERT_EQ(at(0).link(1).send(slot, 65536, call(3)), Progress::done);
  const uint64_t ticket = at(0).link(1).last_ticket();
  Bytes got(64);
  EXPECT_EQ(settled([&] { return at(0).receive(1, got, call(4)); }), Progress::lost);
  const Status error = at(0).link(1).error();
  EXPECT_EQ(error.code(), Code::peer_lost);
  EXPECT_THAT(error.message(),
              HasSubstr("the RDMA connection to rank 1 (host here, pid 1) broke: transport retry counter exceeded"));
  EXPECT_FALSE(at(0).link(1).sent(ticket));
  EXPECT_FALSE(at(0).progress().ok());
  EXPECT_EQ(at(0).send(1, pattern(1, 64), call(5)), Progress::lost);
  EXPECT_EQ(settled([&] { return world().pool(0).available(slots) == slots ? Progress::done : Progress::busy; }), Progress::done);
}

TEST_F(RdmaTransportTest, WhatArrivedBeforeALossIsThere) {
  make(2);
  for (uint32_t i = 0; i < 3; ++i)
    ASSERT_EQ(settled([&] { return at(1).send(0, pattern(i, i == 1 ? 65536 : 64), call(i)); }), Progress::done);
  ASSERT_EQ(settled([&] { return world().transport(1).drained() ? Progress::done : Progress::busy; }), Progress::done);
  kill(1);
  for (uint32_t i = 0; i < 3; ++i) {
    Bytes got(i == 1 ? 65536 : 64);
    ASSERT_EQ(settled([&] { return at(0).receive(1, got, call(i)); }), Progress::done);
    EXPECT_EQ(got, pattern(i, got.size()));
  }
}

TEST_F(RdmaTransportTest, EveryFailureNamesThePeer) {
  const auto* fake = fake_verbs();
  if (!fake) GTEST_SKIP() << "a real device fails by itself only";
  for (const auto& [status, text] : {std::pair{IBV_WC_REM_ACCESS_ERR, "remote access error"},
                                     {IBV_WC_LOC_PROT_ERR, "local protection error"},
                                     {IBV_WC_RNR_RETRY_EXC_ERR, "RNR retry counter exceeded"},
                                     {IBV_WC_RETRY_EXC_ERR, "transport retry counter exceeded"}}) {
    for (const uint64_t which : {0u, 1u}) {  // the write, or its frame
      make(2);
      ASSERT_NO_FATAL_FAILURE(pass(0, 1, 65536, 1));
      fake->fail_message(which, status);
      Bytes got(64);
      (void)at(0).send(1, pattern(2, 65536), call(2));
      ASSERT_EQ(settled([&] { return at(0).receive(1, got, call(4)); }), Progress::lost) << text;
      EXPECT_THAT(at(0).link(1).error().message(),
                  HasSubstr("the RDMA connection to rank 1 (host here, pid 1) broke: " + std::string(text)));
    }
  }
}

TEST_F(RdmaTransportTest, ARemovedDeviceEndsItsLinks) {
  const auto* fake = fake_verbs();
  if (!fake) GTEST_SKIP() << "a real device stays";
  make(2);
  ASSERT_NO_FATAL_FAILURE(pass(0, 1, 64, 1));
  fake->remove_device();
  std::vector<pollfd> descriptors;
  EXPECT_FALSE(world().transport(0).awaited(descriptors));
  Bytes got(64);
  EXPECT_EQ(at(0).receive(1, got, call(2)), Progress::lost);
  EXPECT_THAT(at(0).link(1).error().message(),
              HasSubstr("the RDMA device fake0 was removed or has failed (dmesg tells more); this ended the connection to rank 1"));
}

TEST_F(RdmaTransportTest, WhoWaitsMaySleep) {
  make(2);
  rdma::RdmaTransport& waiting = world().transport(0);
  std::vector<pollfd> descriptors;
  EXPECT_FALSE(waiting.awaited(descriptors));  // the first time it only asks to be told
  ASSERT_TRUE(waiting.progress().ok());
  ASSERT_TRUE(waiting.awaited(descriptors));
  EXPECT_EQ(::poll(descriptors.data(), descriptors.size(), 0), 0);
  ASSERT_EQ(settled([&] { return at(1).send(0, pattern(1, 64), call(1)); }), Progress::done);
  EXPECT_GT(::poll(descriptors.data(), descriptors.size(), 10'000), 0);
  Bytes got(64);
  EXPECT_EQ(settled([&] { return at(0).receive(1, got, call(1)); }), Progress::done);
  descriptors.clear();
  EXPECT_FALSE(waiting.awaited(descriptors));
}

TEST_F(RdmaTransportTest, NothingIsLeftBehind) {
  const auto* fake = fake_verbs();
  if (!fake) GTEST_SKIP() << "a real device does not count";
  const uint64_t before = fake->objects();
  make(3);
  ASSERT_NO_FATAL_FAILURE(pass(0, 2, 65536, 1));
  EXPECT_GT(fake->objects(), before);
  unmake();
  EXPECT_EQ(fake->objects(), before);
}

TEST_F(RdmaTransportTest, TooLittleLockedMemoryIsExplained) {
  const auto* fake = fake_verbs();
  if (!fake) GTEST_SKIP() << "of the fake's limit";
  const auto device = rdma::Device::open(**rdma::Verbs::load(), "fake0");
  ASSERT_TRUE(device.ok());
  fake->set_lockable(4095);
  std::vector<std::byte> memory(4096);
  const auto region = (*device)->register_memory(memory.data(), memory.size(), IBV_ACCESS_LOCAL_WRITE);
  ASSERT_FALSE(region.ok());
  EXPECT_EQ(region.status().code(), Code::out_of_memory);
  EXPECT_THAT(region.status().message(), HasSubstr("registering 4 KiB of memory with the RDMA device fake0: the limit of locked "
                                                   "memory is too low; raise it (ulimit -l unlimited"));
}

}  // namespace
}  // namespace tutti
