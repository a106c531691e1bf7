// Some of one rank's slots in an arena.
#pragma once

#include <deque>
#include <vector>

#include "arena.h"
#include "heap.h"
#include "slot.h"

namespace tutti::memory {

class ArenaPool final : public SlotPool {
 public:
  struct Part {  // of the rank's slots
    uint32_t first, count;
  };
  // `heap`: what this rank can lend, if anything.
  ArenaPool(const Arena& arena, uint32_t rank, const Heap* heap = nullptr)
      : ArenaPool(arena, rank, heap, {0, arena.shape().slots}) {}
  ArenaPool(const Arena& arena, uint32_t rank, const Heap* heap, Part part);
  Slot acquire() override;
  void add_holders(Slot slot, uint32_t n) override;
  void release(Slot slot) override;
  Slot set_aside() override;
  bool lends() const override;
  bool reaches(const std::byte* memory, size_t bytes) const override { return heap_ && heap_->contains(memory, bytes) && lends(); }
  Slot lend(const std::byte* memory, size_t bytes) override;
  bool returned(Slot loan) const override;
  bool writable(Slot slot) const override { return !arena_.is_loan(slot.id); }
  size_t slot_bytes() const override { return arena_.shape().slot_bytes; }
  uint32_t slots() const override { return slots_; }
  uint32_t available(uint32_t wanted) override;
  size_t memory_bytes() const override { return slots() * slot_bytes(); }

 private:
  void collect();  // slots whose holders have all let go become free again

  Arena arena_;
  uint32_t rank_, slots_;
  const Heap* heap_;
  enum class Lends : uint8_t { unknown, no, yes };
  mutable std::atomic<Lends> lends_ = Lends::unknown;  // until all ranks have opened the window
  uint32_t next_loan_ = 0;                             // where to look first for one that is back
  std::vector<uint32_t> free_;                         // a stack: the slot used last is the warmest
  std::deque<uint32_t> lent_;                          // handed out, oldest first
};

}  // namespace tutti::memory
