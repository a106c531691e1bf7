#include "tcp_acceptor.h"

#include <sys/socket.h>

#include <cerrno>

#include "clock.h"

namespace tutti::tcp {
namespace {

constexpr int kBacklog = 4096;    // the kernel lowers it to net.core.somaxconn
constexpr int kMaxWarnings = 16;  // a flood of strangers must not become a flood of lines

}  // namespace

TcpAcceptor::TcpAcceptor(OwnedFd fd, const SocketAddress& address, const Terms& terms, std::string who, const Log& log,
                         uint64_t patience_ns)
    : fd_(std::move(fd)), address_(address), terms_(terms), who_(std::move(who)), log_(log), patience_ns_(patience_ns) {}

Result<TcpAcceptor> TcpAcceptor::listen(const SocketAddress& address, const Terms& terms, std::string who, const Log& log,
                                        uint64_t patience_ns) {
  auto fd = listen_on(address, kBacklog);
  if (!fd.ok()) return fd.status();
  const auto bound = local_address_of(fd->get());
  if (!bound.ok()) return bound.status();
  return TcpAcceptor(std::move(*fd), *bound, terms, std::move(who), log, patience_ns);
}

Status TcpAcceptor::accept() {
  while (pending_.size() < kPending) {
    auto fd = accept_from(fd_.get());
    if (!fd.ok()) return fd.status();
    if (!*fd) break;
    pending_.push_back({std::move(*fd), now_ns()});
  }
  return {};
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

Result<std::vector<Arrival>> TcpAcceptor::poll() {
  const Status accepted = accept();  // even if it failed, those accepted before are heard
  std::vector<Arrival> arrivals;
  for (Pending& pending : pending_) {
    std::string why;
    const Verdict verdict = hear(pending, why);
    if (verdict == Verdict::refuse) refuse(pending, why);
    if (verdict != Verdict::welcome) continue;
    const auto hello = decode_hello({pending.bytes, pending.got});
    arrivals.push_back({hello->rank, hello->connection, std::move(pending.fd)});
  }
  std::erase_if(pending_, [](const Pending& pending) { return !pending.fd; });
  if (!accepted.ok() && arrivals.empty()) return accepted;
  return arrivals;
}

}  // namespace tutti::tcp
