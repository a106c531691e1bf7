// Slots on the heap for tests, and the world of `memory` links over them.
#pragma once

#include <memory>
#include <numeric>
#include <vector>

#include "arena.h"
#include "arena_pool.h"
#include "memory_transport.h"

namespace tutti {

class HeapArena {
 public:
  explicit HeapArena(const memory::ArenaShape& shape) : pages_(shape.bytes() / sizeof(Page)), arena_(pages_[0].bytes, shape) {}
  const memory::Arena& arena() const { return arena_; }

 private:
  struct alignas(4096) Page {
    std::byte bytes[4096] = {};
  };
  std::vector<Page> pages_;
  memory::Arena arena_;
};

class MemoryWorld {
 public:
  static constexpr bool kSeesLoss = false;  // deaths are the control tree's business where memory is shared
  static bool available() { return true; }

  MemoryWorld(int ranks, uint32_t slots, size_t slot_bytes) : heap_({static_cast<uint32_t>(ranks), slots, slot_bytes}) {
    std::vector<int> places(static_cast<size_t>(ranks));
    std::iota(places.begin(), places.end(), 0);
    for (uint32_t place = 0; place < places.size(); ++place) {
      pools_.push_back(std::make_unique<memory::ArenaPool>(heap_.arena(), place));
      transports_.push_back(std::make_unique<memory::MemoryTransport>(heap_.arena(), place, places));
    }
  }
  Transport& transport(int rank) { return *transports_[static_cast<size_t>(rank)]; }
  SlotPool& pool(int rank) { return *pools_[static_cast<size_t>(rank)]; }

 private:
  HeapArena heap_;
  std::vector<std::unique_ptr<memory::ArenaPool>> pools_;
  std::vector<std::unique_ptr<memory::MemoryTransport>> transports_;
};

}  // namespace tutti
