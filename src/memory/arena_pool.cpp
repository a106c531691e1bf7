#include "arena_pool.h"

#include <algorithm>

namespace tutti::memory {

ArenaPool::ArenaPool(const Arena& arena, uint32_t rank, const Heap* heap, Part part)
    : arena_(arena), rank_(rank), slots_(part.count), heap_(heap) {
  free_.reserve(slots_);
  for (uint32_t i = slots_; i-- > 0;) free_.push_back(rank * arena.shape().slots + part.first + i);
}

Slot ArenaPool::acquire() {
  // The oldest lent slot is the likeliest to be back, and reusing it keeps the set of warm slots small.
  if (!lent_.empty() && arena_.slot_state(lent_.front()).holders.load(std::memory_order_acquire) == 0) {
    free_.push_back(lent_.front());
    lent_.pop_front();
  } else if (free_.empty()) {
    collect();
  }
  if (free_.empty()) return {};
  const uint32_t id = free_.back();
  free_.pop_back();
  lent_.push_back(id);
  arena_.slot_state(id).holders.store(1, std::memory_order_relaxed);
  return {arena_.slot_data(id), id};
}

Slot ArenaPool::set_aside() {
  const Slot slot = acquire();
  if (slot) --slots_;
  return slot;
}

bool ArenaPool::lends() const {
  if (lends_ == Lends::unknown) lends_ = heap_ && arena_.lends() ? Lends::yes : Lends::no;
  return lends_ == Lends::yes;
}

Slot ArenaPool::lend(const std::byte* memory, size_t bytes) {
  if (!reaches(memory, bytes)) return {};
  for (uint32_t i = 0; i < kLoans; ++i) {
    const uint32_t id = arena_.first_loan(rank_) + (next_loan_ + i) % kLoans;
    auto& holders = arena_.slot_state(id).holders;
    if (holders.load(std::memory_order_acquire) != 0) continue;
    next_loan_ = (next_loan_ + i + 1) % kLoans;
    holders.store(1, std::memory_order_relaxed);
    return {const_cast<std::byte*>(memory), id};
  }
  return {};
}

bool ArenaPool::returned(Slot loan) const { return arena_.slot_state(loan.id).holders.load(std::memory_order_acquire) == 0; }

void ArenaPool::add_holders(Slot slot, uint32_t n) { arena_.slot_state(slot.id).holders.fetch_add(n, std::memory_order_relaxed); }

void ArenaPool::release(Slot slot) {
  auto& holders = arena_.slot_state(slot.id).holders;
  if (holders.load(std::memory_order_acquire) == 1)
    holders.store(0, std::memory_order_release);  // the only holder needs no locked instruction
  else
    holders.fetch_sub(1, std::memory_order_acq_rel);
}

void ArenaPool::collect() {
  const auto returned = [this](uint32_t id) {
    if (arena_.slot_state(id).holders.load(std::memory_order_acquire) != 0) return false;
    free_.push_back(id);
    return true;
  };
  lent_.erase(std::remove_if(lent_.begin(), lent_.end(), returned), lent_.end());
}

uint32_t ArenaPool::available(uint32_t wanted) {
  // Counting exactly costs a cache miss per lent slot, so look only when the known ones do not suffice.
  if (free_.size() < wanted) collect();
  return static_cast<uint32_t>(free_.size());
}

}  // namespace tutti::memory
