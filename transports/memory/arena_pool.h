// One rank's slots in an arena.
#pragma once

#include <deque>
#include <vector>

#include "arena.h"
#include "transport.h"

namespace tutti::memory {

class ArenaPool final : public SlotPool {
 public:
  ArenaPool(const Arena& arena, uint32_t rank);
  Slot acquire() override;
  void add_holders(Slot slot, uint32_t n) override;
  void release(Slot slot) override;
  size_t slot_bytes() const override { return arena_.shape().slot_bytes; }
  uint32_t slots() const override { return arena_.shape().slots; }
  uint32_t available(uint32_t wanted) override;
  size_t memory_bytes() const override { return slots() * slot_bytes(); }

 private:
  void collect();  // slots whose holders have all let go become free again

  Arena arena_;
  std::vector<uint32_t> free_;  // a stack: the slot used last is the warmest
  std::deque<uint32_t> lent_;   // handed out, oldest first
};

}  // namespace tutti::memory
