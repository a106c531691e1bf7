// The rendezvous itself: rounds, every way in which ranks can disagree or fail to come, and connections of others.
#include "rendezvous.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "rendezvous_fixture.h"

namespace tutti {
namespace {

using testing::HasSubstr;
using Blobs = std::vector<std::string>;

class Sizes : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Rendezvous, Sizes, testing::Values(1, 2, 5, 16));

TEST_P(Sizes, EveryoneGetsAllBlobsInEveryRound) {
  const int size = GetParam();
  const Hall hall = open_hall(server_options(size));
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
  const Hall hall = open_hall(server_options(2));
  as_ranks(2, [&](int rank) {
    auto client = join(hall.address, client_options(rank, 2));
    ASSERT_TRUE(client.ok());
    EXPECT_EQ((*client)->exchange(std::string(kLongestBlob + 1, 'x')).status().code(), Code::invalid_argument);
    const auto got = (*client)->exchange(std::string(kLongestBlob, static_cast<char>('0' + rank)));
    ASSERT_TRUE(got.ok()) << got.status().message();
    EXPECT_EQ((*got)[1], std::string(kLongestBlob, '1'));
  });
}

TEST(Rendezvous, MissingRanksAreNamedToAllWhoCame) {
  const Hall hall = open_hall(server_options(4, kShort));
  const auto results =
      outcomes(4, [&](int rank) { return rank % 2 == 1 ? Status() : join(hall.address, client_options(rank, 4)).status(); });
  for (const size_t rank : {0u, 2u}) {
    EXPECT_EQ(results[rank].code(), Code::unreachable);
    EXPECT_THAT(results[rank].message(), HasSubstr("2 of 4 ranks came within 300 ms; missing: 1, 3"));
  }
}

TEST(Rendezvous, RankThatDoesNotGoOnIsNamed) {
  const Hall hall = open_hall(server_options(2, kShort));
  std::vector<std::unique_ptr<RendezvousClient>> clients(2);
  as_ranks(2, [&](int rank) { clients[static_cast<size_t>(rank)] = std::move(*join(hall.address, client_options(rank, 2))); });
  EXPECT_THAT(clients[1]->exchange("x").status().message(),
              HasSubstr("1 of 2 ranks came to round 1 of the bootstrap within 300 ms; missing: 0"));
  EXPECT_THAT(clients[1]->exchange("x").status().message(), HasSubstr("missing: 0"));
}

TEST(Rendezvous, RankThatLeavesBetweenRoundsIsNamed) {
  const Hall hall = open_hall(server_options(3));
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
  const Hall hall = open_hall(server_options(4));
  const auto results = outcomes(3, [&](int i) { return join(hall.address, client_options(i == 0 ? 0 : 1, 4)).status(); });
  for (const Status& status : results) {
    EXPECT_EQ(status.code(), Code::mismatch);
    EXPECT_THAT(status.message(), HasSubstr("rank 1 joined twice: two jobs at the same address?"));
  }
}

// Until the bootstrap timeout: the rendezvous of its own job may take the place of this one.
TEST(Rendezvous, OtherNameIsTurnedAwayAndTheRendezvousGoesOn) {
  const Hall hall = open_hall(server_options(1));
  auto options = client_options(0, 1, kShort);
  options.name = "other";
  const Status refused = join(hall.address, options).status();
  EXPECT_EQ(refused.code(), Code::mismatch);
  EXPECT_THAT(refused.message(),
              HasSubstr("is of \"world\", but rank 0 came for \"other\": another job may be using this address"));
  EXPECT_TRUE(join(hall.address, client_options(0, 1)).ok());
}

TEST(Rendezvous, OtherSizeIsTurnedAwayAndRememberedForTheMissing) {
  const Hall hall = open_hall(server_options(2, kShort));
  EXPECT_THAT(join(hall.address, client_options(1, 3)).status().message(),
              HasSubstr("is of 2 ranks, but rank 1 says that there are 3"));
  const Status missing = join(hall.address, client_options(0, 2)).status();
  EXPECT_THAT(missing.message(), HasSubstr("missing: 1; turned away: from 127.0.0.1:"));
  EXPECT_THAT(missing.message(), HasSubstr("rank 1 says that there are 3"));
}

TEST(Rendezvous, OtherVersionIsTold) {
  const Hall hall = open_hall(server_options(1));
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
  const Hall hall = open_hall(server_options(2));
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
  RendezvousOptions options = server_options(2);
  options.most_pending = 3;
  options.patience_ns = 20'000'000;
  const Hall hall = open_hall(options);
  std::vector<std::unique_ptr<Outsider>> crowd;
  for (int i = 0; i < 10; ++i) crowd.push_back(std::make_unique<Outsider>(hall.address));
  as_ranks(2, [&](int rank) { EXPECT_TRUE(join(hall.address, client_options(rank, 2)).ok()); });
}

TEST(Rendezvous, SlowTalkerIsBoundedInTime) {
  RendezvousOptions options = server_options(2);
  options.patience_ns = 20'000'000;
  const Hall hall = open_hall(options);
  RendezvousRequest request;
  request.size = 2;
  Outsider outsider(hall.address);
  outsider.say(encode(request).substr(0, 30));
  EXPECT_EQ(after_greeting(outsider.hear()), "");  // returns because the server closes
}

TEST(Rendezvous, WrongSecretIsDroppedWithoutAWord) {
  RendezvousOptions options = server_options(1);
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
  Hall hall = open_hall(server_options(1));
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
        server = std::move(*start_rendezvous(std::move(*listener), server_options(3)));
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

TEST(Rendezvous, LeavesNoDescriptorAndNoThreadBehind) {
  const size_t fds = entries("/proc/self/fd"), threads = entries("/proc/self/task");
  for (int i = 0; i < 3; ++i) {
    const Hall hall = open_hall(server_options(2, kShort));
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
