// The Machine of tests: threads of this process that play those of a device's block.
#pragma once

#include <barrier>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "machine.h"
#include "reference.h"

namespace tutti::cuda {

// One thread of one block.
class Cpu {
 public:
  struct Grid {
    uint32_t blocks = 1, threads = 1;  // threads of a block
  };

  // `barrier` is the block's, of as many threads; a block of one thread needs none.
  Cpu(Grid grid, uint32_t block, uint32_t thread, std::barrier<>* barrier = nullptr)
      : grid_(grid), block_(block), thread_(thread), barrier_(barrier) {}

  uint32_t thread() const { return thread_; }
  uint32_t threads() const { return grid_.threads; }
  uint32_t block() const { return block_; }
  uint32_t blocks() const { return grid_.blocks; }
  void sync() const {
    if (barrier_ != nullptr) barrier_->arrive_and_wait();
  }

  template <class Unit>
  static Unit load(const std::byte* from) {
    Unit unit;
    std::memcpy(&unit, from, sizeof unit);
    return unit;
  }
  template <class Unit>
  static void store(std::byte* to, Unit unit) {
    std::memcpy(to, &unit, sizeof unit);
  }

  static float from_half(uint16_t half) { return reference::Half{half}.decode(); }
  static uint16_t to_half(float value) { return reference::Half::encode(value).bits; }

 private:
  Grid grid_;
  uint32_t block_, thread_;
  std::barrier<>* barrier_;
};

}  // namespace tutti::cuda
