#include "memory_transport.h"

namespace tutti::memory {

ArenaLink::ArenaLink(const Arena& arena, uint32_t me, uint32_t peer, LinkUse use)
    : arena_(arena), out_(arena.channel(use, me, peer)), in_(arena.channel(use, peer, me)) {}

Progress ArenaLink::send(Slot slot, size_t bytes, const Signature& signature) {
  if (sent_ - taken_seen_ == kCells) {
    taken_seen_ = out_.taken.load(std::memory_order_acquire);
    if (sent_ - taken_seen_ == kCells) return Progress::busy;
  }
  Cell& cell = out_.cells[sent_ % kCells];
  cell.slot = slot.id;
  cell.place = slot.id != Slot::kDelivered && arena_.is_loan(slot.id) ? arena_.place_of(slot.data) : 0;
  cell.target = slot.target ? arena_.place_of(slot.target) : 0;
  cell.bytes = static_cast<uint32_t>(bytes);
  cell.signature = signature;
  cell.number.store(++sent_, std::memory_order_release);
  return Progress::done;
}

Progress ArenaLink::receive(Slot& slot, size_t bytes, const Signature& expected) {
  Cell& cell = in_.cells[received_ % kCells];
  if (cell.number.load(std::memory_order_acquire) != received_ + 1) return Progress::busy;
  if (cell.bytes != bytes || !(cell.signature == expected)) {
    offender_ = cell.signature;
    return Progress::mismatch;
  }
  const bool delivered = cell.slot == Slot::kDelivered;
  slot.id = cell.slot;
  slot.data = delivered ? arena_.slot_data(0) : arena_.is_loan(cell.slot) ? arena_.at(cell.place) : arena_.slot_data(cell.slot);
  slot.target = cell.target != 0 ? arena_.at(cell.target) : nullptr;
  in_.taken.store(++received_, std::memory_order_release);
  return Progress::done;
}

Progress ArenaLink::peek(Signature& next) {
  const Cell& cell = in_.cells[received_ % kCells];
  if (cell.number.load(std::memory_order_acquire) != received_ + 1) return Progress::busy;
  next = cell.signature;
  return Progress::done;
}

// Memory cannot lose a peer; the control tree tells of deaths.
Status ArenaLink::error() const { return Status(Code::internal, "a memory link reported a loss"); }

MemoryTransport::MemoryTransport(const Arena& arena, uint32_t my_place, std::vector<int> places)
    : arena_(arena), my_place_(my_place), places_(std::move(places)) {
  for (auto& links : links_) links.resize(places_.size());
}

Link& MemoryTransport::link(int peer, LinkUse use) {
  auto& link = links_[static_cast<size_t>(use)][static_cast<size_t>(peer)];
  if (!link) link = std::make_unique<ArenaLink>(arena_, my_place_, static_cast<uint32_t>(places_[static_cast<size_t>(peer)]), use);
  return *link;
}

}  // namespace tutti::memory
