// Behaviour of TCP beyond the conformance suite: strangers, deaths, bad peers, accounts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <filesystem>

#include "post.h"
#include "stranger.h"
#include "tcp_world.h"

namespace tutti::tcp {
namespace {

using testing::HasSubstr;

class TcpTransportTest : public testing::Test {
 protected:
  Endpoint endpoint(int rank) { return *parse_endpoint(world_.address(rank)); }
  ByteLink& link(int rank, int peer) { return world_.transport(rank).link_to(peer); }

  template <class Ask>
  Progress settled(Ask ask) {
    return settle(ask, [this] {
      for (int rank = 0; rank < 3; ++rank)
        if (alive_[rank]) (void)world_.transport(rank).progress();
    });
  }
  Progress receive(int rank, int peer, Bytes& bytes, const Signature& expected) {
    const Piece piece{bytes.data(), bytes.size()};
    return settled([&] { return link(rank, peer).receive(Pieces(&piece, 1), expected); });
  }
  Progress send(int rank, int peer, Bytes& bytes, const Signature& signature) {
    const Piece piece{bytes.data(), bytes.size()};
    uint64_t ticket = 0;
    return settled([&] { return link(rank, peer).send(Pieces(&piece, 1), signature, ticket); });
  }
  void kill(int rank) {
    alive_[rank] = false;
    world_.kill(rank);
  }
  // A hand-made rank 0 that rank 1 takes for the real one.
  Stranger impostor() {
    Stranger peer(endpoint(1).address);
    peer.say(right_hello(endpoint(1), 0));
    return peer;
  }
  static Header header(uint32_t length, uint32_t sequence) { return {kHeaderMagic, length, call(sequence)}; }

  TcpWorld world_{3, 8, 4096};
  bool alive_[3] = {true, true, true};
};

TEST_F(TcpTransportTest, AddressesFitABootstrapBlob) {
  EXPECT_LE(world_.address(0).size(), 128u);
  EXPECT_NE(world_.address(0), world_.address(1));
  EXPECT_NE(endpoint(0).secret, endpoint(1).secret);
}

TEST_F(TcpTransportTest, StrangersDisturbNobody) {
  std::vector<Stranger> strangers;
  for (int i = 0; i < 5; ++i) strangers.emplace_back(endpoint(1).address);
  strangers[0].say("\x16\x03\x01 random bytes of another protocol, more than a hello", 50);
  Hello hello = right_hello(endpoint(2), 0);  // the secret of another rank
  strangers[1].say(hello);
  hello = right_hello(endpoint(1), 2);  // a higher rank does not connect
  strangers[2].say(hello);
  strangers[3].say("Tut", 3);  // and no more; the last says nothing

  Bytes bytes = pattern(1, 1000), got(1000);
  ASSERT_EQ(send(0, 1, bytes, call(1)), Progress::done);
  ASSERT_EQ(receive(1, 0, got, call(1)), Progress::done);
  EXPECT_EQ(got, bytes);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(strangers[static_cast<size_t>(i)].was_refused()) << i;
  ASSERT_EQ(send(1, 0, bytes, call(2)), Progress::done);
  ASSERT_EQ(receive(0, 1, got, call(2)), Progress::done);
}

TEST_F(TcpTransportTest, ASecondConnectionOfTheSameRankIsClosed) {
  Stranger first = impostor();
  first.say(header(3, 1));
  first.say("abc", 3);
  Bytes got(3);
  ASSERT_EQ(receive(1, 0, got, call(1)), Progress::done);
  Stranger second = impostor();
  const auto rest = [&] {
    (void)world_.transport(1).accept();
    return second.was_refused() ? Progress::done : Progress::busy;
  };
  EXPECT_EQ(settled(rest), Progress::done);
  EXPECT_FALSE(first.was_refused());
}

TEST_F(TcpTransportTest, ADeathInTheMiddleOfAMessageIsALoss) {
  Stranger peer = impostor();
  peer.say(header(1000, 1));
  peer.say(pattern(1, 500).data(), 500);
  Bytes got(1000);
  const Piece piece{got.data(), got.size()};
  const auto half_there = [&] {
    EXPECT_EQ(link(1, 0).receive(Pieces(&piece, 1), call(1)), Progress::busy);
    return got[499] == pattern(1, 500)[499] ? Progress::done : Progress::busy;
  };
  ASSERT_EQ(settled(half_there), Progress::done);
  peer.leave();
  ASSERT_EQ(receive(1, 0, got, call(1)), Progress::lost);
  EXPECT_EQ(link(1, 0).error().code(), Code::peer_lost);
  EXPECT_EQ(link(1, 0).error().message(), "rank 0 (host here, pid 1) closed the connection in the middle of a message");
}

TEST_F(TcpTransportTest, AMessageMayComeByteByByte) {
  Stranger peer = impostor();
  const Bytes sent = pattern(1, 20);
  const Header head = header(20, 1);
  Bytes all(sizeof head), got(20);
  std::memcpy(all.data(), &head, sizeof head);
  all.insert(all.end(), sent.begin(), sent.end());
  const Piece pieces[] = {{got.data(), 7}, {got.data() + 7, 13}};
  for (const std::byte& byte : all) {
    ASSERT_EQ(link(1, 0).receive(pieces, call(1)), Progress::busy);
    peer.say(&byte, 1);
    if (&byte != &all.back()) (void)link(1, 0).receive(pieces, call(1));
  }
  ASSERT_EQ(settled([&] { return link(1, 0).receive(pieces, call(1)); }), Progress::done);
  EXPECT_EQ(got, sent);
}

TEST_F(TcpTransportTest, ADeathInTheMiddleOfAHeaderIsALoss) {
  Stranger peer = impostor();
  const Header head = header(20, 1);
  peer.say(&head, sizeof head - 1);
  peer.leave();
  Bytes got(20);
  ASSERT_EQ(receive(1, 0, got, call(1)), Progress::lost);
  EXPECT_EQ(link(1, 0).error().message(), "rank 0 (host here, pid 1) closed the connection in the middle of a message");
}

TEST_F(TcpTransportTest, WhoWaitsMaySleepOnTheSocketsItAsked) {
  const auto awaited = [&](int rank) {
    std::vector<pollfd> descriptors;
    EXPECT_TRUE(world_.transport(rank).progress().ok());
    return std::pair(world_.transport(rank).awaited(descriptors), descriptors);
  };
  Bytes bytes(10), got(10);
  const Piece piece{got.data(), got.size()};
  const auto ask = [&](int rank) {  // as the engine does: progress, then the links
    EXPECT_TRUE(world_.transport(rank).progress().ok());
    EXPECT_EQ(link(rank, 0).receive(Pieces(&piece, 1), call(2)), Progress::busy);
    EXPECT_EQ(link(rank, 0).receive(Pieces(&piece, 1), call(2)), Progress::busy);
    std::vector<pollfd> descriptors;
    return std::pair(world_.transport(rank).awaited(descriptors), descriptors);
  };
  EXPECT_FALSE(ask(1).first);  // nobody has connected yet: the listener is not among the sockets
  ASSERT_EQ(send(0, 1, bytes, call(1)), Progress::done);
  ASSERT_EQ(receive(1, 0, got, call(1)), Progress::done);

  EXPECT_FALSE(awaited(1).first);  // nothing was asked
  auto [possible, descriptors] = ask(1);
  ASSERT_TRUE(possible);
  ASSERT_EQ(descriptors.size(), 1u);
  EXPECT_EQ(::poll(descriptors.data(), 1, 0), 0);
  ASSERT_EQ(send(0, 1, bytes, call(2)), Progress::done);
  EXPECT_EQ(::poll(descriptors.data(), 1, 10'000), 1);
  EXPECT_EQ(descriptors[0].revents, POLLIN);
  ASSERT_EQ(receive(1, 0, got, call(2)), Progress::done);
  EXPECT_FALSE(awaited(1).first);

  Bytes large(30'000'000);
  const Piece all{large.data(), large.size()};
  uint64_t ticket = 0;
  ASSERT_EQ(link(0, 1).send(Pieces(&all, 1), call(3), ticket), Progress::done);
  std::tie(possible, descriptors) = awaited(0);
  ASSERT_TRUE(possible);
  ASSERT_EQ(descriptors.size(), 1u);
  EXPECT_EQ(descriptors[0].events, POLLOUT);
  kill(1);
  ASSERT_EQ(settled([&] { return world_.transport(0).progress().ok() ? Progress::busy : Progress::done; }), Progress::done);
  std::vector<pollfd> none;
  EXPECT_FALSE(world_.transport(0).awaited(none));  // a dead link has nothing to wait for
}

TEST_F(TcpTransportTest, AKilledProcessIsALoss) {
  Bytes bytes = pattern(1, 3'000'000), got(bytes.size());
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    while (send(0, 1, bytes, call(1)) == Progress::done) {
    }
    ::_exit(0);  // only if the parent died first
  }
  ASSERT_EQ(receive(1, 0, got, call(1)), Progress::done);
  EXPECT_EQ(got, bytes);
  ::kill(child, SIGKILL);
  int state = 0;
  EXPECT_EQ(::waitpid(child, &state, 0), child);
  Progress progress = Progress::done;
  while (progress == Progress::done) progress = receive(1, 0, got, call(1));
  EXPECT_EQ(progress, Progress::lost);
  EXPECT_THAT(link(1, 0).error().message(), HasSubstr("rank 0 (host here, pid 1)"));
}

TEST_F(TcpTransportTest, BytesThatBeginNoMessageAreALoss) {
  Stranger peer = impostor();
  peer.say(pattern(1, 64).data(), 64);
  Bytes got(24);
  ASSERT_EQ(receive(1, 0, got, call(1)), Progress::lost);
  EXPECT_THAT(link(1, 0).error().message(), HasSubstr("rank 0 (host here, pid 1) sent bytes that begin no message"));
}

TEST_F(TcpTransportTest, AnAnnouncedLengthIsCheckedBeforeItsBytesCome) {
  Stranger peer = impostor();
  peer.say(header(UINT32_MAX, 1));
  Bytes got(100);
  ASSERT_EQ(receive(1, 0, got, call(1)), Progress::mismatch);
  EXPECT_EQ(link(1, 0).error().code(), Code::mismatch);
  EXPECT_THAT(link(1, 0).error().message(), HasSubstr("sent 4294967295 bytes of " + describe(call(1)) + " where 100 bytes"));
  EXPECT_EQ(receive(1, 0, got, call(1)), Progress::mismatch);
  EXPECT_EQ(send(1, 0, got, call(1)), Progress::mismatch);
}

TEST_F(TcpTransportTest, ARankThatIsGoneCannotBeReached) {
  const std::string address = endpoint(1).address.to_string();
  kill(1);
  Bytes bytes(10);
  EXPECT_EQ(receive(0, 1, bytes, call(1)), Progress::lost);
  const Status error = link(0, 1).error();
  EXPECT_EQ(error.code(), Code::unreachable);
  EXPECT_THAT(error.message(), HasSubstr("rank 1 (host here, pid 1) cannot be reached: cannot connect to " + address));
  EXPECT_THAT(error.message(), HasSubstr("TUTTI_INTERFACE"));
}

TEST_F(TcpTransportTest, ProgressTellsWhatCannotBeDelivered) {
  Bytes bytes(30'000'000);
  ASSERT_EQ(send(0, 1, bytes, call(1)), Progress::done);
  EXPECT_TRUE(world_.transport(0).progress().ok());
  const Piece piece{bytes.data(), 10};
  const auto connected = [&] {
    (void)link(1, 0).receive(Pieces(&piece, 1), call(1));
    return link(1, 0).error().ok() ? Progress::busy : Progress::done;
  };
  ASSERT_EQ(settled(connected), Progress::done);
  kill(1);
  Status status;
  ASSERT_EQ(settled([&] { return (status = world_.transport(0).progress()).ok() ? Progress::busy : Progress::done; }),
            Progress::done);
  EXPECT_EQ(status.code(), Code::peer_lost);
  EXPECT_FALSE(link(0, 1).sent(1));
  EXPECT_FALSE(world_.transport(0).progress().ok());  // and again
}

TEST_F(TcpTransportTest, BytesAndMemoryAreAccountedFor) {
  Bytes bytes(100), got(100);
  const size_t before = world_.transport(0).memory_bytes();
  EXPECT_EQ(world_.transport(0).sent_bytes(), 0u);
  ASSERT_EQ(send(0, 1, bytes, call(1)), Progress::done);
  ASSERT_EQ(receive(1, 0, got, call(1)), Progress::done);
  EXPECT_EQ(world_.transport(0).sent_bytes(), 100u + sizeof(Header));
  EXPECT_EQ(world_.transport(1).sent_bytes(), 0u);
  EXPECT_GT(world_.transport(0).memory_bytes(), before);
}

TEST_F(TcpTransportTest, TheMeterNotesWhatMovesAtOnceWhileItIsOn) {
  Bytes many(8 * StreamMeter::kLeast), few(100);
  StreamMeter& meter = *world_.transport(0).meter();
  const auto both_ways = [&](Bytes& bytes, uint32_t sequence) {
    Bytes got(bytes.size());
    for (const auto& [from, to] : {std::pair{0, 1}, {1, 0}}) {
      ASSERT_EQ(send(from, to, bytes, call(sequence)), Progress::done);
      ASSERT_EQ(receive(to, from, got, call(sequence)), Progress::done);
    }
  };
  both_ways(many, 1);
  EXPECT_TRUE(meter.sent.empty());
  meter.on = true;
  both_ways(few, 2);
  EXPECT_TRUE(meter.sent.empty());
  both_ways(many, 3);
  EXPECT_FALSE(meter.sent.empty());
  EXPECT_FALSE(meter.received.empty());
  for (const auto& costs : {meter.sent, meter.received})
    for (const double cost : costs) EXPECT_GT(cost, 0);
  EXPECT_TRUE(world_.transport(1).meter()->sent.empty());
}

TEST_F(TcpTransportTest, BothEndsOfAConnectionProbeTheOther) {
  Bytes bytes(10), got(10);
  ASSERT_EQ(send(0, 1, bytes, call(1)), Progress::done);
  ASSERT_EQ(receive(1, 0, got, call(1)), Progress::done);
  int connections = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    const int fd = std::stoi(entry.path().filename());
    if (const auto peer = peer_address_of(fd); !peer.ok() || peer->port() == 0) continue;
    int on = 0;
    socklen_t length = sizeof on;
    EXPECT_EQ(::getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, &length), 0);
    EXPECT_EQ(on, 1);
    ++connections;
  }
  EXPECT_EQ(connections, 2);
}

TEST_F(TcpTransportTest, NoDescriptorIsLeftBehind) {
  const auto descriptors = [] {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return std::distance(begin(all), end(all));
  };
  const auto before = descriptors();
  {
    TcpWorldOfThree world(4, 8, 4096);
    Bytes bytes(10);
    const Piece piece{bytes.data(), bytes.size()};
    uint64_t ticket = 0;
    for (int from = 0; from < 4; ++from)
      for (int to = (from + 1) % 4; to != from; to = (to + 1) % 4)
        EXPECT_EQ(world.transport(from).link_to(to).send(Pieces(&piece, 1), call(1), ticket), Progress::done);
    for (int rank = 0; rank < 4; ++rank) EXPECT_TRUE(world.transport(rank).progress().ok());
    EXPECT_GT(descriptors(), before + 8);
  }
  EXPECT_EQ(descriptors(), before);
}

TEST_F(TcpTransportTest, ALinkThatCannotBeSaysWhy) {
  TcpOptions options;
  options.size = 2;
  options.listen_address = "127.0.0.1";
  options.pool = &world_.pool(0);
  const auto transport = TcpTransport::open(options);
  ASSERT_TRUE(transport.ok());
  EXPECT_FALSE((*transport)->set_peers({"", "", ""}, {"a", "b", "c"}).ok());
  const Status bad = (*transport)->set_peers({"", "nonsense"}, {"rank 0", "rank 1"});
  EXPECT_EQ(bad.message(), "rank 1 published \"nonsense\" is no TCP endpoint; expected address:port/32 hex digits");
  ASSERT_TRUE((*transport)->set_peers({(*transport)->address(), ""}, {"rank 0", "rank 1"}).ok());

  const Bytes bytes(10);
  std::vector<Piece> pieces(1, Piece{const_cast<std::byte*>(bytes.data()), bytes.size()});
  uint64_t ticket = 0;
  EXPECT_EQ((*transport)->link_to(1).send(pieces, call(1), ticket), Progress::lost);
  EXPECT_EQ((*transport)->link_to(1).error().message(), "rank 1 published no TCP address");
  EXPECT_EQ((*transport)->link_to(0).receive(pieces, call(1)), Progress::lost);
  EXPECT_EQ((*transport)->link_to(0).error().code(), Code::internal);

  pieces.resize(kMaxPieces + 1, pieces[0]);
  EXPECT_EQ(world_.transport(0).link_to(1).send(pieces, call(1), ticket), Progress::lost);
  EXPECT_EQ(world_.transport(0).link_to(1).error().code(), Code::internal);
}

TEST(TcpTransportOptions, ImpossibleOnesAreRefused) {
  TcpWorld world(1, 4, 4096);
  TcpOptions good;
  good.listen_address = "127.0.0.1";
  good.pool = &world.pool(0);
  EXPECT_TRUE(TcpTransport::open(good).ok());
  const auto refused = [&](auto change) {
    TcpOptions options = good;
    change(options);
    return !TcpTransport::open(options).ok();
  };
  EXPECT_TRUE(refused([](TcpOptions& options) { options.pool = nullptr; }));
  EXPECT_TRUE(refused([](TcpOptions& options) { options.connections = 0; }));
  EXPECT_TRUE(refused([](TcpOptions& options) { options.rank = 1; }));
  EXPECT_TRUE(refused([](TcpOptions& options) { options.congestion = "carrier_pigeon"; }));
  // Every kernel has it and lets everybody use it.
  EXPECT_FALSE(refused([](TcpOptions& options) { options.congestion = "reno"; }));
  EXPECT_TRUE(refused([](TcpOptions& options) { options.listen_address = "localhost"; }));
  EXPECT_TRUE(refused([](TcpOptions& options) { options.listen_address = "192.0.2.1"; }));  // of no interface
}

}  // namespace
}  // namespace tutti::tcp
