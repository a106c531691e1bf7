#include "tcp_connector.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

namespace tutti::tcp {
namespace {

constexpr int kMaxDropped = 8;

bool closed_by_peer(int fd) {
  char byte = 0;
  const ssize_t n = ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

}  // namespace

Result<bool> TcpConnector::connected() {
  if (!fd_) {
    auto fd = start_connect(target_.address);
    if (!fd.ok()) return fd.status();
    fd_ = std::move(*fd);
  }
  pollfd entry{fd_.get(), POLLOUT, 0};
  if (::poll(&entry, 1, 0) <= 0) return false;
  if (Status status = connect_result(fd_.get(), target_.address); !status.ok()) return status;
  return true;
}

Result<OwnedFd> TcpConnector::advance() {
  const auto ready = connected();
  if (!ready.ok()) return ready.status();
  if (!*ready) return OwnedFd();
  // A rank that was stopped between connecting and its hello finds that the listener has lost patience.  Nothing is lost: again.
  if (closed_by_peer(fd_.get())) {
    fd_.reset();
    if (++dropped_ < kMaxDropped) return OwnedFd();
    return Status(Code::unreachable, target_.address.to_string() + " closes every connection before it hears who we are");
  }
  // An empty send buffer always has room for a hello.
  if (::send(fd_.get(), &hello_, sizeof hello_, MSG_NOSIGNAL | MSG_DONTWAIT) != static_cast<ssize_t>(sizeof hello_))
    return Status(Code::unreachable, "cannot greet " + target_.address.to_string() + ": " + system_error("send").message());
  return std::move(fd_);
}

}  // namespace tutti::tcp
