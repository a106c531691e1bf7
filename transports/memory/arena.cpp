#include "arena.h"

namespace tutti::memory {
namespace {

constexpr size_t kPage = 4096;
size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

size_t flat_stride(uint32_t ranks) { return round_up(sizeof(FlatCell) + flat_bytes(ranks), 2 * kLine) + kLine; }

struct Offsets {
  size_t flat, states, slots, end;
  explicit Offsets(const ArenaShape& s) {
    const size_t ranks = s.ranks;
    flat = ranks * ranks * sizeof(Channel);
    states = flat + ranks * kFlatTurns * flat_stride(s.ranks);
    slots = round_up(states + ranks * s.slots * sizeof(SlotState), kPage);
    end = slots + ranks * s.slots * s.slot_bytes;
  }
};

}  // namespace

size_t ArenaShape::bytes() const { return round_up(Offsets(*this).end, kPage); }

size_t ArenaShape::bytes_beside_slots() const {
  return ranks * sizeof(Channel) + kFlatTurns * sizeof(FlatCell) + slots * sizeof(SlotState);
}

Arena::Arena(std::byte* base, const ArenaShape& shape) : shape_(shape) {
  const Offsets at(shape);
  channels_ = reinterpret_cast<Channel*>(base);
  flat_ = base + at.flat;
  flat_stride_ = flat_stride(shape.ranks);
  states_ = reinterpret_cast<SlotState*>(base + at.states);
  slots_ = base + at.slots;
}

}  // namespace tutti::memory
