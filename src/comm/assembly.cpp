#include "assembly.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <map>
#include <optional>
#include <random>

#include "build_config.h"
#include "cores.h"
#include "host_identity.h"
#include "introduction.h"
#include "local_arena.h"
#include "locality.h"
#include "memory_transport.h"
#include "net_address.h"
#include "resource_limits.h"
#include "topology.h"
#if TUTTI_HAVE_SHM
#include "shm_transport.h"
#endif
#if TUTTI_HAVE_TCP
#include "tcp_transport.h"
#endif

namespace tutti {
namespace {

// SO_SNDBUF where TCP runs within one host whose ranks outnumber the cores; the kernel doubles it.  Measured: 3 and 4 ranks on 2 cores take
// two thirds of the time.  Presumably bytes that wait until their receiver has a core stay in the caches.
constexpr int kLoopbackSendBuffer = 256 << 10;
// What counts as near to a core: its own cache, and a fair part of the last one; a virtual machine may name the whole of that although others
// share it.
// Of a standstill between hosts, until it is one: a connection that was interrupted sends again after as long as the interruption was.
constexpr uint64_t kLeastSettle = 5'000'000'000, kMostSettle = 30'000'000'000;
constexpr long kOwnCache = 256 << 10;  // at least
constexpr uint64_t kCacheShare = 1 << 20;


// A private, zeroed mapping that ends with its last user.
Result<std::shared_ptr<std::byte>> zeroed_memory(size_t bytes) {
  void* base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return cannot_map("memory for message slots", bytes);
  ::madvise(base, bytes, MADV_HUGEPAGE);
  return std::shared_ptr<std::byte>(static_cast<std::byte*>(base), [bytes](std::byte* memory) { ::munmap(memory, bytes); });
}

uint64_t random_number() {
  std::random_device device;
  return static_cast<uint64_t>(device()) << 32 | device();
}

}  // namespace

Result<std::shared_ptr<std::byte>> LocalArena::memory(const memory::ArenaShape& shape) {
  const std::lock_guard lock(mutex_);
  if (!memory_) {
    auto made = zeroed_memory(shape.bytes());
    if (!made.ok()) return made.status();
    memory_ = *made;
  }
  return memory_;
}

std::shared_ptr<LocalArena> make_local_arena() { return std::make_shared<LocalArena>(); }

namespace {

class Assembler {
 public:
  explicit Assembler(AssemblyOptions options) : options_(std::move(options)), parts_(std::make_unique<CommunicatorParts>()) {}

  // Whatever fails at this rank is told to the others here, once, while they can still reach it: what it holds closes afterwards.
  Result<std::unique_ptr<Communicator>> run() {
    for (const auto step : {&Assembler::begin, &Assembler::open_log, &Assembler::introduce, &Assembler::share_memory,
                            &Assembler::open_tcp, &Assembler::watch_over, &Assembler::tune})
      if (Status status = (this->*step)(); !status.ok()) return options_.bootstrap->fail(status);
    return std::move(communicator_);
  }

 private:
  Status begin() {
    parts_->rank = options_.rank;
    parts_->size = options_.size;
    parts_->name = options_.name;
    parts_->local_end = options_.local_end;
    parts_->local_arena = options_.local_arena;
    return {};
  }

  // By then the ranks also wait for each other in collectives, where the control tree tells them of failures.
  Status tune() {
    announce();
    communicator_ = std::make_unique<Communicator>(std::move(parts_));
    if (!options_.tuning) {
      auto agreed = agree_on_tuning(*communicator_, *options_.bootstrap);
      if (!agreed.ok()) {
        communicator_->parts().control->fail(-1, agreed.status());
        return agreed.status();
      }
      options_.tuning = std::move(*agreed);
    }
    communicator_->tune(options_.tuning);
    return {};
  }

  Status open_log() {
    const Settings& settings = options_.settings;
    int fd = 2;
    if (!settings.debug_file.empty()) {
      auto file = open_log_file(settings.debug_file, options_.rank);
      if (!file.ok()) return file.status();
      parts_->log_file = std::move(*file);
      fd = parts_->log_file.get();
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
    mine.tcp = TUTTI_HAVE_TCP && options_.settings.transport.tcp;
    mine.wire = encode_wire_settings(options_.settings);
#if TUTTI_HAVE_SHM
    mine.shm = options_.settings.transport.shm && !options_.local_arena;
    if (mine.shm) {
      auto socket = shm::HandoffSocket::open();
      if (!socket.ok()) return socket.status();
      handoff_ = std::move(*socket);
      mine.handoff = handoff_.name();
      mine.handoff_secret = handoff_.secret();
    }
#endif
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
    if (options_.rank != 0) {
      std::vector<std::string> warnings;
      if (Status status = apply_wire_settings(ranks_[0].wire, options_.settings, warnings); !status.ok()) return status;
      for (const auto& warning : warnings) parts_->log.warn(warning);
    }
    parts_->settings = options_.settings;
    make_team();
    share_cores();
    parts_->host_id = ranks_[static_cast<size_t>(options_.rank)].host_id;
    parts_->inside_streams = streams_inside();
    return find_transports();
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

  // Some ranks of one host do not share memory; all see that alike.
  bool streams_inside() const {
    for (const auto& members : parts_->team.ranks_by_host())
      for (const int rank : members)
        if (!share(members[0], rank)) return true;
    return false;
  }

  bool share(int a, int b) const {
    const Introduction &x = ranks_[static_cast<size_t>(a)], &y = ranks_[static_cast<size_t>(b)];
    return options_.local_arena || (may_meet(x, y) && same_user(x, y));
  }

  // Their unix sockets reach each other.
  static bool may_meet(const Introduction& x, const Introduction& y) { return x.shm && y.shm && x.host_id == y.host_id; }
  // No memory is handed to other users.
  static bool same_user(const Introduction& x, const Introduction& y) {
    return x.user == y.user && x.user_namespace == y.user_namespace;
  }

  // Why ranks of one host do not share memory although they would like to: "rank 0 (…) runs as user 0 and rank 1 (…) as user 1000", or "".
  std::string different_users() const {
    std::map<std::string_view, size_t> first;  // of each host
    for (size_t rank = 0; rank < ranks_.size(); ++rank) {
      if (!ranks_[rank].shm) continue;
      const size_t other = first.try_emplace(ranks_[rank].host_id, rank).first->second;
      const Introduction &x = ranks_[other], &y = ranks_[rank];
      if (same_user(x, y)) continue;
      return parts_->rank_names[other] + " runs as user " + std::to_string(x.user) + " and " + parts_->rank_names[rank] + " as user " +
             std::to_string(y.user) + (x.user == y.user ? " of another user namespace" : "");
    }
    return "";
  }

  // Whether every pair has a transport, before anybody waits for a rank that it cannot reach; all ranks see that alike.
  Status find_transports() {
    if (options_.local_arena) return {};
    bool needs_tcp = false;
    for (int rank = 0; rank < options_.size; ++rank) needs_tcp |= !share(rank, 0);
    if (!needs_tcp) return {};
    const std::string users = different_users();
    for (size_t rank = 0; rank < ranks_.size(); ++rank)
      if (!ranks_[rank].tcp)
        return Status(Code::unreachable, (users.empty() ? "the ranks are not all on one host" : users + ", so they share no memory") +
                                             ", and " + parts_->rank_names[rank] +
                                             " may not use tcp (TUTTI_TRANSPORT, or built without it)");
    if (!users.empty() && options_.rank == 0) parts_->log.warn(users + ": they share no memory and use tcp instead");
    return {};
  }

  // Ranks in the largest group that shares memory.
  uint32_t most_that_share() const {
    std::map<int, uint32_t> groups;  // by the first of each
    uint32_t most = 1;
    for (int rank = 0; rank < options_.size; ++rank) {
      const auto group = std::find_if(groups.begin(), groups.end(), [&](const auto& entry) { return share(rank, entry.first); });
      most = std::max(most, group == groups.end() ? (groups[rank] = 1) : ++group->second);
    }
    return most;
  }

  // The arena of the ranks that share memory with this one; alone, it still holds this rank's slots.
  Status share_memory() {
    std::vector<int> places(static_cast<size_t>(options_.size), -1);
    int here = 0, my_place = 0, leader = options_.rank;
    for (int rank = 0; rank < options_.size; ++rank) {
      if (rank != options_.rank && !share(rank, options_.rank)) continue;
      if (here == 0) leader = rank;
      if (rank == options_.rank) my_place = here;
      places[static_cast<size_t>(rank)] = here++;
    }
    const auto local_ranks = static_cast<uint32_t>(here);
    const uint32_t most = most_that_share();  // the size of slots follows from what all ranks know
    const PoolShape pool = pool_shape(options_.size, most, static_cast<uint32_t>(options_.settings.lanes), options_.settings.slot_bytes);
    const memory::ArenaShape shape{.ranks = local_ranks, .slots = pool.all_slots(most), .slot_bytes = pool.slot_bytes};
    const auto place = static_cast<uint32_t>(my_place);
    std::optional<memory::Arena> arena;
    if (here == 1 || options_.local_arena) {
      auto bytes = options_.local_arena ? options_.local_arena->memory(shape) : zeroed_memory(shape.bytes());
      if (!bytes.ok()) return bytes.status();
      arena = memory::Arena(bytes->get(), shape);
      parts_->memory = *bytes;
      if (here > 1) parts_->transports.push_back(std::make_unique<memory::MemoryTransport>(*arena, place, places));
#if TUTTI_HAVE_SHM
    } else {
      const auto wait = [this](std::span<pollfd> set, uint64_t until) { return await(*options_.bootstrap, set, until); };
      std::vector<std::string> names(static_cast<size_t>(here));
      for (size_t rank = 0; rank < places.size(); ++rank)
        if (places[rank] >= 0) names[static_cast<size_t>(places[rank])] = parts_->rank_names[rank];
      const Introduction& first = ranks_[static_cast<size_t>(leader)];
      const shm::Options shm{shape,         place, places, std::move(names), first.handoff, first.handoff_secret,
                             {wait, options_.bootstrap->deadline()}};
      auto transport = shm::ShmTransport::create(handoff_, shm);
      if (!transport.ok()) return transport.status();
      arena = (*transport)->arena();
      if (!(*transport)->has_window())
        parts_->log.info(
            "memory of tutti_alloc will be copied as any other: there is no address space to share it in (ulimit -v, ulimit -f, or "
            "ulimit -l after mlockall)");
      parts_->heap = (*transport)->make_heap();
      parts_->transports.push_back(std::move(*transport));
#endif
    }
    if (!parts_->heap) parts_->heap = std::make_unique<memory::Heap>();
    parts_->given_up = &arena->given_up();
    const memory::Heap* heap = parts_->heap.get();
    memory::ArenaPool::Part part{0, pool.slots};
    parts_->pool = std::make_unique<memory::ArenaPool>(*arena, place, heap, part);
    for (const int peer : places) {
      const bool shares = peer >= 0 && peer != my_place;
      part = {part.first + part.count, shares ? pool.message_slots : 0};
      parts_->message_pools.push_back(shares ? std::make_unique<memory::ArenaPool>(*arena, place, heap, part) : nullptr);
    }
    if (here == options_.size) parts_->board = std::make_unique<FlatBoard>(*arena, place, local_ranks);
    parts_->transport_of.assign(static_cast<size_t>(options_.size), nullptr);
    parts_->rank_transports.assign(static_cast<size_t>(options_.size), "self");
    for (int rank = 0; rank < options_.size; ++rank)
      if (rank != options_.rank && places[static_cast<size_t>(rank)] >= 0) serve(rank, *parts_->transports.back());
    return {};
  }

  void serve(int rank, Transport& transport) {
    parts_->transport_of[static_cast<size_t>(rank)] = &transport;
    parts_->rank_transports[static_cast<size_t>(rank)] = transport.name();
  }

  // TCP, if any two ranks need it; all ranks see that alike.
  Status open_tcp() {
    bool needed = false;
    for (int a = 0; a < options_.size; ++a) needed |= !share(a, 0);
    if (auto address = choose_address(); !address.ok()) return address.status();
    if (!needed) return {};
#if TUTTI_HAVE_TCP
    tcp::TcpOptions tcp;
    tcp.rank = options_.rank;
    tcp.size = options_.size;
    tcp.listen_address = address_;
    tcp.connections = parts_->settings.tcp_connections;
    tcp.congestion = parts_->settings.tcp_congestion;
    if (parts_->crowded && parts_->team.hosts() == 1) {
      tcp.send_buffer = kLoopbackSendBuffer;
      if (tcp.congestion.empty()) tcp.congestion = tcp::kSystemCongestion;  // bbr keeps still less under way
    }
    tcp.context = parts_->context;
    tcp.pool = parts_->pool.get();
    tcp.name = options_.name;
    tcp.log = parts_->log;
    auto transport = tcp::TcpTransport::open(std::move(tcp));
    if (!transport.ok()) return transport.status();
    auto addresses = options_.bootstrap->exchange((*transport)->address());
    if (!addresses.ok()) return addresses.status();
    if (Status status = (*transport)->set_peers(*addresses, parts_->rank_names); !status.ok()) return status;
    parts_->transports.push_back(std::move(*transport));
    for (int rank = 0; rank < options_.size; ++rank)
      if (rank != options_.rank && !parts_->transport_of[static_cast<size_t>(rank)]) serve(rank, *parts_->transports.back());
#endif
    return {};
  }

  // The address that other ranks reach this one at; loopback is enough where all are in one network namespace.
  Result<std::string> choose_address() {
    const bool one_host =
        std::all_of(ranks_.begin(), ranks_.end(), [&](const Introduction& i) { return i.host_id == ranks_[0].host_id; });
    if (one_host && options_.settings.interface.empty() && options_.settings.host_id.empty()) {
      within_host_ = true;
      address_ = "127.0.0.1";
      return address_;
    }
    std::optional<SocketAddress> local_end;
    if (auto parsed = SocketAddress::parse(options_.local_end); !options_.local_end.empty() && parsed.ok()) local_end = *parsed;
    auto chosen = choose_local_address(options_.settings.interface, local_end);
    if (!chosen.ok()) return chosen.status();
    address_ = chosen->address.host();
    parts_->log.info("address " + address_ + " (" + chosen->interface + "): " + chosen->reason);
    return address_;
  }

  Status watch_over() {
    Status status;
    parts_->control_thread = options_.control_thread ? options_.control_thread : control_thread_of_process(status);
    if (!status.ok()) return status;
    Control::Options control;
    control.rank = options_.rank;
    control.size = options_.size;
    control.name = options_.name;
    control.rank_names = parts_->rank_names;
    control.timeout_ns = parts_->settings.timeout_ns;
    control.settle_ns = parts_->team.hosts() > 1 ? std::clamp(control.timeout_ns / 20, kLeastSettle, kMostSettle) : 0;
    const Introduction& me = ranks_[static_cast<size_t>(options_.rank)];
    for (const Introduction& i : ranks_) {
      const bool known_here = i.host_id == me.host_id && i.pid_namespace == me.pid_namespace && !me.pid_namespace.empty();
      control.local_pids.push_back(known_here && i.pid != me.pid && i.pid <= INT_MAX ? static_cast<int>(i.pid) : 0);
    }
    control.listen_address = within_host_ ? "" : address_;  // needs no network
    control.log = parts_->log;
    auto made = Control::create(parts_->control_thread, std::move(control), *options_.bootstrap);
    if (!made.ok()) return made.status();
    parts_->control = std::move(*made);
    return {};
  }

  // What this rank may use beside its own thread, and whether it must give way to others.
  void share_cores() {
    std::vector<std::string> sets;
    const Introduction& me = ranks_[static_cast<size_t>(options_.rank)];
    for (const Introduction& other : ranks_)
      if (other.host_id == me.host_id) sets.push_back(other.cores);
    const CoreShare share = core_share(me.cores, sets, cpu_quota(""));
    parts_->crowded = share.crowded;
    parts_->near_bytes = static_cast<uint64_t>(std::max(::sysconf(_SC_LEVEL2_CACHE_SIZE), kOwnCache)) + kCacheShare;
    if (share.crowded) parts_->near_bytes = parts_->near_bytes * std::max(count_cores(me.cores), 1u) / sets.size();
    const int wanted = parts_->settings.threads;
    parts_->workers = options_.workers;
    if (!parts_->workers) parts_->workers = std::make_shared<Workers>(wanted > 0 ? static_cast<uint32_t>(wanted) : share.cores);
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
                     std::to_string(parts_->pool->slot_bytes()) + " bytes; " + std::to_string(parts_->workers->threads()) +
                     " threads for large reductions");
  }

  AssemblyOptions options_;
  std::unique_ptr<CommunicatorParts> parts_;
  std::unique_ptr<Communicator> communicator_;
  std::vector<Introduction> ranks_;
  std::string address_;
  bool within_host_ = false;  // ranks reach one another by unix sockets
#if TUTTI_HAVE_SHM
  shm::HandoffSocket handoff_;
#endif
};

}  // namespace

Result<std::unique_ptr<Communicator>> assemble(AssemblyOptions options) { return Assembler(std::move(options)).run(); }

}  // namespace tutti
