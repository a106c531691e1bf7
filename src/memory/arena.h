// The memory that the ranks of one host share, as a layout over plain bytes: slot states, channels between each pair
// of ranks (one for each use), the flat board for small messages, boards that tell of device memory, and the slots.
// Whoever owns the bytes (heap or memfd) is another's business.
//
// Invariants
//   1. All-zero bytes are a valid empty arena.
//   2. A channel (from → to) is written by `from` only, except Channel::taken, which `to` writes.
//      Message number i is in cell i mod kCells once that cell's `number` is i + 1 (release/acquire).
//   3. A slot belongs to its owning rank while holders == 0; only then may the owning rank hand it out again.
//   4. A loan is a slot whose bytes lie in the owning rank's own memory (heap.h).  It is handed out and returned like
//      any other, and nobody writes into it.
//   5. A rank's board of regions is written by that rank only, reads_from() by the reader only.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "slot.h"
#include "vocabulary.h"

namespace tutti::memory {

inline constexpr size_t kLine = 64;        // bytes of a cache line
inline constexpr uint32_t kCells = 64;     // messages that one channel holds
inline constexpr uint32_t kFlatTurns = 8;  // flat exchanges whose cells exist at once

// Largest payload of a flat exchange.  Everybody reads everybody's, so it shrinks as ranks grow; a multiple of kLine.
constexpr size_t flat_bytes(uint32_t ranks) {
  constexpr size_t kAll = 64 << 10, kLeast = 1024;
  return ranks < 2 || kAll / (ranks - 1) < kLeast ? kLeast : kAll / (ranks - 1) / kLine * kLine;
}

inline constexpr uint32_t kLoans = 64;  // of each rank, out at once

// Every cell is one cache line: the header of a message in flight.  Places are Arena::place_of().
struct alignas(kLine) Cell {
  std::atomic<uint64_t> number;  // i + 1 once message i is in
  uint32_t slot;                 // or Slot::kDelivered
  uint32_t bytes;
  uint64_t place;   // of a loan's bytes
  uint64_t target;  // where the sender wants the result of these blocks, 0 for nowhere
  Signature signature;
};
static_assert(sizeof(Cell) == kLine);

struct Channel {
  alignas(kLine) std::atomic<uint64_t> taken;  // messages that the receiver has taken out
  Cell cells[kCells];
};

struct alignas(kLine) SlotState {
  std::atomic<uint32_t> holders;
};

// The head of one rank's contribution to one flat exchange.  A short payload shares its cache line, a longer one
// begins at the next.
struct alignas(kLine) FlatCell {
  std::atomic<uint64_t> stamp;  // exchange number in the upper half, hash of the call in the lower
  std::byte near[kLine - sizeof(uint64_t)];

  std::byte* payload(size_t bytes) { return bytes <= sizeof near ? near : near + sizeof near; }
};
static_assert(sizeof(FlatCell) == kLine);

inline constexpr uint32_t kRegions = 32;  // of device memory, that each rank can publish

// Device memory of a rank's that others may read where it lies, as the rank says.
struct Region {
  uint64_t address;  // in its process
  uint64_t bytes;
  std::byte handle[64];  // by which other processes open it
  uint64_t has_handle;
};

struct RegionBoard {
  alignas(kLine) std::atomic<uint64_t> published;  // so many of the regions are filled in, and never change again
  Region regions[kRegions];
};

struct ArenaShape {
  uint32_t ranks = 1;   // that share it
  uint32_t slots = 64;  // of each rank
  size_t slot_bytes = 65536;

  size_t bytes() const;               // of the whole arena
  size_t bytes_beside_slots() const;  // of one rank: its part of channels, cells and states
};

// A view; copying it copies no memory.
class Arena {
 public:
  Arena(std::byte* base, const ArenaShape& shape);
  const ArenaShape& shape() const { return shape_; }
  std::span<std::byte> all_slots() const { return {slots_, shape_.ranks * shape_.slots * shape_.slot_bytes}; }
  SlotState& slot_state(uint32_t id) const { return states_[id]; }
  std::byte* slot_data(uint32_t id) const { return slots_ + id * shape_.slot_bytes; }
  Channel& channel(LinkUse use, uint32_t from, uint32_t to) const {
    return channels_[(static_cast<uint32_t>(use) * shape_.ranks + from) * shape_.ranks + to];
  }
  // Set by a rank that learned that the communicator is dead, for those who have not heard yet (a process that was
  // stopped wakes up to find messages, but nobody waits for it any more): who sees it writes nothing.
  std::atomic<uint32_t>& given_up() const { return *given_up_; }

  // Regions of device memory that `rank` has published; and the call from which on `reader` can read the n-th of them
  // where it lies, which `reader` writes; 0: none.
  RegionBoard& regions_of(uint32_t rank) const { return boards_[rank]; }
  std::atomic<uint64_t>& reads_from(uint32_t rank, uint32_t n, uint32_t reader) const {
    return readings_[(rank * shape_.ranks + reader) * kRegions + n];
  }

  // Loans are numbered after the slots.
  uint32_t first_loan(uint32_t rank) const { return shape_.ranks * shape_.slots + rank * kLoans; }
  bool is_loan(uint32_t id) const { return id >= shape_.ranks * shape_.slots; }

  // Memory outside the arena that ranks lend each other.  Within one process a place is an address.  Processes map
  // one window onto it, each where it likes, and a place is an offset in that; `window` null: this rank could not map
  // it.  Call before the arena is used; lends() may be asked once all have called.
  void open_window(std::byte* window, uint32_t rank);
  bool lends() const;
  uint64_t place_of(const std::byte* memory) const { return reinterpret_cast<uintptr_t>(memory) - window_; }
  std::byte* at(uint64_t place) const { return reinterpret_cast<std::byte*>(window_ + place); }

  FlatCell& flat_cell(uint32_t rank, uint64_t turn) const {
    return *reinterpret_cast<FlatCell*>(flat_ + (rank * kFlatTurns + turn % kFlatTurns) * flat_stride_);
  }

 private:
  ArenaShape shape_;
  Channel* channels_;
  std::byte* flat_;
  size_t flat_stride_;  // from cell to cell: an odd number of lines, so that cells lie in different sets of the caches
  SlotState* states_;
  std::byte* slots_;
  std::atomic<uint32_t>* given_up_;
  RegionBoard* boards_;              // by rank
  std::atomic<uint64_t>* readings_;  // by rank, reader and region
  std::atomic<uint32_t>* windows_;   // of each rank: kOpen, kShut or, within one process, 0
  uintptr_t window_ = 0;
};

}  // namespace tutti::memory
