#include "arena.h"

#include "page.h"

namespace tutti::memory {
namespace {

constexpr uint32_t kOpen = 1, kShut = 2;

size_t flat_stride(uint32_t ranks) { return round_up(sizeof(FlatCell) + flat_bytes(ranks), 2 * kLine) + kLine; }

struct Offsets {
  size_t flat, states, boards, readings, windows, given_up, slots, end;
  explicit Offsets(const ArenaShape& s) {
    const size_t ranks = s.ranks;
    flat = kLinkUses * ranks * ranks * sizeof(Channel);
    states = flat + ranks * kFlatTurns * flat_stride(s.ranks);
    boards = states + ranks * (s.slots + kLoans) * sizeof(SlotState);
    readings = boards + ranks * sizeof(RegionBoard);
    windows = readings + ranks * ranks * kRegions * sizeof(std::atomic<uint64_t>);
    given_up = round_up(windows + ranks * sizeof(std::atomic<uint32_t>), kLine);
    slots = round_up(given_up + kLine, kPage);
    end = slots + ranks * s.slots * s.slot_bytes;
  }
};

}  // namespace

size_t ArenaShape::bytes() const { return round_up(Offsets(*this).end, kPage); }

size_t ArenaShape::bytes_beside_slots() const {
  return kLinkUses * ranks * sizeof(Channel) + kFlatTurns * flat_stride(ranks) + (slots + kLoans) * sizeof(SlotState) +
         sizeof(RegionBoard) + kRegions * ranks * sizeof(std::atomic<uint64_t>);
}

Arena::Arena(std::byte* base, const ArenaShape& shape) : shape_(shape) {
  const Offsets at(shape);
  channels_ = reinterpret_cast<Channel*>(base);
  flat_ = base + at.flat;
  flat_stride_ = flat_stride(shape.ranks);
  states_ = reinterpret_cast<SlotState*>(base + at.states);
  slots_ = base + at.slots;
  given_up_ = reinterpret_cast<std::atomic<uint32_t>*>(base + at.given_up);
  boards_ = reinterpret_cast<RegionBoard*>(base + at.boards);
  readings_ = reinterpret_cast<std::atomic<uint64_t>*>(base + at.readings);
  windows_ = reinterpret_cast<std::atomic<uint32_t>*>(base + at.windows);
}

void Arena::open_window(std::byte* window, uint32_t rank) {
  window_ = reinterpret_cast<uintptr_t>(window);
  windows_[rank].store(window ? kOpen : kShut, std::memory_order_release);
}

bool Arena::lends() const {
  if (shape_.ranks == 1) return false;
  const uint32_t mine = window_ != 0 ? kOpen : 0;
  for (uint32_t rank = 0; rank < shape_.ranks; ++rank)
    if (windows_[rank].load(std::memory_order_acquire) != mine) return false;
  return true;
}

}  // namespace tutti::memory
