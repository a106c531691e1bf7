// The socket calls of net_address.h.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "clock.h"
#include "net_address.h"
#include "resource_limits.h"
#include "words.h"

namespace tutti {
namespace {

// There and back; beyond, what bbr and cubic do for long fat paths is worth more.
constexpr uint32_t kShortPathUs = 2000;

Result<OwnedFd> make_socket(const SocketAddress& address) {
  auto fd = OwnedFd::made_by([&] { return ::socket(address.data()->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); });
  if (!fd) return no_descriptor("making a socket for " + address.to_string());
  return fd;
}

void set_option(int fd, int level, int option, int value) { ::setsockopt(fd, level, option, &value, sizeof value); }

Status cannot_listen(const SocketAddress& address) {
  const std::string start = "cannot listen on " + address.to_string() + ": ";
  switch (errno) {
    case EADDRINUSE:
      if (address.is_unix()) return Status(Code::system, start + "another program holds this name");
      return Status(Code::system, start + "another program holds this port; end it or give another port");
    case EADDRNOTAVAIL: return Status(Code::system, start + "no interface of this host has this address");
    case EACCES: return Status(Code::system, start + "this user may not open this port; give one above 1023");
    default: return Status(Code::system, start + std::strerror(errno));
  }
}

Status cannot_connect(const SocketAddress& peer, int error) {
  Status status(Code::unreachable, "cannot connect to " + peer.to_string() + ": " + std::strerror(error));
  errno = error;
  return status;
}

// The address that `get` (getsockname or getpeername) returns.
template <class Get>
Result<SocketAddress> end_of(int fd, Get get) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (get(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return system_error("asking a socket for its address");
  return SocketAddress::from(storage, length);
}

}  // namespace

Result<OwnedFd> listen_on(const SocketAddress& address, int backlog) {
  auto fd = make_socket(address);
  if (!fd.ok()) return fd;
  if (!address.is_unix()) set_option(fd->get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (address.is_v6()) set_option(fd->get(), IPPROTO_IPV6, IPV6_V6ONLY, 0);  // [::] serves IPv4 peers too
  if (::bind(fd->get(), address.data(), address.length()) != 0 || ::listen(fd->get(), backlog) != 0) return cannot_listen(address);
  return fd;
}

Result<OwnedFd> accept_from(int listening_fd) {
  auto fd = OwnedFd::made_by([&] { return ::accept4(listening_fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC); });
  if (fd) return fd;
  switch (errno) {
    case EAGAIN:
    case EINTR:
    case ECONNABORTED:  // the peer left between its connect and our accept: not our error
    case EPROTO: return OwnedFd();
    default: break;
  }
  const int error = errno;
  Status status = system_error("accepting a connection");
  errno = error;
  return status;
}

void defer_accept(int listening_fd) { set_option(listening_fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1); }

Result<OwnedFd> start_connect(const SocketAddress& peer) {
  auto fd = make_socket(peer);
  if (!fd.ok()) return fd;
  if (::connect(fd->get(), peer.data(), peer.length()) != 0 && errno != EINPROGRESS && errno != EINTR)
    return cannot_connect(peer, errno);
  return fd;
}

Status connect_result(int fd, const SocketAddress& peer) {
  int error = 0;
  return connect_result(fd, peer, error);
}

Status connect_result(int fd, const SocketAddress& peer, int& error) {
  socklen_t length = sizeof error;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) return system_error("asking a socket how its connection ended");
  if (error != 0) return cannot_connect(peer, error);
  // Where nobody listens on a local port, the kernel may give us that very port as our own end: TCP then connects a
  // socket to itself.
  const auto own = local_address_of(fd);
  if (own.ok() && *own == peer) error = ECONNREFUSED;
  if (error != 0) return cannot_connect(peer, error);
  return {};
}

bool wait_for(int fd, short events, uint64_t deadline) {
  for (;;) {
    const uint64_t now = now_ns();
    pollfd entry{fd, events, 0};
    const int ready = ::poll(&entry, 1, wait_ms(now, deadline));
    if (ready > 0) return true;
    if ((ready < 0 && errno != EINTR) || now >= deadline) return false;
  }
}

Result<SocketAddress> local_address_of(int fd) { return end_of(fd, ::getsockname); }
Result<SocketAddress> peer_address_of(int fd) { return end_of(fd, ::getpeername); }

Status set_no_delay(int fd) {
  const int on = 1;
  if (::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 || errno == EOPNOTSUPP) return {};
  return system_error("setting TCP_NODELAY");
}

void keep_alive(int fd) {
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 10);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 4);
}

Status set_congestion_control(int fd, const std::string& name) {
  if (::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(), static_cast<socklen_t>(name.size())) == 0) return {};
  if (errno == ENOENT)
    return Status(Code::invalid_argument, "this kernel has no TCP congestion control " + in_quotes(name) +
                                              "; net.ipv4.tcp_available_congestion_control lists those it has");
  if (errno == EPERM)
    return Status(Code::invalid_argument, "this user may not choose the TCP congestion control " + in_quotes(name) +
                                              "; net.ipv4.tcp_allowed_congestion_control lists those allowed");
  return system_error("choosing the TCP congestion control " + in_quotes(name));
}

std::string congestion_control_of(int fd) {
  char name[64] = {};
  socklen_t length = sizeof name - 1;
  return ::getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &length) == 0 ? name : "";
}

// Collective calls come in bursts, between which the network is silent.  bbr paces them, by a timer for every 64 KiB.
// cubic ends its slow start with the first burst whose acknowledgements come as a train, and its window stays there.
// reno does neither, and every kernel has it and lets everybody use it; on short paths cubic should grow no faster
// anyway (RFC 9438, 4.3).  bench/README.md has the times.
void suit_congestion_control(int fd) {
  const std::string name = congestion_control_of(fd);
  if (name != "bbr" && name != "cubic") return;
  tcp_info info{};
  socklen_t length = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0 || info.tcpi_rtt > kShortPathUs) return;
  (void)set_congestion_control(fd, "reno");
}

}  // namespace tutti
