#include "tcp_acceptor.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "clock.h"
#include "resource_limits.h"

namespace tutti::tcp {
namespace {

constexpr int kBacklog = 4096;    // the kernel lowers it to net.core.somaxconn
constexpr int kMaxWarnings = 16;  // a flood of strangers must not become a flood of lines
constexpr int kMostAccepted = 256;  // in one look, so that a flood of strangers does not hold up those who are already connected

bool is_shortage(int error) { return is_descriptor_shortage(error) || error == ENOBUFS || error == ENOMEM; }

OwnedFd open_reserve() { return OwnedFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

}  // namespace

TcpAcceptor::TcpAcceptor(OwnedFd fd, const SocketAddress& address, const Terms& terms, std::string who, const Log& log,
                         uint64_t patience_ns)
    : fd_(std::move(fd)), reserve_(open_reserve()), address_(address), terms_(terms), who_(std::move(who)), log_(log), patience_ns_(patience_ns) {}

Result<TcpAcceptor> TcpAcceptor::listen(const SocketAddress& address, const Terms& terms, std::string who, const Log& log,
                                        uint64_t patience_ns) {
  auto fd = listen_on(address, kBacklog);
  if (!fd.ok()) return fd.status();
  defer_accept(fd->get());
  const auto bound = local_address_of(fd->get());
  if (!bound.ok()) return bound.status();
  return TcpAcceptor(std::move(*fd), *bound, terms, std::move(who), log, patience_ns);
}

// Those who say hello with their connection never become pending.
Status TcpAcceptor::accept(Arrivals& arrivals) {
  if (!reserve_) reserve_ = open_reserve();
  for (int accepted = 0; accepted < kMostAccepted; ++accepted) {
    auto fd = accept_from(fd_.get());
    if (!fd.ok() && is_shortage(errno)) {
      if (!make_room(errno, arrivals)) return {};
      fd = accept_from(fd_.get());
      if (!fd.ok() && is_shortage(errno)) return {};
    }
    if (!fd.ok()) return fd.status();
    if (!*fd) return {};
    pending_.push_back({std::move(*fd), now_ns()});
    judge(pending_.back(), arrivals);
    if (!pending_.back().fd) {
      pending_.pop_back();
    } else if (pending_.size() > kPending || !reserve_) {
      drop_oldest("others came before it said hello", arrivals);
    }
    if (!reserve_) reserve_ = open_reserve();
  }
  return {};
}

void TcpAcceptor::drop_oldest(const std::string& why, Arrivals& arrivals) {
  judge(pending_.front(), arrivals);
  if (pending_.front().fd) refuse(pending_.front(), why);
  pending_.pop_front();
}

// The system has no descriptor or no memory for one more connection.  False if there is nothing to give up for it: it waits.
bool TcpAcceptor::make_room(int error, Arrivals& arrivals) {
  if (!told_of_shortage_)
    log_.warn(who_ + " has no room for one more connection (" + std::strerror(error) +
              "); connections wait until there is: raise the limit of descriptors (ulimit -n), or close some");
  told_of_shortage_ = true;
  if (!pending_.empty())
    drop_oldest("this process has no descriptor left for those who do not say hello", arrivals);
  else if (reserve_)
    reserve_.reset();
  else
    return false;
  return true;
}

TcpAcceptor::Verdict TcpAcceptor::hear(Pending& pending, std::string& why) const {
  const ssize_t n = ::recv(pending.fd.get(), pending.bytes + pending.got, sizeof pending.bytes - pending.got, MSG_DONTWAIT);
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
    why = "it closed before it said hello";
    return Verdict::refuse;
  }
  if (n > 0) pending.got += static_cast<size_t>(n);
  if (!may_become_hello({pending.bytes, pending.got})) {
    why = "it does not speak this version of Tutti's protocol";
    return Verdict::refuse;
  }
  if (const auto hello = decode_hello({pending.bytes, pending.got})) {
    why = objection(*hello, terms_);
    return why.empty() ? Verdict::welcome : Verdict::refuse;
  }
  if (now_ns() - pending.since_ns < patience_ns_) return Verdict::wait;
  why = "it did not say hello in time";
  return Verdict::refuse;
}

void TcpAcceptor::refuse(Pending& pending, const std::string& why) {
  const OwnedFd fd = std::move(pending.fd);
  if (warnings_ == kMaxWarnings) return;
  const auto peer = peer_address_of(fd.get());
  log_.warn(who_ + " refused a TCP connection from " + (peer.ok() ? peer->to_string() : "somewhere") + " to " +
            address_.to_string() + ": " + why + (++warnings_ == kMaxWarnings ? " (further refusals are not logged)" : ""));
}

// Makes an arrival of it, or leaves it without a descriptor if it is refused.
void TcpAcceptor::judge(Pending& pending, Arrivals& arrivals) {
  std::string why;
  const Verdict verdict = hear(pending, why);
  if (verdict == Verdict::refuse) refuse(pending, why);
  if (verdict != Verdict::welcome) return;
  const auto hello = decode_hello({pending.bytes, pending.got});
  arrivals.push_back({hello->rank, hello->connection, std::move(pending.fd)});
}

Result<std::vector<Arrival>> TcpAcceptor::poll() {
  Arrivals arrivals;
  for (Pending& pending : pending_) judge(pending, arrivals);
  std::erase_if(pending_, [](const Pending& pending) { return !pending.fd; });
  const Status accepted = accept(arrivals);
  if (!accepted.ok() && arrivals.empty()) return accepted;
  return arrivals;
}

}  // namespace tutti::tcp
