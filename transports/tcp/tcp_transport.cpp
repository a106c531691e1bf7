#include "tcp_transport.h"

#include <algorithm>

namespace tutti::tcp {

Result<std::unique_ptr<TcpTransport>> TcpTransport::open(TcpOptions options) {
  if (!options.pool || options.connections < 1 || options.rank < 0 || options.rank >= options.size)
    return Status(Code::internal, "the tcp transport was opened with impossible options");
  const auto address = SocketAddress::parse(options.listen_address);
  if (!address.ok()) return address.status();
  // Tried now, when the user can still be told.
  if (!options.congestion.empty() && options.congestion != kSystemCongestion)
    if (const auto probe = listen_on(*address, 1); probe.ok())
      if (const Status status = set_congestion_control(probe->get(), options.congestion); !status.ok())
        return Status(status.code(), "TUTTI_TCP_CONGESTION: " + status.message());
  const auto secret = Secret::random();
  if (!secret.ok()) return secret.status();
  const Terms terms{options.context, *secret, options.rank,
                    static_cast<uint32_t>(options.connections) * static_cast<uint32_t>(kLinkUses)};
  auto acceptor = TcpAcceptor::listen(*address, terms, "communicator " + options.name, options.log);
  if (!acceptor.ok()) return acceptor.status();
  return std::unique_ptr<TcpTransport>(new TcpTransport(std::move(options), std::move(*acceptor), terms.secret));
}

TcpTransport::TcpTransport(TcpOptions options, TcpAcceptor acceptor, const Secret& secret)
    : options_(std::move(options)),
      acceptor_(std::move(acceptor)),
      secret_(secret),
      peers_(static_cast<size_t>(options_.size)),
      rank_names_(peers_.size()),
      links_(kLinkUses * peers_.size()) {}

std::string TcpTransport::address() const { return to_text({acceptor_.address(), secret_}); }

Status TcpTransport::set_peers(const std::vector<std::string>& addresses, std::vector<std::string> rank_names) {
  if (addresses.size() != peers_.size() || rank_names.size() != peers_.size())
    return Status(Code::internal, "the tcp transport was given the addresses of another number of ranks");
  for (size_t i = 0; i < addresses.size(); ++i) {
    if (addresses[i].empty()) continue;
    auto endpoint = parse_endpoint(addresses[i]);
    if (!endpoint.ok()) return Status(endpoint.status().code(), rank_names[i] + " published " + endpoint.status().message());
    peers_[i] = *endpoint;
  }
  rank_names_ = std::move(rank_names);
  return {};
}

TcpLink::Setup TcpTransport::setup_for(int peer, LinkUse use) const {
  TcpLink::Setup setup;
  setup.peer_name = rank_names_[static_cast<size_t>(peer)];
  setup.connections = static_cast<uint32_t>(options_.connections);
  setup.send_buffer = options_.send_buffer;
  setup.congestion = options_.congestion;
  const auto& endpoint = peers_[static_cast<size_t>(peer)];
  if (!endpoint) {
    setup.broken = Status(Code::unreachable, setup.peer_name + " published no TCP address");
  } else if (peer == options_.rank) {
    setup.broken = Status(Code::internal, "a rank has no link to itself");
  } else if (peer > options_.rank) {
    Hello hello;
    hello.context = options_.context;
    hello.secret = endpoint->secret;
    hello.rank = options_.rank;
    for (uint32_t i = 0; i < setup.connections; ++i) {
      hello.connection = static_cast<uint32_t>(use) * setup.connections + i;
      setup.connectors.emplace_back(*endpoint, hello);
    }
  }
  return setup;
}

TcpLink& TcpTransport::link_to(int peer, LinkUse use) {
  auto& link = links_[static_cast<size_t>(use) * peers_.size() + static_cast<size_t>(peer)];
  if (!link) link = std::make_unique<TcpLink>(*this, *options_.pool, setup_for(peer, use));
  return *link;
}

void TcpTransport::watch(TcpLink& link) {
  if (std::find(watched_.begin(), watched_.end(), &link) == watched_.end()) watched_.push_back(&link);
}

void TcpTransport::await_input(TcpLink& link) {
  if (std::find(awaiting_.begin(), awaiting_.end(), &link) == awaiting_.end()) awaiting_.push_back(&link);
}

Status TcpTransport::accept() {
  auto arrivals = acceptor_.poll();
  if (!arrivals.ok()) return arrivals.status();
  const auto each = static_cast<uint32_t>(options_.connections);  // of a link
  for (Arrival& arrival : *arrivals) {
    TcpLink& link = link_to(arrival.rank, static_cast<LinkUse>(arrival.connection / each));
    if (!link.accepted(arrival.connection % each, std::move(arrival.fd)))
      options_.log.warn("communicator " + options_.name + ": " + rank_names_[static_cast<size_t>(arrival.rank)] +
                        " connected once more; the new connection was closed");
  }
  return {};
}

Status TcpTransport::progress() {
  awaiting_.clear();
  if (watched_.empty()) return {};
  if (std::any_of(watched_.begin(), watched_.end(), [](const TcpLink* link) { return link->awaits_accept(); }))
    if (Status status = accept(); !status.ok()) return status;
  Status status;
  for (TcpLink* link : watched_) {
    link->move();
    if (status.ok()) status = link->error();
  }
  std::erase_if(watched_, [](const TcpLink* link) { return link->at_rest(); });
  return status;
}

// Links that are being opened have other descriptors, and a dead one has none: then the engine asks by itself.
bool TcpTransport::awaited(std::vector<pollfd>& descriptors) {
  for (const TcpLink* link : awaiting_) {
    if (!link->ready()) return false;
    descriptors.push_back(link->awaited_input());
  }
  for (const TcpLink* link : watched_) {
    if (!link->ready()) return false;
    link->awaited_output(descriptors);
  }
  return !descriptors.empty();
}

bool TcpTransport::drained() {
  return std::all_of(links_.begin(), links_.end(), [](const auto& link) { return !link || link->drained(); });
}

size_t TcpTransport::memory_bytes() const {
  size_t bytes = sizeof *this + peers_.capacity() * sizeof(peers_[0]) + links_.capacity() * sizeof(links_[0]);
  for (const auto& link : links_) bytes += link ? link->memory_bytes() : 0;
  return bytes;
}

uint64_t TcpTransport::sent_bytes() const {
  uint64_t bytes = 0;
  for (const auto& link : links_) bytes += link ? link->sent_bytes() : 0;
  return bytes;
}

}  // namespace tutti::tcp
