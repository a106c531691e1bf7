#include "control_socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

#include "net_address.h"

namespace tutti {
namespace {

constexpr size_t kManyQueued = 4096;    // bytes; a peer that does not read gets nothing that can be dropped
constexpr size_t kMostRead = 64 << 10;  // per fill, so that one busy neighbour cannot occupy the thread

// A host that vanishes sends no goodbye: half a minute of silence to keep-alive probes or to unacknowledged data is its
// death.
void watch_host(int fd) {
  const unsigned unacknowledged_ms = 30'000;
  keep_alive(fd);
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_ms, sizeof unacknowledged_ms);
  (void)set_no_delay(fd);  // only speed is lost
}

}  // namespace

ControlSocket::ControlSocket(OwnedFd fd) : fd_(std::move(fd)) { watch_host(fd_.get()); }

void ControlSocket::hang_up() {
  flush();
  fill();
  ::shutdown(fd_.get(), SHUT_WR);
  close();
}

bool ControlSocket::fill() {
  char chunk[4096];
  for (size_t got = 0; got < kMostRead;) {
    const ssize_t n = ::recv(fd_.get(), chunk, sizeof chunk, MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
    if (n == 0) return false;
    in_.append(chunk, static_cast<size_t>(n));
    got += static_cast<size_t>(n);
  }
  return true;
}

Decoding ControlSocket::next(int size, ControlFrame& frame) {
  size_t used = 0;
  const Decoding decoding = decode(in_, size, frame, used);
  if (decoding == Decoding::complete) in_.erase(0, used);
  return decoding;
}

bool ControlSocket::holds(int size, FrameKind kind) const {
  ControlFrame frame;
  size_t used = 0;
  for (std::string_view rest = in_; decode(rest, size, frame, used) == Decoding::complete; rest.remove_prefix(used))
    if (frame.kind == kind) return true;
  return false;
}

void ControlSocket::send(const ControlFrame& frame, bool may_drop) {
  if (!open() || (may_drop && out_.size() > kManyQueued)) return;
  out_ += encode(frame);
  flush();
}

void ControlSocket::flush() {
  while (open() && !out_.empty()) {
    const ssize_t n = ::send(fd_.get(), out_.data(), out_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (n < 0)
      out_.clear();  // broken: fill() will say so
    else
      out_.erase(0, static_cast<size_t>(n));
  }
}

}  // namespace tutti
