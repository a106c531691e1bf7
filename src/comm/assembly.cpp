#include "assembly.h"

#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <optional>
#include <random>

#include "arena_pool.h"
#include "bytes.h"
#include "connectivity.h"
#include "cores.h"
#include "host_identity.h"
#include "introduction.h"
#include "local_arena.h"
#include "locality.h"
#include "net_address.h"
#include "private_memory.h"
#include "registry.h"
#include "resource_limits.h"
#include "topology.h"

namespace tutti {
namespace {

// Bytes that count as near to a core: at least those of its own cache, and a fair part of the last one.  A virtual
// machine may name the whole of that, although others share it.
constexpr long kOwnCache = 256 << 10;
constexpr uint64_t kCacheShare = 1 << 20;

uint64_t random_number() {
  std::random_device device;
  return static_cast<uint64_t>(device()) << 32 | device();
}

}  // namespace

std::shared_ptr<LocalArena> make_local_arena() { return std::make_shared<LocalArena>(); }

std::shared_ptr<Bootstrap> bootstrap_alone(uint64_t deadline) {
  return std::make_shared<ExchangeOnly>(
      [](const std::string& mine) -> Result<std::vector<std::string>> { return std::vector<std::string>{mine}; }, deadline);
}

AssemblyOptions options_of_child(const Communicator& parent, int rank, int size, const std::string& name) {
  const CommunicatorParts& parts = parent.parts();
  AssemblyOptions options;
  options.rank = rank;
  options.size = size;
  options.name = parts.name + name;
  options.settings = parts.settings;
  options.settings.timeout_ns = parts.timeout_ns;
  options.local_end = parts.local_end;
  options.domain = parts.domain;
  options.tuning = parent.tuning();
  return options;
}

namespace {

class Assembler {
 public:
  explicit Assembler(AssemblyOptions options) : options_(std::move(options)), parts_(std::make_unique<CommunicatorParts>()) {}

  // A failure at this rank is told to the others here, once.  They can still reach it: what it holds closes afterwards.
  Result<std::unique_ptr<Communicator>> run() {
    for (const auto step : {&Assembler::begin, &Assembler::open_log, &Assembler::introduce, &Assembler::share_memory,
                            &Assembler::open_others, &Assembler::watch_over, &Assembler::tune})
      if (Status status = (this->*step)(); !status.ok()) {
        if (ranks_.size() < static_cast<size_t>(options_.size)) log_warnings();  // one of them may say why
        return options_.bootstrap->fail(status);
      }
    return std::move(communicator_);
  }

 private:
  Status begin() {
    parts_->rank = options_.rank;
    parts_->size = options_.size;
    parts_->name = options_.name;
    parts_->local_end = options_.local_end;
    parts_->local_arena = options_.local_arena;
    parts_->domain = options_.domain ? options_.domain : std::make_shared<Domain>();
    return {};
  }

  // From here on, ranks also wait for each other in collectives.  There, the control tree tells them of failures.
  Status tune() {
    announce();
    communicator_ = std::make_unique<Communicator>(std::move(parts_));
    auto agreed = options_.tuning ? inherit_tuning(*communicator_, *options_.bootstrap, *options_.tuning)
                                  : agree_on_tuning(*communicator_, *options_.bootstrap);
    if (!agreed.ok()) {
      communicator_->parts().control->fail(-1, agreed.status());
      return agreed.status();
    }
    communicator_->tune(std::move(*agreed));
    return {};
  }

  Status open_log() {
    const Settings& settings = options_.settings;
    int fd = 2;
    OwnedFd& shared = parts_->domain->log_file;
    if (!settings.debug_file.empty()) {
      if (!options_.domain) {
        auto file = open_log_file(settings.debug_file, options_.rank);
        if (!file.ok()) return file.status();
        shared = std::move(*file);
      }
      fd = shared.get();
    }
    parts_->log = Log(settings.debug,
                      "tutti[" + std::to_string(options_.rank) + "/" + std::to_string(options_.size) + " " + host_name() + "]", fd);
    return {};
  }

  Status introduce() {
    Introduction mine;
    mine.host_id = host_id(options_.settings.host_id);
    mine.host = host_name();
    introduce_process(mine);
    mine.context = random_number();
    mine.cores = allowed_cores();
    mine.place = encode(locality_of(mine.cores));
    mine.warnings = hash_of_warnings();
    mine.wire = encode_wire_settings(options_.settings);
    if (Status status = make_cards(mine); !status.ok()) return status;
    auto all = options_.bootstrap->exchange(encode(mine));
    if (!all.ok()) return all.status();
    for (int rank = 0; rank < options_.size; ++rank) {
      auto introduction = decode_introduction((*all)[static_cast<size_t>(rank)], rank);
      if (!introduction.ok()) return introduction.status();
      parts_->rank_names.push_back("rank " + std::to_string(rank) + " (host " + introduction->host + ", pid " +
                                   std::to_string(introduction->pid) + ")");
      ranks_.push_back(std::move(*introduction));
    }
    parts_->context = ranks_[0].context;
    if (Status status = adopt_settings(); !status.ok()) return status;
    parts_->settings = options_.settings;
    parts_->timeout_ns = options_.settings.timeout_ns;
    make_team();
    share_cores();
    parts_->host_id = ranks_[static_cast<size_t>(options_.rank)].host_id;
    connectivity_.emplace(transport_kinds(), ranks_, parts_->rank_names);
    parts_->intra_host_streams = streams_inside();
    if (Status status = connectivity_->check(); !status.ok()) return status;
    if (const std::string warning = connectivity_->warning(); !warning.empty() && options_.rank == 0) parts_->log.warn(warning);
    return choose_address();
  }

  // Rank 0's settings hold where they shape what travels.
  Status adopt_settings() {
    std::vector<std::string> differences;
    if (options_.rank != 0)
      if (Status status = apply_wire_settings(ranks_[0].wire, options_.settings, differences); !status.ok()) return status;
    if (first_of_host([](const Introduction& i) { return i.warnings; }, 0)) log_warnings();
    if (first_of_host([](const Introduction& i) { return std::string_view(i.wire); }, 1))
      for (const auto& warning : differences) parts_->log.warn(warning);
    return {};
  }

  void log_warnings() const {
    for (const auto& warning : options_.warnings) parts_->log.warn(warning);
  }

  uint64_t hash_of_warnings() const {
    Hash hash;
    for (const auto& warning : options_.warnings) hash.add(warning).add(uint64_t{0});
    return options_.warnings.empty() ? 0 : std::max<uint64_t>(hash.value(), 1);
  }

  // No rank from `begin` on that stands before this one on its host says the same: a warning is logged once on each
  // host.
  template <class Says>
  bool first_of_host(Says says, int begin) const {
    const Introduction& me = ranks_[static_cast<size_t>(options_.rank)];
    for (int rank = begin; rank < options_.rank; ++rank)
      if (const Introduction& other = ranks_[static_cast<size_t>(rank)]; other.host_id == me.host_id && says(other) == says(me))
        return false;
    return true;
  }

  Status make_cards(Introduction& mine) {
    const CardTerms terms{options_.settings, options_.local_arena ? &options_.local_arena->memory() : nullptr, parts_->log};
    bool reaches_all = false;
    for (const TransportKind& kind : transport_kinds()) {
      cards_.emplace_back();
      if (reaches_all || !kind.built() || !options_.settings.transport.allows(kind.name)) continue;
      auto card = kind.card(terms);
      if (!card.ok()) return card.status();
      if (!*card) continue;
      reaches_all = (*card)->reaches_all;
      mine.cards.emplace(kind.name, (*card)->text);
      cards_.back() = std::move(*card);
    }
    if (!reaches_all) parts_->local_arena = nullptr;  // the ranks are threads, but are treated as processes
    return {};
  }

  void make_team() {
    std::vector<RankPlace> places;
    std::vector<std::string_view> hosts;
    for (const Introduction& rank : ranks_) {
      places.push_back({rank.host_id, decode_locality(rank.place)});
      hosts.push_back(rank.host);
    }
    parts_->team = team_of(places);
    if (options_.rank == 0 && parts_->log.enabled(LogLevel::info)) parts_->log.info(describe(parts_->team, hosts, places));
  }

  // Whether some ranks of one host share no memory.  All ranks get the same answer.
  bool streams_inside() const {
    for (const auto& members : parts_->team.ranks_by_host())
      for (const int rank : members)
        if (!share(members[0], rank)) return true;
    return false;
  }

  bool share(int a, int b) const { return a == b || connectivity_->share_memory(a, b); }

  // Makes the arena of the ranks that share memory with this one.  If there are none, it still holds this rank's slots.
  Status share_memory() {
    std::vector<int> places(static_cast<size_t>(options_.size), -1);
    int here = 0;
    for (int rank = 0; rank < options_.size; ++rank)
      if (share(rank, options_.rank)) places[static_cast<size_t>(rank)] = here++;
    const uint32_t most = connectivity_->most_sharing();  // all ranks choose the same size of slots
    const auto lanes = static_cast<uint32_t>(options_.settings.lanes);
    const PoolShape pool = pool_shape(options_.size, most, lanes, options_.settings.slot_bytes, most_put_peers());
    Opening opening = opening_of(connectivity_->sharing(options_.rank));
    opening.shape = {.ranks = static_cast<uint32_t>(here), .slots = pool.all_slots(most), .slot_bytes = pool.slot_bytes};
    opening.places = places;
    parts_->transport_of.assign(places.size(), nullptr);
    parts_->rank_transports.assign(places.size(), "self");
    auto arena = here > 1 ? open_sharing(std::move(opening)) : arena_alone(opening.shape);
    if (!arena.ok()) return arena.status();
    parts_->given_up = &arena->given_up();
    make_pools(*arena, pool, places);
    return {};
  }

  // All ranks get the same answer.
  uint32_t most_put_peers() const {
    for (size_t kind = 0; kind < cards_.size(); ++kind)
      if (transport_kinds()[kind].puts && connectivity_->needed(static_cast<int>(kind)))
        return static_cast<uint32_t>(options_.size - 1);
    return 0;
  }

  bool serves(int kind, int peer) const { return peer != options_.rank && connectivity_->between(peer, options_.rank) == kind; }

  bool puts(int peer) const {
    const int kind = peer == options_.rank ? -1 : connectivity_->between(peer, options_.rank);
    return kind >= 0 && transport_kinds()[static_cast<size_t>(kind)].puts;
  }

  Result<memory::Arena> arena_alone(const memory::ArenaShape& shape) {
    auto bytes = memory::private_memory(shape.bytes());
    if (!bytes.ok()) return bytes.status();
    if (!options_.domain) parts_->domain->memory = std::make_shared<FamilyMemory>(memory::Window());
    parts_->memory = *bytes;
    return memory::Arena(bytes->get(), shape);
  }

  Result<memory::Arena> open_sharing(Opening opening) {
    const int kind = connectivity_->sharing(options_.rank);
    auto opened = transport_kinds()[static_cast<size_t>(kind)].open(opening);
    if (!opened.ok()) return opened.status();
    parts_->memory = std::move(opened->memory);
    if (!options_.domain) parts_->domain->memory = std::make_shared<FamilyMemory>(std::move(opened->window));
    serve(kind, std::move(opened->transport));
    return *opened->arena;
  }

  void make_pools(const memory::Arena& arena, const PoolShape& pool, const std::vector<int>& places) {
    const int my_place = places[static_cast<size_t>(options_.rank)];
    const auto place = static_cast<uint32_t>(my_place);
    const memory::Heap* heap = &parts_->domain->memory->heap();
    slots_ = arena.all_slots();
    memory::ArenaPool::Part part{0, pool.collective_slots()};
    parts_->pool = std::make_unique<memory::ArenaPool>(arena, place, heap, part);
    for (int peer = 0; peer < options_.size; ++peer) {
      const int peer_place = places[static_cast<size_t>(peer)];
      const bool shares = peer_place >= 0 && peer_place != my_place;
      part = {part.first + part.count, shares || puts(peer) ? pool.peer_slots(puts(peer)) : 0};
      parts_->message_pools.push_back(part.count > 0 ? std::make_unique<memory::ArenaPool>(arena, place, heap, part) : nullptr);
    }
    const uint32_t here = arena.shape().ranks;
    if (static_cast<int>(here) != options_.size) return;
    parts_->arena = arena;
    parts_->board = std::make_unique<FlatBoard>(arena, place, here);
  }

  // Opens the kinds that share no memory, if any two ranks need them.  All ranks open the same.
  Status open_others() {
    for (size_t kind = 0; kind < cards_.size(); ++kind) {
      const auto number = static_cast<int>(kind);
      if (transport_kinds()[kind].shares_memory || !connectivity_->needed(number)) continue;
      auto opened = transport_kinds()[kind].open(opening_of(number));
      if (!opened.ok()) return opened.status();
      if (Status status = withdraw_cards(transport_kinds()[kind].name, opened->absent); !status.ok()) return status;
      if (opened->transport) serve(number, std::move(opened->transport));
    }
    return {};
  }

  // Ranks that cannot do what their cards of this kind say go on as if they had none.
  Status withdraw_cards(std::string_view kind, const std::vector<int>& absent) {
    bool any = false;
    for (const int rank : absent) {
      auto& cards = ranks_[static_cast<size_t>(rank)].cards;
      const auto card = cards.find(kind);
      if (card == cards.end()) continue;
      cards.erase(card);
      any = true;
    }
    if (!any) return {};
    connectivity_.emplace(transport_kinds(), ranks_, parts_->rank_names);
    return connectivity_->check();
  }

  // `kind` -1: only what does not depend on the kind.
  Opening opening_of(int kind) {
    Opening opening;
    opening.rank = options_.rank;
    opening.size = options_.size;
    opening.communicator = options_.name;
    opening.context = parts_->context;
    opening.rank_names = parts_->rank_names;
    opening.settings = &parts_->settings;
    opening.log = parts_->log;
    opening.process = options_.local_arena ? &options_.local_arena->memory() : nullptr;
    opening.window = options_.domain ? &options_.domain->memory->window() : nullptr;
    opening.pool = parts_->pool.get();
    for (const auto& pool : parts_->message_pools) opening.message_pools.push_back(pool.get());
    opening.address = address_;
    opening.within_one_host = parts_->team.hosts() == 1;
    opening.crowded = parts_->crowded;
    opening.place_on_host = place_on_host();
    opening.slots = slots_;
    opening.exchange = [this](const std::string& mine) { return options_.bootstrap->exchange(mine); };
    opening.wait = [this](std::span<pollfd> set, uint64_t until) { return await(*options_.bootstrap, set, until); };
    opening.deadline = options_.bootstrap->deadline();
    if (kind < 0) return opening;
    opening.card = cards_[static_cast<size_t>(kind)];
    for (const Introduction& rank : ranks_) {
      const auto card = rank.cards.find(transport_kinds()[static_cast<size_t>(kind)].name);
      opening.cards.push_back(card != rank.cards.end() ? std::string_view(card->second) : std::string_view());
    }
    for (int rank = 0; rank < options_.size; ++rank) opening.serves.push_back(serves(kind, rank));
    return opening;
  }

  int place_on_host() const {
    const std::string& host = ranks_[static_cast<size_t>(options_.rank)].host_id;
    return static_cast<int>(
        std::count_if(ranks_.begin(), ranks_.begin() + options_.rank, [&](const Introduction& i) { return i.host_id == host; }));
  }

  // Uses the transport for the peers that this kind is the best for.
  void serve(int kind, std::unique_ptr<Transport> transport) {
    bool any = false;
    for (int rank = 0; rank < options_.size; ++rank) {
      if (!serves(kind, rank)) continue;
      parts_->transport_of[static_cast<size_t>(rank)] = transport.get();
      parts_->rank_transports[static_cast<size_t>(rank)] = transport->name();
      any = true;
    }
    if (any) parts_->transports.push_back(std::move(transport));
  }

  // The address at which other ranks reach this one.  Within one network namespace, loopback is enough.
  Status choose_address() {
    const bool one_host =
        std::all_of(ranks_.begin(), ranks_.end(), [&](const Introduction& i) { return i.host_id == ranks_[0].host_id; });
    if (one_host && options_.settings.interface.empty() && options_.settings.host_id.empty()) {
      within_host_ = true;
      address_ = "127.0.0.1";
      return {};
    }
    std::optional<SocketAddress> local_end;
    if (auto parsed = SocketAddress::parse(options_.local_end); !options_.local_end.empty() && parsed.ok()) local_end = *parsed;
    auto chosen = choose_local_address(options_.settings.interface, local_end);
    if (!chosen.ok()) return chosen.status();
    address_ = chosen->address.host();
    parts_->log.info("address " + address_ + " (" + chosen->interface + "): " + chosen->reason);
    return {};
  }

  Status watch_over() {
    Status status;
    if (!options_.domain) parts_->domain->control_thread = control_thread_of_process(status);
    if (!status.ok()) return status;
    Control::Options control;
    control.rank = options_.rank;
    control.size = options_.size;
    control.name = options_.name;
    control.rank_names = parts_->rank_names;
    control.timeout_ns = parts_->settings.timeout_ns;
    control.between_hosts = parts_->team.hosts() > 1;
    const Introduction& me = ranks_[static_cast<size_t>(options_.rank)];
    for (const Introduction& i : ranks_) {
      const bool known_here = i.host_id == me.host_id && i.pid_namespace == me.pid_namespace && !me.pid_namespace.empty();
      control.local_pids.push_back(known_here && i.pid != me.pid && i.pid <= INT_MAX ? static_cast<int>(i.pid) : 0);
    }
    control.listen_address = within_host_ ? "" : address_;  // needs no network
    control.log = parts_->log;
    auto made = Control::create(parts_->domain->control_thread, std::move(control), *options_.bootstrap);
    if (!made.ok()) return made.status();
    parts_->control = std::move(*made);
    return {};
  }

  // Finds out which cores this rank may use beside that of its own thread, and whether it must give way to others.
  void share_cores() {
    std::vector<std::string> sets;
    const Introduction& me = ranks_[static_cast<size_t>(options_.rank)];
    for (const Introduction& other : ranks_)
      if (other.host_id == me.host_id) sets.push_back(other.cores);
    const CoreShare share = core_share(me.cores, sets, cpu_quota(""));
    parts_->crowded = share.crowded;
    parts_->near_bytes = static_cast<uint64_t>(std::max(::sysconf(_SC_LEVEL2_CACHE_SIZE), kOwnCache)) + kCacheShare;
    if (share.crowded) parts_->near_bytes = parts_->near_bytes * std::max(count_cores(me.cores), 1u) / sets.size();
    if (options_.domain) return;
    const auto wanted = static_cast<uint32_t>(parts_->settings.threads);
    parts_->domain->workers = std::make_shared<Workers>(wanted > 0 ? wanted : share.cores);
  }

  void announce() {
    if (const std::string& path = parts_->settings.topology_dump; !path.empty() && options_.rank == 0)
      if (Status status = dump_topology(discover_topology(), path); !status.ok()) parts_->log.warn(status.message());
    if (!parts_->log.enabled(LogLevel::info)) return;
    std::string text = "communicator " + options_.name + ": " + parts_->rank_names[static_cast<size_t>(options_.rank)] + " of " +
                       std::to_string(options_.size) + ";";
    for (int rank = 0; rank < options_.size; ++rank)
      if (rank != options_.rank) text += " " + std::to_string(rank) + ":" + parts_->rank_transports[static_cast<size_t>(rank)];
    parts_->log.info(text + "; " + std::to_string(parts_->pool->slots()) + " slots of " +
                     std::to_string(parts_->pool->slot_bytes()) + " bytes; " + std::to_string(parts_->domain->workers->threads()) +
                     " threads for large reductions");
  }

  AssemblyOptions options_;
  std::unique_ptr<CommunicatorParts> parts_;
  std::unique_ptr<Communicator> communicator_;
  std::vector<std::optional<Card>> cards_;  // of this rank, by kind
  std::vector<Introduction> ranks_;
  std::optional<Connectivity> connectivity_;
  std::string address_;
  std::span<std::byte> slots_;  // of the arena
  bool within_host_ = false;    // ranks reach one another by unix sockets
};

}  // namespace

Result<std::unique_ptr<Communicator>> assemble(AssemblyOptions options) { return Assembler(std::move(options)).run(); }

}  // namespace tutti
