#include "ucx_transport.h"

#include <algorithm>
#include <new>
#include <utility>

#include "clock.h"

namespace tutti::ucx {
namespace {

constexpr uint64_t kPatienceNs = 2 * kSecond;  // for operations to end that were told to
constexpr uint64_t kMomentNs = 20 * kMillisecond;

}  // namespace

Result<std::unique_ptr<UcxTransport>> UcxTransport::open(UcxOptions options) {
  if (!options.pool || options.rank < 0 || options.rank >= options.size || options.size > static_cast<int>(kMostRanks))
    return Status(Code::internal, "the ucx transport was opened with impossible options");
  const auto secret = Secret::random();
  if (!secret.ok()) return secret.status();
  std::unique_ptr<UcxTransport> made(new UcxTransport(std::move(options)));
  made->terms_.secret = *secret;
  auto worker = UcxWorker::open(on_message, made.get());
  if (!worker.ok()) return worker.status();
  made->worker_ = std::move(*worker);
  auto address = made->worker_->address();
  if (!address.ok()) return address.status();
  made->address_ = to_text({std::move(*address), *secret});
  return made;
}

UcxTransport::UcxTransport(UcxOptions options)
    : options_(std::move(options)),
      terms_{{}, options_.rank, options_.size},
      endpoints_(static_cast<size_t>(options_.size)),
      links_(kLinkUses * endpoints_.size()) {}

// False: it is not over in time.
template <class Over>
bool UcxTransport::drive_until(Over over, uint64_t patience_ns) {
  const uint64_t start = now_ns();
  while (!over()) {
    if (now_ns() - start > patience_ns) return false;
    worker_->progress();
  }
  return true;
}

// Where a communicator has failed, ranks may still be connecting (see UcxLink::connecting).  Those that connect to this
// one do so without its knowledge; they get a moment for it.
UcxTransport::~UcxTransport() {
  const auto all_connected = [this] {
    return std::none_of(links_.begin(), links_.end(), [](const auto& link) { return link && link->connecting(); });
  };
  if (given_up_ && worker_->is_open() && !worker_->is_copy()) {
    (void)drive_until([] { return false; }, kMomentNs);
    (void)drive_until(all_connected, kPatienceNs);
  }
  close();
}

Status UcxTransport::set_peers(const std::vector<std::string>& addresses, const std::vector<std::string>& rank_names) {
  if (addresses.size() != endpoints_.size() || rank_names.size() != endpoints_.size())
    return Status(Code::internal, "the ucx transport was given the addresses of another number of ranks");
  for (size_t i = 0; i < addresses.size(); ++i) {
    const std::string& name = rank_names[i];
    Address address;
    Status broken;
    if (static_cast<int>(i) == options_.rank) {
      broken = Status(Code::internal, "a rank has no link to itself");
    } else if (addresses[i].empty()) {
      broken = Status(Code::unreachable, name + " published no UCX address");
    } else {
      auto parsed = parse_address(addresses[i]);
      if (!parsed.ok()) return Status(parsed.status().code(), name + " published " + parsed.status().message());
      address = std::move(*parsed);
    }
    endpoints_[i] = std::make_unique<UcxEndpoint>(*worker_, name, std::move(address), std::move(broken));
  }
  return {};
}

UcxLink& UcxTransport::link_to(int peer, LinkUse use) {
  auto& link = links_[static_cast<size_t>(use) * endpoints_.size() + static_cast<size_t>(peer)];
  if (!link)
    link = std::make_unique<UcxLink>(*this, *worker_, *endpoints_[static_cast<size_t>(peer)], *options_.pool, options_.rank, use);
  return *link;
}

void UcxTransport::watch(UcxLink& link) {
  if (std::find(watched_.begin(), watched_.end(), &link) == watched_.end()) watched_.push_back(&link);
}

// ---- what arrives ----

// UCX is written in C: no exception may leave.
ucs_status_t UcxTransport::on_message(void* self, const void* header, size_t header_bytes, void* data, size_t bytes,
                                      const ucp_am_recv_param_t* param) {
  auto& transport = *static_cast<UcxTransport*>(self);
  try {
    const bool kept = transport.arrived({static_cast<const std::byte*>(header), header_bytes}, data, bytes,
                                        (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) != 0);
    return kept ? UCS_INPROGRESS : UCS_OK;
  } catch (const std::bad_alloc&) {
    transport.trouble_ = transport.no_memory_;
    return UCS_OK;
  }
}

bool UcxTransport::arrived(std::span<const std::byte> bytes, void* data, size_t length, bool to_be_fetched) {
  const auto header = decode_header(bytes);
  const std::string_view why = header ? objection(*header, terms_) : "it does not speak this version of Tutti's protocol";
  if (!why.empty() || !endpoints_[header->rank]) {
    if (!std::exchange(logged_stranger_, true))
      options_.log.warn("communicator " + options_.name + " ignores a message by UCX: " +
                        (why.empty() ? "it came before the ranks knew each other" : std::string(why)));
    return false;
  }
  return link_to(header->rank, header->use).arrived(*header, data, length, to_be_fetched);
}

// ---- driving ----

Status UcxTransport::progress() {
  if (given_up_ || !worker_->is_open()) return {};
  const bool caught_up = worker_->progress();
  Status status = trouble_;
  for (UcxLink* link : watched_) {
    link->move(caught_up);
    if (status.ok()) status = link->error();
  }
  std::erase_if(watched_, [](const UcxLink* link) { return link->at_rest(); });
  return status;
}

// Everything that a link waits for arrives at the worker.
bool UcxTransport::awaited(std::vector<pollfd>& descriptors) {
  const bool any_dead = std::any_of(watched_.begin(), watched_.end(), [](const UcxLink* link) { return !link->error().ok(); });
  return !given_up_ && worker_->is_open() && !any_dead && worker_->arm(descriptors);
}

bool UcxTransport::drained() {
  const auto all = [this] {
    return std::all_of(links_.begin(), links_.end(), [](const auto& link) { return !link || link->drained(); });
  };
  if (given_up_ || all()) return true;
  (void)progress();  // nobody else does
  return all();
}

// ---- ends ----

void UcxTransport::hang_up(UcxEndpoint& endpoint) {
  if (!worker_->is_open()) return;
  endpoint.hang_up();
  const auto over = [&] {
    bool under_way = !endpoint.hung_up();
    for (const auto& link : links_)
      if (link && &link->endpoint() == &endpoint) under_way |= link->under_way();
    return !under_way;
  };
  if (!drive_until(over, kPatienceNs)) close();
  for (const auto& link : links_)
    if (link && &link->endpoint() == &endpoint) link->return_slots();
}

// No endpoint is closed without need: peers that are still connecting had better not see that.
void UcxTransport::give_up() {
  if (worker_->is_copy()) return;
  given_up_ = true;
  for (const auto& link : links_)
    if (link && link->fetching() && link->error().ok()) hang_up(link->endpoint());
}

// Closing a connection with something unread would make the system reset it, and the peer would lose what it has not
// read.  So all is read first.  The pool may be gone by now.
void UcxTransport::close() {
  if (!worker_ || !worker_->is_open()) return;
  if (worker_->is_copy()) return worker_->close();
  if (!given_up_) (void)worker_->progress();
  for (const auto& endpoint : endpoints_)
    if (endpoint) endpoint->hang_up();
  const auto over = [&] {
    bool under_way = false;
    for (const auto& endpoint : endpoints_) under_way |= endpoint && !endpoint->hung_up();
    for (const auto& link : links_) under_way |= link && link->under_way();
    return !under_way;
  };
  (void)drive_until(over, kPatienceNs);
  for (const auto& link : links_)
    if (link) link->forget();
  worker_->close();
}

size_t UcxTransport::memory_bytes() const {
  size_t bytes = sizeof *this + links_.capacity() * sizeof(links_[0]) + endpoints_.capacity() * sizeof(endpoints_[0]);
  for (const auto& endpoint : endpoints_) bytes += endpoint ? endpoint->memory_bytes() : 0;
  for (const auto& link : links_) bytes += link ? link->memory_bytes() : 0;
  return bytes;
}

uint64_t UcxTransport::sent_bytes() const {
  uint64_t bytes = 0;
  for (const auto& link : links_) bytes += link ? link->sent_bytes() : 0;
  return bytes;
}

}  // namespace tutti::ucx
