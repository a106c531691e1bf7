// The rendezvous itself: rounds, every way in which ranks can disagree or fail to come, and connections of others.
#include "rendezvous.h"

#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>

#include <atomic>
#include <deque>
#include <random>

#include "bootstrap_fixture.h"
#include "clock.h"

namespace tutti {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Blobs = std::vector<std::string>;

struct Hall {
  std::unique_ptr<RendezvousServer> server;
  SocketAddress address;
};

RendezvousOptions options_for(int size, uint64_t timeout_ns = kLong) {
  RendezvousOptions options;
  options.name = "world";
  options.size = size;
  options.timeout_ns = timeout_ns;
  options.shown = "here:1";
  options.log = kSilent;
  return options;
}

Result<std::unique_ptr<RendezvousServer>> start_rendezvous(OwnedFd listener, RendezvousOptions options) {
  std::vector<OwnedFd> listeners;
  listeners.push_back(std::move(listener));
  return RendezvousServer::start(std::move(listeners), std::move(options));
}

Hall open_hall(RendezvousOptions options) {
  auto listener = listen_on(loopback(), 64);
  const SocketAddress address = *local_address_of(listener->get());
  auto server = start_rendezvous(std::move(*listener), std::move(options));
  EXPECT_TRUE(server.ok()) << server.status().message();
  return {std::move(*server), address};
}

RendezvousClient::Options client_options(int rank, int size, uint64_t timeout_ns = kLong) {
  RendezvousClient::Options options;
  options.rank = rank;
  options.size = size;
  options.name = "world";
  options.timeout_ns = timeout_ns;
  options.waiting_for = "rendezvous at here:1";
  options.log = kSilent;
  return options;
}

Result<std::unique_ptr<RendezvousClient>> join(const SocketAddress& address, RendezvousClient::Options options,
                                               Secret secret = {}) {
  RendezvousPoint point;
  point.addresses = {address};
  point.secret = secret;
  return RendezvousClient::join(std::move(options), [point]() -> Result<Located> { return Located{point, {}}; });
}

// The words of a rendezvous to a connection beyond its greeting.
std::string after_greeting(const std::string& heard) {
  RendezvousGreeting greeting;
  size_t used = 0;
  std::string flaw;
  EXPECT_EQ(decode(heard, greeting, used, flaw), Decoding::complete) << flaw;
  EXPECT_EQ(greeting.version, kRendezvousVersion);
  return heard.substr(used);
}

class Sizes : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Rendezvous, Sizes, testing::Values(1, 2, 5, 16));

TEST_P(Sizes, EveryoneGetsAllBlobsInEveryRound) {
  const int size = GetParam();
  const Hall hall = open_hall(options_for(size));
  std::vector<Blobs> expected(3);
  for (int round = 0; round < 3; ++round)
    for (int rank = 0; rank < size; ++rank)
      expected[static_cast<size_t>(round)].push_back(std::string(static_cast<size_t>(rank * 3000), static_cast<char>('a' + round)));
  as_ranks(size, [&](int rank) {
    auto client = join(hall.address, client_options(rank, size));
    ASSERT_TRUE(client.ok()) << client.status().message();
    for (const Blobs& blobs : expected) {
      const auto got = (*client)->exchange(blobs[static_cast<size_t>(rank)]);
      ASSERT_TRUE(got.ok()) << got.status().message();
      EXPECT_EQ(*got, blobs);
    }
    EXPECT_EQ((*client)->local_end().host(), "127.0.0.1");
  });
  EXPECT_EQ(hall.server->reached_at()->host(), "127.0.0.1");
}

TEST(Rendezvous, CarriesTheLongestBlobsAndRefusesLongerOnes) {
  const Hall hall = open_hall(options_for(2));
  as_ranks(2, [&](int rank) {
    auto client = join(hall.address, client_options(rank, 2));
    ASSERT_TRUE(client.ok());
    EXPECT_EQ((*client)->exchange(std::string(kLongestBlob + 1, 'x')).status().code(), Code::invalid_argument);
    const auto got = (*client)->exchange(std::string(kLongestBlob, static_cast<char>('0' + rank)));
    ASSERT_TRUE(got.ok()) << got.status().message();
    EXPECT_EQ((*got)[1], std::string(kLongestBlob, '1'));
  });
}

// The sentence that each of `size` ranks gets from `body`.
std::vector<Status> outcomes(int size, const std::function<Status(int)>& body) {
  std::vector<Status> result(static_cast<size_t>(size));
  as_ranks(size, [&](int rank) { result[static_cast<size_t>(rank)] = body(rank); });
  return result;
}

TEST(Rendezvous, MissingRanksAreNamedToAllWhoCame) {
  const Hall hall = open_hall(options_for(4, kShort));
  const auto results =
      outcomes(4, [&](int rank) { return rank % 2 == 1 ? Status() : join(hall.address, client_options(rank, 4)).status(); });
  for (const size_t rank : {0u, 2u}) {
    EXPECT_EQ(results[rank].code(), Code::unreachable);
    EXPECT_THAT(results[rank].message(), HasSubstr("2 of 4 ranks came within 300 ms; missing: 1, 3"));
  }
}

TEST(Rendezvous, RankThatDoesNotGoOnIsNamed) {
  const Hall hall = open_hall(options_for(2, kShort));
  std::vector<std::unique_ptr<RendezvousClient>> clients(2);
  as_ranks(2, [&](int rank) { clients[static_cast<size_t>(rank)] = std::move(*join(hall.address, client_options(rank, 2))); });
  EXPECT_THAT(clients[1]->exchange("x").status().message(),
              HasSubstr("1 of 2 ranks came to round 1 of the bootstrap within 300 ms; missing: 0"));
  EXPECT_THAT(clients[1]->exchange("x").status().message(), HasSubstr("missing: 0"));
}

TEST(Rendezvous, RankThatLeavesBetweenRoundsIsNamed) {
  const Hall hall = open_hall(options_for(3));
  const auto results = outcomes(3, [&](int rank) {
    auto client = join(hall.address, client_options(rank, 3));
    if (!client.ok()) return client.status();
    return rank == 1 ? Status() : (*client)->exchange("x").status();
  });
  for (const size_t rank : {0u, 2u}) {
    EXPECT_EQ(results[rank].code(), Code::peer_lost);
    EXPECT_THAT(results[rank].message(), HasSubstr("rank 1 (" + this_process() + ") left during the bootstrap"));
  }
}

TEST(Rendezvous, RankThatJoinsTwiceFailsEveryone) {
  const Hall hall = open_hall(options_for(4));
  const auto results = outcomes(3, [&](int i) { return join(hall.address, client_options(i == 0 ? 0 : 1, 4)).status(); });
  for (const Status& status : results) {
    EXPECT_EQ(status.code(), Code::mismatch);
    EXPECT_THAT(status.message(), HasSubstr("rank 1 joined twice: two jobs at the same address?"));
  }
}

// Until the bootstrap timeout: the rendezvous of its own job may take the place of this one.
TEST(Rendezvous, OtherNameIsTurnedAwayAndTheRendezvousGoesOn) {
  const Hall hall = open_hall(options_for(1));
  auto options = client_options(0, 1, kShort);
  options.name = "other";
  const Status refused = join(hall.address, options).status();
  EXPECT_EQ(refused.code(), Code::mismatch);
  EXPECT_THAT(refused.message(),
              HasSubstr("is of \"world\", but rank 0 came for \"other\": another job may be using this address"));
  EXPECT_TRUE(join(hall.address, client_options(0, 1)).ok());
}

TEST(Rendezvous, OtherSizeIsTurnedAwayAndRememberedForTheMissing) {
  const Hall hall = open_hall(options_for(2, kShort));
  EXPECT_THAT(join(hall.address, client_options(1, 3)).status().message(),
              HasSubstr("is of 2 ranks, but rank 1 says that there are 3"));
  const Status missing = join(hall.address, client_options(0, 2)).status();
  EXPECT_THAT(missing.message(), HasSubstr("missing: 1; turned away: from 127.0.0.1:"));
  EXPECT_THAT(missing.message(), HasSubstr("rank 1 says that there are 3"));
}

TEST(Rendezvous, OtherVersionIsTold) {
  const Hall hall = open_hall(options_for(1));
  RendezvousRequest request;
  request.version = kRendezvousVersion + 1;
  request.size = 1;
  Outsider outsider(hall.address);
  outsider.say(encode(request));
  RendezvousReply reply;
  size_t used = 0;
  std::string flaw;
  ASSERT_EQ(decode(after_greeting(outsider.hear()), 1, reply, used, flaw), Decoding::complete) << flaw;
  EXPECT_EQ(reply.status.code(), Code::mismatch);
  EXPECT_THAT(reply.status.message(), HasSubstr("all ranks must use the same Tutti"));
  EXPECT_TRUE(join(hall.address, client_options(0, 1)).ok());
}

TEST(Rendezvous, ConnectionsOfOthersAreRefusedAndTheRendezvousGoesOn) {
  const Hall hall = open_hall(options_for(2));
  std::mt19937 random(7);
  for (int i = 0; i < 20; ++i) {
    std::string bytes(random() % 200 + 1, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    Outsider outsider(hall.address);
    outsider.say(bytes);
    EXPECT_EQ(after_greeting(outsider.hear()), "");
  }
  as_ranks(2, [&](int rank) { EXPECT_TRUE(join(hall.address, client_options(rank, 2)).ok()); });
}

TEST(Rendezvous, SilentConnectionsNeitherHoldNorFillTheListener) {
  RendezvousOptions options = options_for(2);
  options.most_pending = 3;
  options.patience_ns = 20'000'000;
  const Hall hall = open_hall(options);
  std::vector<std::unique_ptr<Outsider>> crowd;
  for (int i = 0; i < 10; ++i) crowd.push_back(std::make_unique<Outsider>(hall.address));
  as_ranks(2, [&](int rank) { EXPECT_TRUE(join(hall.address, client_options(rank, 2)).ok()); });
}

TEST(Rendezvous, SlowTalkerIsBoundedInTime) {
  RendezvousOptions options = options_for(2);
  options.patience_ns = 20'000'000;
  const Hall hall = open_hall(options);
  RendezvousRequest request;
  request.size = 2;
  Outsider outsider(hall.address);
  outsider.say(encode(request).substr(0, 30));
  EXPECT_EQ(after_greeting(outsider.hear()), "");  // returns because the server closes
}

TEST(Rendezvous, WrongSecretIsDroppedWithoutAWord) {
  RendezvousOptions options = options_for(1);
  options.secret.bytes[3] = 9;
  const Hall hall = open_hall(options);
  const Status refused = join(hall.address, client_options(0, 1, kShort)).status();
  EXPECT_EQ(refused.code(), Code::unreachable);
  EXPECT_THAT(refused.message(), HasSubstr("closed the connection without an answer"));
  EXPECT_TRUE(join(hall.address, client_options(0, 1), options.secret).ok());
}

TEST(Rendezvous, NobodyListensThere) {
  const Status refused = join(loopback(free_port()), client_options(1, 2, kShort)).status();
  EXPECT_EQ(refused.code(), Code::unreachable);
  EXPECT_THAT(refused.message(), HasSubstr("no rendezvous at here:1 within 300 ms"));
  EXPECT_THAT(refused.message(), HasSubstr("Connection refused"));
}

TEST(Rendezvous, WhatAnswersThereIsNotTutti) {
  auto listener = listen_on(loopback(), 1);
  std::thread other([&] {
    OwnedFd fd;
    while (!fd) fd = std::move(*accept_from(listener->get()));
    (void)!::send(fd.get(), "HTTP/1.1 400 Bad Request\r\n", 26, MSG_NOSIGNAL);
  });
  EXPECT_THAT(join(*local_address_of(listener->get()), client_options(0, 2, kShort)).status().message(),
              HasSubstr("not a rendezvous of Tutti"));
  other.join();
}

TEST(Rendezvous, ServerThatEndsIsNamedToThoseWhoGoOn) {
  Hall hall = open_hall(options_for(1));
  auto client = join(hall.address, client_options(0, 1));
  ASSERT_TRUE(client.ok());
  hall.server.reset();
  const Status lost = (*client)->exchange("x").status();
  EXPECT_EQ(lost.code(), Code::peer_lost);
  EXPECT_THAT(lost.message(), HasSubstr("rank 0 (" + this_process() + ") gave up"));
}

TEST(Rendezvous, NextRendezvousAtTheSamePortNeverMixesWithTheOldOne) {
  const uint16_t port = free_port();
  as_ranks(3, [&](int rank) {
    for (int rendezvous = 0; rendezvous < 10; ++rendezvous) {
      std::unique_ptr<RendezvousServer> server;
      if (rank == 0) {
        auto listener = listen_on(loopback(port), 64);
        ASSERT_TRUE(listener.ok()) << listener.status().message();
        server = std::move(*start_rendezvous(std::move(*listener), options_for(3)));
      }
      auto client = join(loopback(port), client_options(rank, 3));
      ASSERT_TRUE(client.ok()) << client.status().message();
      const auto got = (*client)->exchange(std::to_string(rendezvous));
      ASSERT_TRUE(got.ok()) << got.status().message();
      EXPECT_EQ(*got, Blobs(3, std::to_string(rendezvous)));
      client->reset();
    }
  });
}

size_t entries(const char* folder) {
  size_t count = 0;
  DIR* const dir = ::opendir(folder);
  while (::readdir(dir) != nullptr) ++count;
  ::closedir(dir);
  return count;
}

// ---- the first cause ----

using Clients = std::vector<std::unique_ptr<RendezvousClient>>;

Clients all_join(const Hall& hall, int size) {
  Clients clients(static_cast<size_t>(size));
  as_ranks(size, [&](int rank) {
    auto client = join(hall.address, client_options(rank, size));
    EXPECT_TRUE(client.ok()) << client.status().message();
    if (client.ok()) clients[static_cast<size_t>(rank)] = std::move(*client);
  });
  return clients;
}

// A wait for something else during a bootstrap.
Status await_word(RendezvousClient& client) {
  pollfd entry{client.watched(), POLLIN, 0};
  EXPECT_EQ(::poll(&entry, 1, 60'000), 1);
  return client.heard();
}

TEST(FirstCause, OfARankThatCannotGoOnIsHeardByAllWithoutAnExchange) {
  const Hall hall = open_hall(options_for(3));
  Clients clients = all_join(hall, 3);
  EXPECT_TRUE(clients[0]->heard().ok());
  const Status why(Code::out_of_memory, "no memory for 4096 bytes"), first = clients[1]->fail(why);
  EXPECT_EQ(first.code(), Code::out_of_memory);
  EXPECT_EQ(first.message(), "rank 1 (" + this_process() + "): no memory for 4096 bytes");
  for (const size_t rank : {0u, 2u}) {
    const Status heard = await_word(*clients[rank]);
    EXPECT_EQ(heard.code(), Code::out_of_memory);
    EXPECT_EQ(heard.message(), first.message());
    EXPECT_EQ(clients[rank]->watched(), -1);
  }
  EXPECT_EQ(clients[2]->fail(Status(Code::timeout, "nobody came")).message(), first.message());
  EXPECT_EQ(clients[0]->exchange("x").status().message(), first.message());
}

TEST(FirstCause, IsNotOverruledByALaterOne) {
  const Hall hall = open_hall(options_for(2));
  Clients clients = all_join(hall, 2);
  const Status dead(Code::peer_lost, "rank 7 (host b, pid 4711) died");
  EXPECT_EQ(clients[0]->fail(dead).message(), dead.message());
  EXPECT_EQ(clients[1]->fail(Status(Code::system, "later")).message(), dead.message());
}

TEST(FirstCause, ARankThatIsLostIsHeardOfAtOnce) {
  const Hall hall = open_hall(options_for(3));
  Clients clients = all_join(hall, 3);
  clients[2].reset();  // as the kernel does for a process that is killed
  for (const size_t rank : {0u, 1u}) {
    const Status heard = await_word(*clients[rank]);
    EXPECT_EQ(heard.code(), Code::peer_lost);
    EXPECT_THAT(heard.message(), HasSubstr("rank 2 (" + this_process() + ") left during the bootstrap"));
  }
}

TEST(FirstCause, ARankThatIsDoneIsNotLost) {
  const Hall hall = open_hall(options_for(3));
  Clients clients = all_join(hall, 3);
  clients[2]->leave();
  clients[2].reset();
  const Status why(Code::system, "no space");
  EXPECT_EQ(clients[1]->fail(why).message(), "rank 1 (" + this_process() + "): no space");  // and nothing before
}

TEST(FirstCause, TheServersEndIsNoLossOnceRankZeroIsDone) {
  Hall hall = open_hall(options_for(2));
  Clients clients = all_join(hall, 2);
  clients[0]->leave();
  hall.server.reset();
  EXPECT_TRUE(await_word(*clients[1]).ok());
  EXPECT_EQ(clients[1]->watched(), -1);
  EXPECT_EQ(clients[1]->fail(Status(Code::system, "mine")).message(), "mine");
  EXPECT_THAT(clients[1]->exchange("x").status().message(), HasSubstr("mine"));
}

TEST(FirstCause, OfRankZeroReachesRanksThatComeLate) {
  Hall hall = open_hall(options_for(3));
  hall.server->give_up(Status(Code::system, "Too many open files"));
  std::thread ending([&] { hall.server.reset(); });
  const auto results =
      outcomes(3, [&](int rank) { return rank == 0 ? Status() : join(hall.address, client_options(rank, 3)).status(); });
  ending.join();
  for (const size_t rank : {1u, 2u}) {
    EXPECT_EQ(results[rank].code(), Code::system);
    EXPECT_EQ(results[rank].message(), "rank 0 (" + this_process() + "): Too many open files");
  }
}

// The rendezvous waits for a minute, rank 1 only for a moment: rank 0 need not wait longer, and both get the verdict.
TEST(Rendezvous, TheEarliestDeadlineOfAnyRankIsThatOfTheBootstrap) {
  const Hall hall = open_hall(options_for(3));
  const auto results = outcomes(3, [&](int rank) {
    return rank == 2 ? Status() : join(hall.address, client_options(rank, 3, rank == 1 ? kShort : kLong)).status();
  });
  for (const size_t rank : {0u, 1u})
    EXPECT_THAT(results[rank].message(),
                HasSubstr("2 of 3 ranks came before the TUTTI_BOOTSTRAP_TIMEOUT of rank 1 (" + this_process() + "); missing: 2"));
}

TEST(Rendezvous, DeadlineIsThatOfTheWholeBootstrap) {
  RendezvousOptions options = options_for(2);
  options.deadline = now_ns() + 2 * kShort;
  const Hall hall = open_hall(options);
  Clients clients = all_join(hall, 2);
  const Status late = await_word(*clients[0]);
  EXPECT_THAT(late.message(), HasSubstr("the bootstrap of the communicator did not end within"));
  EXPECT_THAT(late.message(), HasSubstr("still at it: 0, 1"));
}

// ---- several addresses ----

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
  const Hall hall = open_hall(options_for(2));
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
  auto server = RendezvousServer::start(std::move(listeners), options_for(2));
  ASSERT_TRUE(server.ok()) << server.status().message();
  EXPECT_EQ((*server)->own_address(), unix_address);
  as_ranks(2, [&](int rank) {
    const auto client = join(rank == 0 ? unix_address : tcp, client_options(rank, 2));
    ASSERT_TRUE(client.ok()) << client.status().message();
    EXPECT_EQ((*client)->local_end().is_unix(), rank == 0);
    EXPECT_FALSE((*client)->reached_at());  // by loopback only
  });
}

// ---- pending connections and shortages ----

TEST(PendingConnections, AnsweredOnesCountTooAndTheOldestMakesRoom) {
  RendezvousOptions options = options_for(2);
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
  const Hall hall = open_hall(options_for(2));
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
  const Hall hall = open_hall(options_for(40));
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

TEST(Rendezvous, LeavesNoDescriptorAndNoThreadBehind) {
  const size_t fds = entries("/proc/self/fd"), threads = entries("/proc/self/task");
  for (int i = 0; i < 3; ++i) {
    const Hall hall = open_hall(options_for(2, kShort));
    as_ranks(i == 0 ? 1 : 2, [&](int rank) { EXPECT_EQ(join(hall.address, client_options(rank, 2)).ok(), i != 0); });
  }
  EXPECT_EQ(entries("/proc/self/fd"), fds);
  EXPECT_EQ(entries("/proc/self/task"), threads);
}

TEST(RendezvousPoint, IsReadAsItWasWritten) {
  RendezvousPoint point;
  point.secret = *Secret::random();
  point.addresses = {*SocketAddress::parse("10.0.0.1:4242"), *SocketAddress::parse("[fd00::1]:4242")};
  const auto read = decode_rendezvous_point(encode(point));
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->secret, point.secret);
  EXPECT_EQ(read->addresses, point.addresses);
  EXPECT_EQ(read->shown, "10.0.0.1:4242 or [fd00::1]:4242");
  point.addresses.insert(point.addresses.begin(), *SocketAddress::parse("unix:tutti-5f0c"));
  const auto with_unix = decode_rendezvous_point(encode(point));
  ASSERT_TRUE(with_unix.ok()) << with_unix.status().message();
  EXPECT_EQ(with_unix->addresses, point.addresses);
  EXPECT_EQ(with_unix->shown, "10.0.0.1:4242 or [fd00::1]:4242");
}

TEST(RendezvousPoint, RefusesEverythingElse) {
  const std::string secret(32, '0');
  for (const std::string& text : {std::string(), std::string("tutti1"), "tutti1;" + secret, "tutti2;" + secret + ";10.0.0.1:1",
                                  "tutti1;" + secret + ";10.0.0.1", "tutti1;" + secret + "0;10.0.0.1:1",
                                  "tutti1;" + secret + ";host:1", "tutti1;" + std::string(32, 'g') + ";10.0.0.1:1"})
    EXPECT_FALSE(decode_rendezvous_point(text).ok()) << text;
}

}  // namespace
}  // namespace tutti
