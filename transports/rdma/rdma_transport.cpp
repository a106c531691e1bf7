#include "rdma_transport.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace tutti::rdma {
namespace {

// Completions that one link may have at once, when all that is posted fails.
constexpr int kCompletionsOfALink = static_cast<int>(RdmaLink::kReceives + 2 * RdmaLink::kSends);
constexpr int kFirstCapacity = 8 * kCompletionsOfALink;

}  // namespace

Result<std::unique_ptr<RdmaTransport>> RdmaTransport::open(RdmaOptions options, std::shared_ptr<Device> device, const Port& port,
                                                           const Gid& gid) {
  const auto size = static_cast<size_t>(options.size);
  if (!options.pool || options.memory.empty() || options.serves.size() != size || options.message_pools.size() != size ||
      options.rank < 0 || options.rank >= options.size)
    return Status(Code::internal, "the rdma transport was opened with impossible options");
  const auto address = SocketAddress::parse(options.listen_address);
  if (!address.ok()) return address.status();
  const auto secret = Secret::random();
  if (!secret.ok()) return secret.status();
  const tcp::Terms terms{options.context, *secret, options.rank, static_cast<uint32_t>(kLinkUses)};
  auto acceptor = tcp::TcpAcceptor::listen(*address, terms, "communicator " + options.name, options.log);
  if (!acceptor.ok()) return acceptor.status();
  std::unique_ptr<RdmaTransport> transport(
      new RdmaTransport(std::move(options), std::move(*acceptor), *secret, std::move(device), port, gid));
  if (Status status = transport->prepare(); !status.ok()) return status;
  return transport;
}

RdmaTransport::RdmaTransport(RdmaOptions options, tcp::TcpAcceptor acceptor, const Secret& secret, std::shared_ptr<Device> device,
                             const Port& port, const Gid& gid)
    : options_(std::move(options)),
      acceptor_(std::move(acceptor)),
      secret_(secret),
      device_(std::move(device)),
      port_(port),
      gid_(gid),
      peers_(static_cast<size_t>(options_.size)),
      rank_names_(peers_.size()),
      landing_(kLinkUses * peers_.size()),
      links_(kLinkUses * peers_.size()) {}

RdmaTransport::~RdmaTransport() { links_.clear(); }  // queue pairs before what they use

Status RdmaTransport::prepare() {
  auto region =
      device_->register_memory(options_.memory.data(), options_.memory.size(), IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
  if (!region.ok()) return region.status();
  region_ = std::move(*region);
  channel_ = owned(verbs().create_comp_channel(device_->context()), verbs().destroy_comp_channel);
  if (!channel_) return system_error("making a completion channel of " + port_.name());
  const int flags = ::fcntl(channel_->fd, F_GETFL);
  if (flags < 0 || ::fcntl(channel_->fd, F_SETFL, flags | O_NONBLOCK) != 0)
    return system_error("making a completion channel of " + port_.name());
  capacity_ = std::min(kFirstCapacity, device_->limits().max_cqe);
  completions_ = owned(verbs().create_cq(device_->context(), capacity_, nullptr, channel_.get(), 0), verbs().destroy_cq);
  if (!completions_) return system_error("making a completion queue of " + port_.name());
  for (size_t peer = 0; peer < peers_.size(); ++peer)
    for (const LinkUse use : {LinkUse::collectives, LinkUse::messages})
      for (uint32_t i = 0; options_.serves[peer] && i < landing_slots(use); ++i) {
        SlotPool& pool = use == LinkUse::collectives ? *options_.pool : *options_.message_pools[peer];
        const Slot slot = pool.set_aside();
        if (!slot) return Status(Code::internal, "there are too few slots for messages to land in");
        landing_[static_cast<size_t>(use) * peers_.size() + peer].push_back(slot);
      }
  return {};
}

Status RdmaTransport::room_for_link() {
  const int needed = static_cast<int>(connected_ + 1) * kCompletionsOfALink, most = device_->limits().max_cqe;
  if (needed > capacity_) {
    const int wanted = std::min(std::max(needed, 2 * capacity_), most);
    if (wanted < needed)
      return Status(Code::unsupported, port_.name() + " has completion queues of " + std::to_string(most) +
                                           " entries at most, too few for connections to " + std::to_string(connected_ + 1) +
                                           " peers; TUTTI_TRANSPORT=^rdma does without");
    if (const int error = verbs().resize_cq(completions_.get(), wanted); error != 0) {
      errno = error;
      return system_error("enlarging the completion queue of " + port_.name());
    }
    capacity_ = wanted;
  }
  ++connected_;
  return {};
}

// Packets of the smaller size are used, which both can.
void RdmaTransport::warn_of_mtu(const std::string& peer_name, ibv_mtu theirs) {
  if (std::exchange(warned_of_mtu_, true)) return;
  const auto bytes = [](ibv_mtu mtu) { return std::to_string(bytes_of(mtu)); };
  options_.log.warn("communicator " + options_.name + ": this rank's " + port_.name() + " has packets of " + bytes(port_.mtu) +
                    " bytes and " + peer_name + " packets of " + bytes(theirs) +
                    "; the smaller are used, which takes more of the " +
                    "device; give all network interfaces of the fabric the same MTU (ip link set … mtu …)");
}

std::string RdmaTransport::address() const { return to_text(tcp::Endpoint{acceptor_.address(), secret_}); }

Status RdmaTransport::set_peers(const std::vector<std::string>& addresses, std::vector<std::string> rank_names) {
  if (addresses.size() != peers_.size() || rank_names.size() != peers_.size())
    return Status(Code::internal, "the rdma transport was given the addresses of another number of ranks");
  for (size_t i = 0; i < addresses.size(); ++i) {
    if (addresses[i].empty()) continue;
    auto endpoint = tcp::parse_endpoint(addresses[i]);
    if (!endpoint.ok()) return Status(endpoint.status().code(), rank_names[i] + " published " + endpoint.status().message());
    peers_[i] = *endpoint;
  }
  rank_names_ = std::move(rank_names);
  return {};
}

RdmaLink::Setup RdmaTransport::setup_for(int peer, LinkUse use) {
  RdmaLink::Setup setup;
  setup.number = static_cast<uint32_t>(static_cast<size_t>(use) * peers_.size() + static_cast<size_t>(peer));
  setup.peer_name = rank_names_[static_cast<size_t>(peer)];
  const auto& endpoint = peers_[static_cast<size_t>(peer)];
  if (!endpoint) {
    setup.broken = Status(Code::unreachable, setup.peer_name + " published no RDMA address");
    return setup;
  }
  if (peer == options_.rank) {
    setup.broken = Status(Code::internal, "a rank has no link to itself");
    return setup;
  }
  setup.landing = std::move(landing_[setup.number]);
  if (peer > options_.rank) {
    tcp::Hello hello;
    hello.context = options_.context;
    hello.secret = endpoint->secret;
    hello.rank = options_.rank;
    hello.connection = static_cast<uint32_t>(use);
    setup.connector.emplace(*endpoint, hello);
  }
  return setup;
}

RdmaLink& RdmaTransport::link_to(int peer, LinkUse use) {
  auto& link = links_[static_cast<size_t>(use) * peers_.size() + static_cast<size_t>(peer)];
  if (!link) link = std::make_unique<RdmaLink>(*this, setup_for(peer, use));
  return *link;
}

void RdmaTransport::watch(RdmaLink& link) {
  if (std::find(watched_.begin(), watched_.end(), &link) == watched_.end()) watched_.push_back(&link);
}

Status RdmaTransport::accept() {
  auto arrivals = acceptor_.poll();
  if (!arrivals.ok()) return arrivals.status();
  for (tcp::Arrival& arrival : *arrivals) {
    RdmaLink& link = link_to(arrival.rank, static_cast<LinkUse>(arrival.connection));
    if (!link.accepted(std::move(arrival.fd)))
      options_.log.warn("communicator " + options_.name + ": " + rank_names_[static_cast<size_t>(arrival.rank)] +
                        " connected once more; the new connection was closed");
  }
  return {};
}

Status RdmaTransport::poll() {
  ibv_wc completions[32];
  int n = 0;
  do {
    n = ibv_poll_cq(completions_.get(), static_cast<int>(std::size(completions)), completions);
    for (int i = 0; i < n; ++i) {
      const size_t number = completions[i].wr_id >> 32;
      if (number < links_.size() && links_[number]) links_[number]->completed(completions[i]);
    }
  } while (n == static_cast<int>(std::size(completions)));
  return n >= 0 ? Status() : Status(Code::system, "the completion queue of " + port_.name() + " has failed");
}

Status RdmaTransport::progress() {
  Status status = poll();
  if (watched_.empty()) return status;
  if (std::any_of(watched_.begin(), watched_.end(), [](const RdmaLink* link) { return link->awaits_accept(); }))
    if (Status accepted = accept(); !accepted.ok()) return accepted;
  const std::vector<RdmaLink*> watched = watched_;  // a link that dies meanwhile is watched again
  for (RdmaLink* link : watched) {
    link->move();
    if (status.ok() && !link->at_rest()) status = link->error();
  }
  std::erase_if(watched_, [](const RdmaLink* link) { return link->at_rest(); });
  return status;
}

// The channel tells once of the first completion after it was armed.  What came before is found by one more look.
bool RdmaTransport::awaited(std::vector<pollfd>& descriptors) {
  if (!watched_.empty()) return false;  // these wait for sockets, or are dead
  if (Status status = device_->state(); !status.ok()) {
    for (const auto& link : links_)
      if (link) link->fail(status);
    return false;
  }
  ibv_cq* told = nullptr;
  void* context = nullptr;
  while (verbs().get_cq_event(channel_.get(), &told, &context) == 0) {
    verbs().ack_cq_events(told, 1);
    armed_ = false;
  }
  if (!armed_) {
    if (ibv_req_notify_cq(completions_.get(), 0) != 0) return false;
    armed_ = true;
    return false;  // the engine asks everything once more before it sleeps
  }
  descriptors.push_back({channel_->fd, POLLIN, 0});
  descriptors.push_back({device_->context()->async_fd, POLLIN, 0});
  return true;
}

bool RdmaTransport::drained() {
  (void)poll();
  return std::all_of(links_.begin(), links_.end(), [](const auto& link) { return !link || link->drained(); });
}

size_t RdmaTransport::memory_bytes() const {
  size_t bytes = sizeof *this + peers_.capacity() * sizeof(peers_[0]) + links_.capacity() * sizeof(links_[0]) +
                 static_cast<size_t>(capacity_) * sizeof(ibv_wc);
  for (const auto& slots : landing_) bytes += slots.size() * options_.pool->slot_bytes();
  for (const auto& link : links_) bytes += link ? link->memory_bytes() : 0;
  return bytes;
}

uint64_t RdmaTransport::sent_bytes() const {
  uint64_t bytes = 0;
  for (const auto& link : links_) bytes += link ? link->sent_bytes() : 0;
  return bytes;
}

Counters RdmaTransport::counters() const {
  Counters sum;
  for (const auto& link : links_) {
    if (!link) continue;
    const Counters& counters = link->counters();
    sum.messages += counters.messages;
    sum.writes += counters.writes;
    sum.credit_frames += counters.credit_frames;
    sum.completions += counters.completions;
    sum.copied_bytes += counters.copied_bytes;
  }
  return sum;
}

}  // namespace tutti::rdma
