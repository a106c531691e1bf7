// The threads that run rendezvous servers, and the text that says where a rendezvous is.
#include <sys/eventfd.h>
#include <unistd.h>

#include "host_identity.h"
#include "quiet_thread.h"
#include "rendezvous_rounds.h"
#include "resource_limits.h"
#include "words.h"

namespace tutti {
namespace {

constexpr std::string_view kPointMark = "tutti1";
constexpr size_t kMostAddresses = 4;

}  // namespace

std::string encode(const RendezvousPoint& point) {
  std::string text(kPointMark);
  text += ';' + point.secret.hex();
  for (const SocketAddress& address : point.addresses) text += ';' + address.to_string();
  return text;
}

Result<RendezvousPoint> decode_rendezvous_point(std::string_view text) {
  const Status bad(Code::invalid_argument, in_quotes(text) + " does not say where a rendezvous is");
  const std::vector<std::string_view> parts = split(text, ';');
  if (parts.size() < 3 || parts.size() > 2 + kMostAddresses || parts[0] != kPointMark) return bad;
  RendezvousPoint point;
  const auto secret = Secret::from_hex(parts[1]);
  if (!secret) return bad;
  point.secret = *secret;
  for (size_t i = 2; i < parts.size(); ++i) {
    const auto address = SocketAddress::parse(parts[i]);
    if (!address.ok()) return address.status();
    if (address->port() == 0 && !address->is_unix()) return bad;
    point.addresses.push_back(*address);
  }
  const bool one = point.addresses.size() == 1;
  for (const SocketAddress& address : point.addresses)  // nobody knows the names of unix sockets
    if (one || !address.is_unix()) point.shown += (point.shown.empty() ? "" : " or ") + address.to_string();
  return point;
}

Result<OwnedFd> listen_everywhere(uint16_t port) {
  auto both = listen_on(SocketAddress::any(true, port), kRendezvousBacklog);
  // A kernel without IPv6.
  return both.ok() ? std::move(both) : listen_on(SocketAddress::any(false, port), kRendezvousBacklog);
}

std::string this_process() {
  return "host " + printable(host_name()).substr(0, kLongestWho / 2) + ", pid " + std::to_string(::getpid());
}

Result<std::unique_ptr<RendezvousServer>> RendezvousServer::start(std::vector<OwnedFd> listeners, RendezvousOptions options) {
  std::unique_ptr<RendezvousServer> server(new RendezvousServer);
  for (const OwnedFd& listener : listeners) {
    const auto bound = local_address_of(listener.get());
    if (!bound.ok()) return bound.status();
    if (&listener == &listeners.front() || bound->is_unix()) server->own_address_ = *bound;
  }
  if (server->own_address_.is_any()) {
    // A socket on [::] serves 127.0.0.1 too, whether or not the loopback interface has ::1.
    server->own_address_ = *SocketAddress::parse("127.0.0.1", server->own_address_.port());
  }
  server->shared_ = std::make_shared<Shared>();
  server->shared_->stop.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!server->shared_->stop) return no_descriptor("rank 0 cannot open its rendezvous", descriptors_for(options.size));
  auto rendezvous =
      std::make_shared<Rendezvous>(std::move(listeners), std::move(options), "rank 0 (" + this_process() + ")", server->shared_);
  auto thread = start_quiet_thread([rendezvous] { rendezvous->run(); }, "tutti-rendezvous");
  if (!thread.ok()) return thread.status();
  server->thread_ = std::move(*thread);
  return server;
}

RendezvousServer::~RendezvousServer() {
  if (!thread_.joinable()) return;
  ::eventfd_write(shared_->stop.get(), 1);
  thread_.join();
}

void RendezvousServer::give_up(const Status& why) {
  const std::lock_guard lock(shared_->mutex);
  shared_->given_up = why;
}

std::optional<SocketAddress> RendezvousServer::reached_at() const {
  const std::lock_guard lock(shared_->mutex);
  return shared_->reached_at;
}

Status start_detached_rendezvous(std::vector<OwnedFd> listeners, RendezvousOptions options) {
  auto rendezvous = std::make_shared<Rendezvous>(std::move(listeners), std::move(options),
                                           "the maker of the unique id (" + this_process() + ")", nullptr);
  auto thread = start_quiet_thread(
      [rendezvous = std::move(rendezvous)]() mutable {
        rendezvous->run();
        rendezvous.reset();
      },
      "tutti-rendezvous");
  if (!thread.ok()) return thread.status();
  thread->detach();
  return {};
}

}  // namespace tutti
