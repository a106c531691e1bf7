// The memory that the ranks of one host share, as a layout over plain bytes: slot states, channels between each pair of ranks,
// the flat board for small messages, and the slots.  Whoever owns the bytes (heap or memfd) is another's business.
//
// Invariants
//   1. All-zero bytes are a valid empty arena.
//   2. A channel (from → to) is written by `from` only, except Channel::taken, which `to` writes.
//      Message number i is in cell i mod kCells once that cell's `number` is i + 1 (release/acquire).
//   3. A slot belongs to its home rank while holders == 0; only then may the home rank hand it out again.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "vocabulary.h"

namespace tutti::memory {

inline constexpr size_t kLine = 64;         // bytes of a cache line
inline constexpr uint32_t kCells = 64;      // messages that one channel holds
inline constexpr uint32_t kFlatTurns = 8;   // flat exchanges whose cells exist at once
inline constexpr size_t kFlatBytes = 1024;  // largest payload of a flat exchange

// Every cell is one cache line: the header of a message in flight.
struct alignas(kLine) Cell {
  std::atomic<uint64_t> number;  // i + 1 once message i is in
  uint32_t slot;
  uint32_t bytes;
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

// One rank's contribution to one flat exchange; `stamp` and a short payload share a cache line.
struct alignas(kLine) FlatCell {
  std::atomic<uint64_t> stamp;  // exchange number in the upper half, hash of the call in the lower
  uint64_t unused;
  std::byte payload[kFlatBytes];
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
  SlotState& slot_state(uint32_t id) const { return states_[id]; }
  std::byte* slot_data(uint32_t id) const { return slots_ + id * shape_.slot_bytes; }
  Channel& channel(uint32_t from, uint32_t to) const { return channels_[from * shape_.ranks + to]; }
  FlatCell& flat_cell(uint32_t rank, uint64_t turn) const { return flat_[rank * kFlatTurns + turn % kFlatTurns]; }

 private:
  ArenaShape shape_;
  Channel* channels_;
  FlatCell* flat_;
  SlotState* states_;
  std::byte* slots_;
};

}  // namespace tutti::memory
