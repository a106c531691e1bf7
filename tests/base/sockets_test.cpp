#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "net_address.h"

namespace tutti {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr int kPatience = 20'000;  // milliseconds; reached only when something is broken

SocketAddress loopback(bool v6, uint16_t port = 0) {
  const auto address = SocketAddress::parse(v6 ? "::1" : "127.0.0.1", port);
  EXPECT_TRUE(address.ok());
  return *address;
}

bool wait_for(int fd, short events) {
  pollfd entry{fd, events, 0};
  return poll(&entry, 1, kPatience) == 1;
}

void expect_quiet_descriptor(int fd) {
  EXPECT_TRUE(fcntl(fd, F_GETFD) & FD_CLOEXEC);
  EXPECT_TRUE(fcntl(fd, F_GETFL) & O_NONBLOCK);
}

void exchange_over(bool v6) {
  const auto listener = listen_on(loopback(v6), 4);
  if (!listener.ok() && v6) GTEST_SKIP() << listener.status().message();
  ASSERT_TRUE(listener.ok()) << listener.status().message();
  expect_quiet_descriptor(listener->get());
  const auto address = local_address_of(listener->get());
  ASSERT_TRUE(address.ok());
  EXPECT_NE(address->port(), 0);
  EXPECT_EQ(address->host(), loopback(v6).host());

  const auto nobody = accept_from(listener->get());
  ASSERT_TRUE(nobody.ok()) << nobody.status().message();
  EXPECT_FALSE(*nobody);

  const auto near = start_connect(*address);
  ASSERT_TRUE(near.ok()) << near.status().message();
  expect_quiet_descriptor(near->get());
  ASSERT_TRUE(wait_for(near->get(), POLLOUT));
  EXPECT_TRUE(connect_result(near->get(), *address).ok());
  ASSERT_TRUE(wait_for(listener->get(), POLLIN));
  const auto far = accept_from(listener->get());
  ASSERT_TRUE(far.ok() && *far);
  expect_quiet_descriptor(far->get());
  EXPECT_TRUE(set_no_delay(far->get()).ok());
  EXPECT_EQ(*local_address_of(near->get()), *peer_address_of(far->get()));
  EXPECT_EQ(*peer_address_of(near->get()), *address);

  ASSERT_EQ(send(near->get(), "x", 1, MSG_NOSIGNAL), 1);
  ASSERT_TRUE(wait_for(far->get(), POLLIN));
  char byte = 0;
  EXPECT_EQ(recv(far->get(), &byte, 1, 0), 1);
  EXPECT_EQ(byte, 'x');
}

// Needs no interface: the listener's name is found in the network namespace.
TEST(Sockets, AnAbstractUnixSocketServesAsAnyOther) {
  const auto address = SocketAddress::random_unix();
  ASSERT_TRUE(address.ok());
  const auto refused = start_connect(*address);
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.status().message(), AllOf(HasSubstr(address->to_string()), HasSubstr("Connection refused")));
  const auto listener = listen_on(*address, 4);
  ASSERT_TRUE(listener.ok()) << listener.status().message();
  expect_quiet_descriptor(listener->get());
  EXPECT_EQ(*local_address_of(listener->get()), *address);
  EXPECT_FALSE(listen_on(*address, 4).ok());
  EXPECT_FALSE(*accept_from(listener->get()));
  const auto near = start_connect(*address);
  ASSERT_TRUE(near.ok()) << near.status().message();
  ASSERT_TRUE(wait_for(near->get(), POLLOUT));
  EXPECT_TRUE(connect_result(near->get(), *address).ok());
  const auto far = accept_from(listener->get());
  ASSERT_TRUE(far.ok() && *far);
  EXPECT_TRUE(set_no_delay(far->get()).ok());
  EXPECT_EQ(*peer_address_of(near->get()), *address);
  EXPECT_EQ(peer_address_of(far->get())->to_string(), "this host");
  EXPECT_TRUE(local_address_of(near->get())->is_unix());
  ASSERT_EQ(send(near->get(), "x", 1, MSG_NOSIGNAL), 1);
  char byte = 0;
  ASSERT_TRUE(wait_for(far->get(), POLLIN));
  EXPECT_EQ(recv(far->get(), &byte, 1, 0), 1);
  EXPECT_EQ(byte, 'x');
}

TEST(Sockets, ExchangeOverIPv4) { exchange_over(false); }
TEST(Sockets, ExchangeOverIPv6) { exchange_over(true); }

TEST(Sockets, AUnixNameIsHeldByOne) {
  const SocketAddress address = *SocketAddress::random_unix();
  {
    const auto listener = listen_on(address, 4);
    ASSERT_TRUE(listener.ok()) << listener.status().message();
    EXPECT_THAT(listen_on(address, 4).status().message(), HasSubstr("another program holds this name"));
  }
  const auto refused = start_connect(address);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().message(), "cannot connect to " + address.to_string() + ": Connection refused");
}

TEST(Sockets, AFullUnixBacklogIsAskedAgain) {
  const SocketAddress address = *SocketAddress::random_unix();
  const auto listener = listen_on(address, 1);
  ASSERT_TRUE(listener.ok()) << listener.status().message();
  std::vector<OwnedFd> waiting;
  auto fd = start_connect(address);
  for (; fd.ok(); fd = start_connect(address)) {
    waiting.push_back(std::move(*fd));
    ASSERT_LT(waiting.size(), 10u);
  }
  EXPECT_EQ(errno, EAGAIN);
  const auto accepted = accept_from(listener->get());
  ASSERT_TRUE(accepted.ok() && *accepted);
  EXPECT_TRUE(start_connect(address).ok());
}

TEST(Sockets, KeptConnectionsAreProbed) {
  const auto listener = listen_on(loopback(false), 4);
  ASSERT_TRUE(listener.ok()) << listener.status().message();
  const auto fd = start_connect(*local_address_of(listener->get()));
  ASSERT_TRUE(fd.ok());
  keep_alive(fd->get());
  const auto option = [&](int level, int name) {
    int value = -1;
    socklen_t length = sizeof value;
    EXPECT_EQ(getsockopt(fd->get(), level, name, &value, &length), 0);
    return value;
  };
  EXPECT_EQ(option(SOL_SOCKET, SO_KEEPALIVE), 1);
  const int silence = option(IPPROTO_TCP, TCP_KEEPIDLE) + option(IPPROTO_TCP, TCP_KEEPINTVL) * option(IPPROTO_TCP, TCP_KEEPCNT);
  EXPECT_EQ(silence, 30);  // seconds
  EXPECT_EQ(option(IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
}

// bbr and cubic, as far as this user may choose them; what else the kernel was told to use is left alone.
TEST(Sockets, CongestionControlThatSuitsAShortPath) {
  const auto listener = listen_on(loopback(false), 4);
  ASSERT_TRUE(listener.ok()) << listener.status().message();
  const auto near = start_connect(*local_address_of(listener->get()));
  ASSERT_TRUE(near.ok() && wait_for(near->get(), POLLOUT) && wait_for(listener->get(), POLLIN));
  const auto far = accept_from(listener->get());
  ASSERT_TRUE(far.ok() && *far);
  for (const auto& [system, suited] : {std::pair{"bbr", "reno"}, {"cubic", "reno"}, {"reno", "reno"}, {"dctcp", "dctcp"}})
    for (const int fd : {near->get(), far->get()}) {
      if (!set_congestion_control(fd, system).ok()) continue;
      suit_congestion_control(fd);
      EXPECT_EQ(congestion_control_of(fd), suited) << system;
    }
  suit_congestion_control(-1);
  EXPECT_EQ(congestion_control_of(-1), "");
}

TEST(Sockets, IPv6AnyServesIPv4) {
  const auto listener = listen_on(SocketAddress::any(true, 0), 4);
  if (!listener.ok()) GTEST_SKIP() << listener.status().message();
  const SocketAddress address = loopback(false, local_address_of(listener->get())->port());
  const auto near = start_connect(address);
  ASSERT_TRUE(near.ok()) << near.status().message();
  ASSERT_TRUE(wait_for(near->get(), POLLOUT));
  EXPECT_TRUE(connect_result(near->get(), address).ok());
  ASSERT_TRUE(wait_for(listener->get(), POLLIN));
  const auto far = accept_from(listener->get());
  ASSERT_TRUE(far.ok() && *far);
  EXPECT_EQ(peer_address_of(far->get())->host(), "127.0.0.1");
}

TEST(Sockets, ATakenPortIsNamed) {
  const auto first = listen_on(loopback(false), 1);
  ASSERT_TRUE(first.ok());
  const auto address = local_address_of(first->get());
  const auto second = listen_on(*address, 1);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), Code::system);
  EXPECT_THAT(second.status().message(), AllOf(HasSubstr(address->to_string()), HasSubstr("another program holds this port")));
}

TEST(Sockets, AForeignAddressIsNamed) {
  const auto listener = listen_on(*SocketAddress::parse("192.0.2.1:0"), 1);  // an address for documentation (RFC 5737)
  ASSERT_FALSE(listener.ok());
  EXPECT_THAT(listener.status().message(), HasSubstr("no interface of this host has this address"));
}

// Nobody listens: the failure shows at once or when the socket polls writable.
Status outcome(const SocketAddress& peer) {
  const auto fd = start_connect(peer);
  if (!fd.ok()) return fd.status();
  EXPECT_TRUE(wait_for(fd->get(), POLLOUT));
  return connect_result(fd->get(), peer);
}

TEST(Sockets, ARefusedConnectionIsNamed) {
  SocketAddress address;
  {
    const auto listener = listen_on(loopback(false), 1);
    ASSERT_TRUE(listener.ok());
    address = *local_address_of(listener->get());
  }
  const Status status = outcome(address);
  EXPECT_EQ(status.code(), Code::unreachable);
  EXPECT_EQ(status.message(), "cannot connect to " + address.to_string() + ": Connection refused");
}

TEST(Sockets, AConnectionToItselfIsRefused) {
  const OwnedFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const SocketAddress wanted = loopback(false);
  ASSERT_EQ(bind(fd.get(), wanted.data(), wanted.length()), 0);
  const auto own = local_address_of(fd.get());
  ASSERT_EQ(connect(fd.get(), own->data(), own->length()), 0);  // TCP's simultaneous open with one end
  EXPECT_EQ(connect_result(fd.get(), *own).code(), Code::unreachable);
}

TEST(Sockets, AddressesOfWhatIsNoSocket) {
  EXPECT_EQ(local_address_of(-1).status().code(), Code::system);
  EXPECT_EQ(peer_address_of(-1).status().code(), Code::system);
  EXPECT_EQ(set_no_delay(-1).code(), Code::system);
  EXPECT_EQ(accept_from(-1).status().code(), Code::system);
}

}  // namespace
}  // namespace tutti
