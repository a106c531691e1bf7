#include "tcp_connector.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "clock.h"

namespace tutti::tcp {
namespace {

constexpr uint64_t kFirstPause = kMillisecond, kLongestPause = 500 * kMillisecond;
constexpr uint64_t kPatience = 60'000 * kMillisecond;  // with a listener that drops us

bool closed_by_peer(int fd) {
  char byte = 0;
  const ssize_t n = ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

}  // namespace

Result<bool> TcpConnector::connected() {
  if (!fd_) {
    if (now_ns() < next_try_ns_) return false;
    auto fd = start_connect(target_.address);
    if (!fd.ok()) return errno == ECONNRESET ? dropped() : fd.status();
    fd_ = std::move(*fd);
  }
  pollfd entry{fd_.get(), POLLOUT, 0};
  if (::poll(&entry, 1, 0) <= 0) return false;
  if (Status status = connect_result(fd_.get(), target_.address); !status.ok())
    return errno == ECONNRESET ? dropped() : status;
  return closed_by_peer(fd_.get()) ? dropped() : Result<bool>(true);
}

// Other connections crowd the listener, or this rank was stopped between connecting and its hello.  It tries again
// after a pause.
Result<bool> TcpConnector::dropped() {
  fd_.reset();
  const uint64_t now = now_ns();
  if (pause_ns_ == 0) first_drop_ns_ = now;
  if (now - first_drop_ns_ >= kPatience)
    return Status(Code::unreachable, target_.address.to_string() + " closes every connection before it hears who we are");
  pause_ns_ = std::clamp(2 * pause_ns_, kFirstPause, kLongestPause);
  next_try_ns_ = now + pause_ns_;
  return false;
}

Result<OwnedFd> TcpConnector::advance() {
  auto ready = connected();
  // An empty send buffer always has room for a hello.
  if (ready.ok() && *ready &&
      ::send(fd_.get(), &hello_, sizeof hello_, MSG_NOSIGNAL | MSG_DONTWAIT) != static_cast<ssize_t>(sizeof hello_)) {
    if (errno != ECONNRESET && errno != EPIPE)
      return Status(Code::unreachable, "cannot greet " + target_.address.to_string() + ": " + system_error("send").message());
    ready = dropped();
  }
  if (!ready.ok()) return ready.status();
  return *ready ? std::move(fd_) : OwnedFd();
}

}  // namespace tutti::tcp
