// How TCP connections are made: the acceptor among connections of others, and the connector.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <thread>

#include "clock.h"
#include "sanitized.h"
#include "stranger.h"
#include "tcp_acceptor.h"
#include "tcp_connector.h"

namespace tutti::tcp {
namespace {

using testing::HasSubstr;

constexpr uint64_t kForever = 60'000'000'000;

class TcpAcceptorTest : public testing::Test {
 protected:
  void listen(uint64_t patience_ns = kForever) {
    auto acceptor = TcpAcceptor::listen(*SocketAddress::parse("127.0.0.1"), {7, {1, 2, 3}, 5, 2}, "communicator test",
                                        Log(LogLevel::warn, "tutti", log_.get()), patience_ns);
    ASSERT_TRUE(acceptor.ok()) << acceptor.status().message();
    acceptor_.emplace(std::move(*acceptor));
    endpoint_ = {acceptor_->address(), {1, 2, 3}};
  }
  Stranger stranger() { return Stranger(endpoint_.address); }
  Stranger half_a_hello() {  // the kernel hands it over at once
    Stranger stranger(endpoint_.address);
    stranger.say(&kHelloMagic, sizeof kHelloMagic);
    return stranger;
  }

  // Polls until somebody arrives, or `done` says so.
  template <class Done>
  std::vector<Arrival> poll_until(Done done) {
    std::vector<Arrival> all;
    for (const uint64_t start = now_ns(); now_ns() - start < kForever && !done(all); std::this_thread::yield()) {
      auto arrivals = acceptor_->poll();
      EXPECT_TRUE(arrivals.ok()) << arrivals.status().message();
      for (Arrival& arrival : *arrivals) all.push_back(std::move(arrival));
    }
    return all;
  }
  std::vector<Arrival> poll_for_one() {
    return poll_until([](const auto& all) { return !all.empty(); });
  }
  void poll_until_refused(const Stranger& stranger) {
    EXPECT_TRUE(poll_until([&](const auto&) { return stranger.was_refused(); }).empty());
  }
  std::string logged() const {
    std::string text(100'000, 0);
    text.resize(static_cast<size_t>(::pread(log_.get(), text.data(), text.size(), 0)));
    return text;
  }

  OwnedFd log_{::memfd_create("log", MFD_CLOEXEC)};
  std::optional<TcpAcceptor> acceptor_;
  Endpoint endpoint_;
};

TEST_F(TcpAcceptorTest, WelcomesWhoSaysTheRightHello) {
  listen();
  Stranger peer = stranger();
  peer.say(right_hello(endpoint_, 3, 1));
  const auto arrivals = poll_for_one();
  ASSERT_EQ(arrivals.size(), 1u);
  EXPECT_EQ(arrivals[0].rank, 3);
  EXPECT_EQ(arrivals[0].connection, 1u);
  EXPECT_FALSE(peer.was_refused());
  EXPECT_EQ(logged(), "");
}

TEST_F(TcpAcceptorTest, AHelloMayComeByteByByteAndNothingBehindItIsRead) {
  listen();
  Stranger peer = stranger();
  const Hello hello = right_hello(endpoint_, 0);
  const auto* bytes = reinterpret_cast<const char*>(&hello);
  for (size_t i = 0; i + 1 < sizeof hello; ++i) {
    peer.say(bytes + i, 1);
    const auto arrivals = acceptor_->poll();
    ASSERT_TRUE(arrivals.ok());
    ASSERT_TRUE(arrivals->empty());
  }
  char rest[4] = {bytes[sizeof hello - 1], 'a', 'b', 'c'};
  peer.say(rest);
  const auto arrivals = poll_for_one();
  ASSERT_EQ(arrivals.size(), 1u);
  pollfd entry{arrivals[0].fd.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&entry, 1, 60'000), 1);
  ASSERT_EQ(::recv(arrivals[0].fd.get(), rest, sizeof rest, 0), 3);
  EXPECT_EQ(std::string(rest, 3), "abc");
}

TEST_F(TcpAcceptorTest, RefusesNoiseAtItsFirstBytes) {
  listen();
  Stranger peer = stranger();
  peer.say("GET ", 4);
  poll_until_refused(peer);
  EXPECT_THAT(logged(), HasSubstr("communicator test refused a connection from 127.0.0.1:"));
  EXPECT_THAT(logged(), HasSubstr("does not speak"));
}

TEST_F(TcpAcceptorTest, RefusesAWrongSecret) {
  listen();
  Stranger peer = stranger();
  Hello hello = right_hello(endpoint_, 3);
  hello.secret.bytes[15] ^= 1;
  peer.say(hello);
  poll_until_refused(peer);
  EXPECT_THAT(logged(), HasSubstr("secret"));
}

TEST_F(TcpAcceptorTest, RefusesWhoIsSlowOrLeaves) {
  listen(0);
  Stranger slow = stranger();
  slow.say("Tu", 2);
  poll_until_refused(slow);
  EXPECT_THAT(logged(), HasSubstr("in time"));
  listen(kForever);
  Stranger gone = half_a_hello();
  gone.leave();
  poll_until([&](const auto&) { return logged().find("it left") != std::string::npos; });
  EXPECT_THAT(logged(), HasSubstr("it left in the middle of its first message"));
}

TEST_F(TcpAcceptorTest, AFloodOfStrangersFillsNoLog) {
  listen(0);
  std::vector<Stranger> strangers;
  for (size_t i = 0; i < TcpAcceptor::kPending + 10; ++i) strangers.push_back(half_a_hello());
  Stranger peer = stranger();
  peer.say(right_hello(endpoint_, 2));
  const auto arrivals = poll_for_one();
  ASSERT_EQ(arrivals.size(), 1u);
  EXPECT_EQ(arrivals[0].rank, 2);
  const std::string text = logged();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 16);
  EXPECT_THAT(text, HasSubstr("further refusals are not logged"));
}

TEST_F(TcpAcceptorTest, PeersDoNotWaitBehindStrangersWhoseOldestLeaveFirst) {
  listen(kForever);
  constexpr size_t kMany = 2 * TcpAcceptor::kPending;
  std::vector<Stranger> silent, strangers;
  for (size_t i = 0; i < kMany; ++i) silent.push_back(stranger());
  for (size_t i = 0; i < kMany; ++i) strangers.push_back(half_a_hello());
  Stranger peer = stranger();
  peer.say(right_hello(endpoint_, 2));
  const uint64_t start = now_ns();
  ASSERT_EQ(poll_for_one().size(), 1u);
  EXPECT_LT(now_ns() - start, kForever / 10);
  EXPECT_TRUE(strangers.front().was_refused());
  EXPECT_FALSE(strangers.back().was_refused());  // there is room for it
  Stranger late = stranger();
  late.say(right_hello(endpoint_, 3));
  ASSERT_EQ(poll_for_one().size(), 1u);
  EXPECT_THAT(logged(), HasSubstr("others came before it said who it is"));
}

TEST_F(TcpAcceptorTest, APeerIsHeardWhereNoDescriptorIsLeft) {
  if (test::kSanitized) GTEST_SKIP() << "UndefinedBehaviorSanitizer needs descriptors itself";
  listen(kForever);
  std::vector<Stranger> strangers;
  for (int i = 0; i < 5; ++i) strangers.push_back(half_a_hello());
  std::vector<Stranger> peers;
  for (int i = 0; i < 2; ++i) {
    peers.push_back(stranger());
    peers.back().say(right_hello(endpoint_, i));
  }
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit low{std::min<rlim_t>(limit.rlim_cur, 256), limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  std::vector<OwnedFd> all;
  do all.emplace_back(::dup(log_.get()));
  while (all.back());
  const auto first = poll_for_one();  // by the descriptor in reserve
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0].rank, 0);
  for (const Stranger& stranger : strangers) EXPECT_TRUE(stranger.was_refused());
  for (int i = 0; i < 10; ++i) {
    const auto none = acceptor_->poll();
    ASSERT_TRUE(none.ok()) << none.status().message();
    EXPECT_TRUE(none->empty());
  }
  all.clear();
  const auto second = poll_for_one();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  ASSERT_EQ(second.size(), 1u);
  EXPECT_EQ(second[0].rank, 1);
  const std::string text = logged();
  EXPECT_THAT(text, HasSubstr("ulimit -n"));
  EXPECT_EQ(text.find("ulimit -n"), text.rfind("ulimit -n"));
}

TEST(TcpConnectorTest, ConnectsAndSaysHello) {
  const auto listener = listen_on(*SocketAddress::parse("127.0.0.1"), 8);
  ASSERT_TRUE(listener.ok());
  const Endpoint target{*local_address_of(listener->get()), {4, 5, 6}};
  const Hello hello = right_hello(target, 3, 1);
  TcpConnector connector(target, hello);
  OwnedFd connected, accepted;
  for (const uint64_t start = now_ns(); !(connected && accepted) && now_ns() - start < kForever; std::this_thread::yield()) {
    if (!connected) {
      auto fd = connector.advance();
      ASSERT_TRUE(fd.ok()) << fd.status().message();
      connected = std::move(*fd);
    }
    if (!accepted) accepted = std::move(*accept_from(listener->get()));
  }
  pollfd entry{accepted.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&entry, 1, 60'000), 1);
  std::byte heard[sizeof(Hello) + 1];
  ASSERT_EQ(::recv(accepted.get(), heard, sizeof heard, 0), static_cast<ssize_t>(sizeof hello));
  const auto decoded = decode_hello({heard, sizeof hello});
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->rank, 3);
  EXPECT_EQ(decoded->connection, 1u);
}

// Fills the backlog so that the connector is still connecting when advance() returns, and drops it before its hello.
TEST(TcpConnectorTest, ConnectsAgainWhenDroppedBeforeItsHello) {
  const auto listener = listen_on(*SocketAddress::parse("127.0.0.1"), 0);
  ASSERT_TRUE(listener.ok());
  const Endpoint target{*local_address_of(listener->get()), {}};
  std::vector<Stranger> fillers;
  fillers.emplace_back(target.address);
  TcpConnector connector(target, right_hello(target, 0));
  auto fd = connector.advance();
  ASSERT_TRUE(fd.ok());
  if (*fd) GTEST_SKIP() << "this kernel completes connections beyond the backlog";
  const auto accept_one = [&] {
    OwnedFd accepted;
    for (const uint64_t start = now_ns(); !accepted && now_ns() - start < kForever; std::this_thread::yield())
      accepted = std::move(*accept_from(listener->get()));
    return accepted;
  };
  (void)accept_one();  // the filler
  (void)accept_one();  // the connector's first try: closed at once
  for (const uint64_t start = now_ns(); !*fd && now_ns() - start < kForever; std::this_thread::yield()) {
    fd = connector.advance();
    ASSERT_TRUE(fd.ok()) << fd.status().message();
  }
  const OwnedFd accepted = accept_one();
  pollfd entry{accepted.get(), POLLIN, 0};
  ASSERT_EQ(::poll(&entry, 1, 60'000), 1);
  Hello heard;
  EXPECT_EQ(::recv(accepted.get(), &heard, sizeof heard, 0), static_cast<ssize_t>(sizeof heard));
}

TEST(TcpConnectorTest, NobodyListensIsUnreachable) {
  Endpoint target;
  {
    const auto listener = listen_on(*SocketAddress::parse("127.0.0.1"), 8);
    ASSERT_TRUE(listener.ok());
    target.address = *local_address_of(listener->get());
  }
  TcpConnector connector(target, right_hello(target, 0));
  auto fd = connector.advance();
  for (const uint64_t start = now_ns(); fd.ok() && !*fd && now_ns() - start < kForever;) fd = connector.advance();
  ASSERT_FALSE(fd.ok());
  EXPECT_EQ(fd.status().code(), Code::unreachable);
  EXPECT_THAT(fd.status().message(), HasSubstr(target.address.to_string()));
  EXPECT_THAT(fd.status().message(), HasSubstr("refused"));
}

}  // namespace
}  // namespace tutti::tcp
