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

inline constexpr size_t kLine = 64;        // bytes of a cache line
inline constexpr uint32_t kCells = 64;     // messages that one channel holds
inline constexpr uint32_t kFlatTurns = 8;  // flat exchanges whose cells exist at once

// Largest payload of a flat exchange.  Everybody reads everybody's, so it shrinks as ranks grow; a multiple of kLine.
constexpr size_t flat_bytes(uint32_t ranks) {
  constexpr size_t kAll = 64 << 10, kLeast = 1024;
  return ranks < 2 || kAll / (ranks - 1) < kLeast ? kLeast : kAll / (ranks - 1) / kLine * kLine;
}

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

// The head of one rank's contribution to one flat exchange.  A short payload shares its cache line, a longer one begins at the next.
struct alignas(kLine) FlatCell {
  std::atomic<uint64_t> stamp;  // exchange number in the upper half, hash of the call in the lower
  std::byte near[kLine - sizeof(uint64_t)];

  std::byte* payload(size_t bytes) { return bytes <= sizeof near ? near : near + sizeof near; }
};
static_assert(sizeof(FlatCell) == kLine);

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
};

}  // namespace tutti::memory
