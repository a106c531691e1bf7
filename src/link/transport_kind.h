// A kind of transport: what a rank says of itself, which ranks reach each other, and how one rank opens its end.
//
// Every rank takes three steps.  It makes a card of each kind that it may use, and the cards of all ranks travel at
// bootstrap in one exchange.  Then all ranks work out alike, by reach(), which kind serves which pair: the first in the
// order of the registry.  Last, they open the kinds that are needed.
#pragma once

#include <poll.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "arena.h"
#include "heap.h"
#include "log.h"
#include "private_memory.h"
#include "status.h"
#include "transport.h"

namespace tutti {

struct Settings;

inline constexpr size_t kLongestTransportName = 15, kLongestCard = 1024;

// A rank's card of one kind.
struct Card {
  std::string text;            // for the other ranks: at most kLongestCard characters that print
  std::shared_ptr<void> kept;  // for this rank's own open()
  bool reaches_all = false;    // for certain, all ranks: this rank needs no later kind of the registry
};

struct CardTerms {
  const Settings& settings;
  const memory::ProcessMemory* process = nullptr;  // null: each rank is a process
  Log log;
};

// A rank that has a card of the kind, as any rank sees it.  All of this comes from that rank and is hostile.
struct RankCard {
  std::string_view text;
  std::string_view name;  // "rank 3 (host b, pid 4711)"
  std::string_view host_id;
  uint64_t pid = 0, user = 0;
  std::string_view pid_namespace, user_namespace;  // "" if the system does not say
};

// All that a kind may need, of the communicator and of its bootstrap, to open this rank's end.
struct Opening {
  int rank = 0, size = 1;
  std::string communicator;             // its name
  uint64_t context = 0;                 // its number; the same on all ranks
  std::vector<std::string> rank_names;  // "rank 3 (host b, pid 4711)"
  std::optional<Card> card;             // of this rank; none: it only takes part in the exchanges
  std::vector<std::string_view> cards;  // of all ranks, "" where there is none
  std::vector<bool> serves;             // by rank: this kind connects it and this rank
  const Settings* settings = nullptr;
  Log log;

  // Of a kind that shares memory: the arena of the ranks that share it.
  memory::ArenaShape shape;
  std::vector<int> places;  // in it, by rank; -1: not there
  memory::ProcessMemory* process = nullptr;
  const memory::Window* window = nullptr;  // of the communicator that this one is split off; null: of none

  // Of any other kind.
  SlotPool* pool = nullptr;      // of collectives; where sent slots go back to
  std::vector<SlotPool*> message_pools;  // by rank; null where messages need none
  std::string address;           // at which other ranks reach this one, numeric, without port
  bool within_one_host = false;  // all ranks
  bool crowded = false;          // this host has more ranks than cores for them
  int place_on_host = 0;         // of this rank among the ranks of its host
  std::span<std::byte> slots;    // in which all slots lie that this rank may be given

  // `exchange` hands a blob of each rank to all ranks.  Only kinds that share no memory may use it, since every rank
  // opens those.  `wait` waits for descriptors: true once one of `set` is ready, false at `until` or the deadline, an
  // error if the bootstrap has failed.
  std::function<Result<std::vector<std::string>>(const std::string& mine)> exchange;
  std::function<Result<bool>(std::span<pollfd> set, uint64_t until)> wait;
  uint64_t deadline = 0;  // of the bootstrap, by clock.h
};

struct Opened {
  std::unique_ptr<Transport> transport;  // null: this rank has no card, or cannot do what that says
  std::vector<int> absent;               // ranks whose end did not open; all ranks know the same
  // Of a kind that shares memory.
  std::optional<memory::Arena> arena;
  std::shared_ptr<std::byte> memory;   // that the arena lies in, unless the transport owns it
  memory::Window window;               // for memory that the ranks lend each other; none: it is private memory
};

// open() of a kind whose ranks tell one another an address.  `make` opens this rank's end, which has address() and
// set_peers(), or makes nothing: then its peers use another kind.
template <class Make>
Result<Opened> open_by_addresses(const Opening& opening, Make make) {
  auto made = opening.card ? make(opening) : decltype(make(opening))(nullptr);
  if (!made.ok()) return made.status();
  const auto addresses = opening.exchange(*made ? (*made)->address() : "");
  if (!addresses.ok()) return addresses.status();
  if (*made)
    if (Status status = (*made)->set_peers(*addresses, opening.rank_names); !status.ok()) return status;
  Opened opened;
  opened.transport = std::move(*made);
  for (size_t rank = 0; rank < addresses->size(); ++rank)
    if ((*addresses)[rank].empty()) opened.absent.push_back(static_cast<int>(rank));
  return opened;
}

// Something that the kind may use on this host, for tutti-info.
struct TransportDevice {
  std::string name;   // "mlx5_0 port 1 (eth0)"
  std::string state;  // what it is, and whether it serves and why
};

struct TransportKind {
  std::string_view name;          // "shm"; as users write it
  std::string_view whom;       // it connects: "processes of this host and network namespace"
  bool everywhere = false;     // connects all ranks that have a card, whatever host they are on
  bool shares_memory = false;  // its ranks share an arena
  bool puts = false;           // its links are PutLinks

  // No card: this rank cannot or need not use it.  An error ends the bootstrap.
  Result<std::optional<Card>> (*card)(const CardTerms& terms) = nullptr;  // null: not in this build
  // Symmetric and transitive, so that ranks fall into groups.  A card that cannot be read reaches nobody.
  bool (*reach)(const RankCard& mine, const RankCard& theirs) = nullptr;
  // Says why two ranks of one host share no memory although both would: "rank 0 (…) runs as user 0 and …"; or "".
  std::string (*objection)(const RankCard& mine, const RankCard& theirs) = nullptr;
  // Blocks.  Ranks that share memory open a kind that shares memory; all ranks of the communicator open any other.
  Result<Opened> (*open)(const Opening& opening) = nullptr;

  std::vector<TransportDevice> (*devices)(const Settings& settings) = nullptr;

  bool built() const { return card != nullptr; }
};

}  // namespace tutti
