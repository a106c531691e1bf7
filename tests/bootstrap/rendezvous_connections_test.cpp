// Connections to a rendezvous: which of several addresses is the one, how many may be pending, and what is told when
// descriptors run out.
#include "rendezvous.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <deque>

#include "clock.h"
#include "rendezvous_fixture.h"

namespace tutti {
namespace {

using testing::AllOf;
using testing::HasSubstr;

Result<std::unique_ptr<RendezvousClient>> join_one_of(std::vector<SocketAddress> addresses, RendezvousClient::Options options) {
  RendezvousPoint point;
  point.addresses = std::move(addresses);
  return RendezvousClient::join(std::move(options), [point]() -> Result<Located> { return Located{point, {}}; });
}

TEST(Addresses, AListenerThatSaysNothingOrSomethingElseHidesNoRendezvous) {
  const auto silent = listen_on(loopback(), 8), chatty = listen_on(loopback(), 8);
  std::atomic<bool> end = false;
  std::thread chatterer([&] {
    std::vector<OwnedFd> open;
    while (!end) {
      auto fd = accept_from(chatty->get());
      if (fd.ok() && *fd) {
        (void)!::send(fd->get(), "+OK ready\r\n", 11, MSG_NOSIGNAL);
        open.push_back(std::move(*fd));
      }
      ::usleep(1000);
    }
  });
  const Hall hall = open_hall(server_options(2));
  const std::vector<SocketAddress> addresses{*local_address_of(silent->get()), *local_address_of(chatty->get()), hall.address};
  as_ranks(2, [&](int rank) {
    const auto client = rank == 0 ? join(hall.address, client_options(0, 2)) : join_one_of(addresses, client_options(1, 2));
    EXPECT_TRUE(client.ok()) << client.status().message();
  });
  end = true;
  chatterer.join();
}

TEST(Addresses, TheBootstrapTimeoutHoldsAtAListenerThatSaysNothing) {
  const auto silent = listen_on(loopback(), 8);
  const uint64_t begin = now_ns();
  const Status status = join(*local_address_of(silent->get()), client_options(1, 2, kShort)).status();
  EXPECT_LT(now_ns() - begin, kLong / 4);
  EXPECT_EQ(status.code(), Code::unreachable);
  EXPECT_THAT(status.message(), HasSubstr("says nothing"));
}

TEST(Addresses, TheOnlyRendezvoussRefusalIsFinal) {
  auto options = client_options(1, 2);
  options.only_rendezvous = true;
  options.refused_hint = "it is over";
  const Status status = join_one_of({loopback(free_port()), *SocketAddress::random_unix()}, options).status();
  EXPECT_EQ(status.code(), Code::unreachable);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("it is over: "), HasSubstr("Connection refused")));
}

TEST(Addresses, AUnixSocketServesTheRanksOfThisHost) {
  const SocketAddress unix_address = *SocketAddress::random_unix();
  std::vector<OwnedFd> listeners;
  listeners.push_back(std::move(*listen_on(unix_address, 8)));
  listeners.push_back(std::move(*listen_on(loopback(), 8)));
  const SocketAddress tcp = *local_address_of(listeners[1].get());
  auto server = RendezvousServer::start(std::move(listeners), server_options(2));
  ASSERT_TRUE(server.ok()) << server.status().message();
  EXPECT_EQ((*server)->own_address(), unix_address);
  as_ranks(2, [&](int rank) {
    const auto client = join(rank == 0 ? unix_address : tcp, client_options(rank, 2));
    ASSERT_TRUE(client.ok()) << client.status().message();
    EXPECT_EQ((*client)->local_end().is_unix(), rank == 0);
    EXPECT_FALSE((*client)->reached_at());  // by loopback only
  });
}

TEST(PendingConnections, AnsweredOnesCountTooAndTheOldestMakesRoom) {
  RendezvousOptions options = server_options(2);
  options.most_pending = 4;
  const Hall hall = open_hall(options);
  RendezvousRequest request;
  request.version = kRendezvousVersion + 1;
  request.size = 2;
  const size_t before = entries("/proc/self/fd");
  std::vector<std::unique_ptr<Outsider>> crowd;
  for (int i = 0; i < 50; ++i) {
    crowd.push_back(std::make_unique<Outsider>(hall.address));
    crowd.back()->say(encode(request));
  }
  as_ranks(2, [&](int rank) { EXPECT_TRUE(join(hall.address, client_options(rank, 2)).ok()); });
  // Their ends, and as many of the server's as are allowed.
  EXPECT_LE(entries("/proc/self/fd"), before + 50 + 4 + 2 + 2);
}

// While they pour in, ranks get through.
TEST(PendingConnections, AFloodDelaysNoRankForLong) {
  const Hall hall = open_hall(server_options(2));
  std::atomic<bool> end = false;
  std::thread flood([&] {
    std::deque<Outsider> open;
    while (!end) {
      open.emplace_back(hall.address);
      if (open.size() > 400) open.pop_front();
    }
  });
  const uint64_t begin = now_ns();
  as_ranks(2, [&](int rank) { EXPECT_TRUE(join(hall.address, client_options(rank, 2)).ok()); });
  EXPECT_LT(now_ns() - begin, kLong / 4);
  end = true;
  flood.join();
}

TEST(Shortage, OfDescriptorsIsToldToAllWhoCome) {
  const Hall hall = open_hall(server_options(40));
  // Connects when no descriptor is left, so that one is missing to accept it, however fast the rendezvous has accepted
  // the others.
  const OwnedFd last(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  const rlimit few{entries("/proc/self/fd") + 14, before.rlim_max};
  std::vector<std::unique_ptr<Outsider>> ranks;  // that wait for the others
  for (uint32_t rank = 0; rank < 20; ++rank) {
    ::setrlimit(RLIMIT_NOFILE, &few);
    ranks.push_back(std::make_unique<Outsider>(hall.address));
    if (!ranks.back()->connected()) {
      ranks.pop_back();
      break;
    }
    RendezvousRequest request;
    request.rank = rank;
    request.size = 40;
    request.name = "world";
    request.patience_ms = 60'000;
    ranks.back()->say(encode(request));
  }
  EXPECT_EQ(::connect(last.get(), hall.address.data(), hall.address.length()), 0);
  ASSERT_GT(ranks.size(), 3u);
  for (auto& rank : ranks) {
    EXPECT_THAT(rank->hear(), HasSubstr("Too many open files; this takes some 64 descriptors"));
    rank.reset();
  }
  ::setrlimit(RLIMIT_NOFILE, &before);
}

}  // namespace
}  // namespace tutti
