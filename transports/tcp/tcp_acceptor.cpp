#include "tcp_acceptor.h"

#include <cstring>
#include <span>
#include <utility>

#include "net_address.h"

namespace tutti::tcp {
namespace {

constexpr int kBacklog = 4096;  // the kernel lowers it to net.core.somaxconn

Listener make_listener(OwnedFd fd, const std::string& who, const Log& log, uint64_t patience_ns) {
  std::vector<OwnedFd> sockets;
  sockets.push_back(std::move(fd));
  Listener::Options options;
  options.name = who;
  options.longest_hello = sizeof(Hello);
  options.most_pending = TcpAcceptor::kPending;
  options.patience_ns = patience_ns;
  options.log = log;
  return Listener(std::move(sockets), std::move(options));
}

}  // namespace

TcpAcceptor::TcpAcceptor(OwnedFd fd, const SocketAddress& address, const Terms& terms, std::string who, const Log& log,
                         uint64_t patience_ns)
    : address_(address),
      terms_(terms),
      who_(std::move(who)),
      log_(log),
      listener_(make_listener(std::move(fd), who_, log, patience_ns)) {}

Result<TcpAcceptor> TcpAcceptor::listen(const SocketAddress& address, const Terms& terms, std::string who, const Log& log,
                                        uint64_t patience_ns) {
  auto fd = listen_on(address, kBacklog);
  if (!fd.ok()) return fd.status();
  defer_accept(fd->get());
  const auto bound = local_address_of(fd->get());
  if (!bound.ok()) return bound.status();
  return TcpAcceptor(std::move(*fd), *bound, terms, std::move(who), log, patience_ns);
}

Verdict TcpAcceptor::judge(PendingConnection& connection) {
  const auto said = std::as_bytes(std::span(connection.said));
  if (!may_become_hello(said)) return Verdict::refused("it does not speak this version of Tutti's protocol");
  const auto hello = decode_hello(said);
  if (!hello) return {};
  if (const std::string_view why = objection(*hello, terms_); !why.empty()) return Verdict::refused(std::string(why));
  arrivals_.push_back({hello->rank, hello->connection, std::move(connection.fd)});
  return Verdict::admitted();
}

void TcpAcceptor::starved(int error) {
  if (std::exchange(logged_shortage_, true)) return;
  log_.warn(who_ + " has no room for one more connection (" + std::strerror(error) +
            "); connections wait until there is: raise the limit of descriptors (ulimit -n), or close some");
}

Result<std::vector<Arrival>> TcpAcceptor::poll() {
  const Status served = listener_.serve(*this);
  auto arrivals = std::exchange(arrivals_, {});
  if (!served.ok() && arrivals.empty()) return served;
  return arrivals;
}

}  // namespace tutti::tcp
