#include "listener.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "net_address.h"
#include "resource_limits.h"

namespace tutti {
namespace {

constexpr int kMostLogged = 16;      // a flood of connections must not become a flood of lines
constexpr int kMostAccepted = 256;   // in one go, so that a flood does not hold up those who are already connected
constexpr int kReadsAtOnce = 4;      // of one connection
constexpr uint64_t kLinger = 5 * kSecond;         // for a farewell to be taken
constexpr uint64_t kPause = 10 * kMillisecond;    // after accepting has failed
constexpr auto kNoDescriptor = "this process has no descriptor left for those who do not say who they are";

bool is_shortage(int error) { return is_descriptor_shortage(error) || error == ENOBUFS || error == ENOMEM; }

OwnedFd open_reserve() { return OwnedFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

// The system looks for a descriptor before it looks whether there is a connection to accept.
bool somebody_waits(int fd) {
  pollfd entry{fd, POLLIN, 0};
  return ::poll(&entry, 1, 0) == 1;
}

std::string shown(const Result<SocketAddress>& address) { return address.ok() ? address->to_string() : "somewhere"; }

}  // namespace

Listener::Listener(std::vector<OwnedFd> sockets, Options options)
    : sockets_(std::move(sockets)), options_(std::move(options)), reserve_(open_reserve()) {}

void Listener::watch(std::vector<pollfd>& set, uint64_t now) const {
  for (const OwnedFd& socket : sockets_) set.push_back({now < accept_again_ ? -1 : socket.get(), POLLIN, 0});
  for (const PendingConnection& connection : pending_) set.push_back({connection.fd.get(), POLLIN, 0});
}

uint64_t Listener::deadline_of(const PendingConnection& connection) const {
  return connection.since + (connection.refused ? kLinger : options_.patience_ns);
}

uint64_t Listener::next_deadline(uint64_t now) const {
  uint64_t next = now < accept_again_ ? accept_again_ : UINT64_MAX;
  for (const PendingConnection& connection : pending_) next = std::min(next, deadline_of(connection));
  return next;
}

// Connections are heard before others are accepted, which may take the place of the oldest.
Status Listener::serve(Gatekeeper& keeper, std::span<const pollfd> ready) {
  const auto is_ready = [ready](size_t i) { return ready.empty() || ready[i].revents != 0; };
  const size_t sockets = sockets_.size();
  const uint64_t now = now_ns();
  for (size_t i = 0; i < pending_.size(); ++i) {
    PendingConnection& connection = pending_[i];
    if (is_ready(sockets + i)) hear(connection, keeper);
    end_if_overdue(connection, now);
  }
  std::erase_if(pending_, [](const PendingConnection& connection) { return !connection.fd; });
  Status status;
  for (size_t i = 0; i < sockets && status.ok(); ++i)
    if (is_ready(i)) status = accept(i, keeper);
  return status;
}

Status Listener::accept(size_t socket, Gatekeeper& keeper) {
  keep_reserve();
  // Judging somebody may close all.
  for (int accepted = 0; accepted < kMostAccepted && socket < sockets_.size(); ++accepted) {
    auto fd = accept_from(sockets_[socket].get());
    int error = errno;
    if (!fd.ok() && is_shortage(error) && !somebody_waits(sockets_[socket].get())) return {};
    if (!fd.ok() && is_shortage(error) && make_room(error, keeper)) {
      fd = accept_from(sockets_[socket].get());
      error = errno;
    }
    if (!fd.ok()) {
      accept_again_ = now_ns() + kPause;
      return is_shortage(error) ? Status() : fd.status();
    }
    if (!*fd) return {};
    add(std::move(*fd), keeper);
  }
  return {};
}

// A connection that comes with its hello is never pending.
void Listener::add(OwnedFd fd, Gatekeeper& keeper) {
  const std::string& greeting = options_.greeting;
  if (!greeting.empty()) (void)!::send(fd.get(), greeting.data(), greeting.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  const uint64_t now = now_ns();
  pending_.push_back({std::move(fd), "", now, false});
  hear(pending_.back(), keeper);
  end_if_overdue(pending_.back(), now);
  if (!pending_.back().fd) pending_.pop_back();
  if (pending_.size() > options_.most_pending) drop_oldest("others came before it said who it is", keeper);
  keep_reserve();
  if (!reserve_ && !sockets_.empty() && !pending_.empty() && options_.grace_ns == 0) drop_oldest(kNoDescriptor, keeper);
  keep_reserve();
}

void Listener::keep_reserve() {
  if (!reserve_ && !sockets_.empty()) reserve_ = open_reserve();
}

// False: there is nothing to give up for one more connection, which waits.
bool Listener::make_room(int error, Gatekeeper& keeper) {
  std::erase_if(pending_, [](const PendingConnection& connection) { return !connection.fd; });
  if (!pending_.empty()) {
    if (now_ns() < pending_.front().since + options_.grace_ns) return false;
    drop_oldest(kNoDescriptor, keeper);
    return !sockets_.empty();
  }
  keeper.starved(error);
  if (!reserve_) return false;
  reserve_.reset();
  return !sockets_.empty();
}

void Listener::drop_oldest(const std::string& why, Gatekeeper& keeper) {
  PendingConnection& oldest = pending_.front();
  hear(oldest, keeper);
  if (oldest.fd && !oldest.refused) refuse(oldest, why);
  pending_.pop_front();
}

// False: the other end is gone.
bool Listener::receive(PendingConnection& connection) const {
  char chunk[1024];
  for (int i = 0; i < kReadsAtOnce; ++i) {
    const size_t room = connection.refused ? sizeof chunk : std::min(sizeof chunk, options_.longest_hello - connection.said.size());
    if (room == 0) return true;
    const ssize_t n = ::recv(connection.fd.get(), chunk, room, MSG_DONTWAIT);
    if (n <= 0) return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
    if (!connection.refused) connection.said.append(chunk, static_cast<size_t>(n));
  }
  return true;
}

// Leaves the connection without a descriptor where it is no longer pending.
void Listener::hear(PendingConnection& connection, Gatekeeper& keeper) {
  if (!connection.fd) return;
  const bool open = receive(connection);
  const Verdict verdict = connection.refused || connection.said.empty() ? Verdict() : keeper.judge(connection);
  if (verdict.kind == Verdict::Kind::refused) return refuse(connection, verdict.why, verdict.farewell);
  if (verdict.kind == Verdict::Kind::admitted || !connection.fd) return;
  if (!open && (connection.refused || connection.said.empty())) return connection.fd.reset();
  if (!open) return refuse(connection, "it left in the middle of its first message");
  if (!connection.refused && connection.said.size() >= options_.longest_hello) refuse(connection, "its first message is too long");
}

void Listener::end_if_overdue(PendingConnection& connection, uint64_t now) {
  if (connection.fd && now >= deadline_of(connection)) refuse(connection, "it did not say who it is in time");
}

void Listener::refuse(PendingConnection& connection, const std::string& why, const std::string& farewell) {
  const int fd = connection.fd.get();
  if (!connection.refused && !why.empty() && refusals_ < kMostLogged)
    options_.log.warn(options_.name + " refused a connection from " + shown(peer_address_of(fd)) + " to " +
                      shown(local_address_of(fd)) + ": " + why +
                      (++refusals_ == kMostLogged ? " (further refusals are not logged)" : ""));
  if (farewell.empty()) return connection.fd.reset();
  (void)!::send(fd, farewell.data(), farewell.size(), MSG_NOSIGNAL | MSG_DONTWAIT);  // fits into an empty send buffer
  ::shutdown(fd, SHUT_WR);
  connection.refused = true;
  connection.since = now_ns();
  connection.said.clear();
}

void Listener::close() {
  sockets_.clear();
  reserve_.reset();
  for (PendingConnection& connection : pending_)
    if (!connection.refused) connection.fd.reset();
}

}  // namespace tutti
