// The memory that a rank's buffers rotate over.  A benchmark that uses one buffer again and again measures the cache;
// here each call takes the next slot, and slots are rewritten before they come round again.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <memory>

#include "roster.h"

namespace tutti::bench {

struct UnmapBytes {
  uint64_t bytes = 0;
  void operator()(std::byte* memory) const { munmap(memory, bytes); }
};

class Rotation {
 public:
  // Equally large on all ranks.  `wanted`: bytes per rank, 0 for twice the last-level cache shared out among the ranks
  // of a host, bounded by a quarter of the free memory.  Never less than one slot of `largest` bytes, two where the
  // memory allows.  `huge_pages`: asks the system for them; whether it gives any is up to it.
  static Result<Rotation> create(const Job& job, const Roster& roster, uint64_t wanted, uint64_t largest, bool huge_pages);

  uint64_t bytes() const { return bytes_; }
  bool huge_pages() const { return huge_pages_; }
  size_t slots(size_t slot_bytes) const { return slot_bytes == 0 ? kMostSlots : std::min(kMostSlots, bytes_ / stride(slot_bytes)); }
  std::byte* slot(size_t i, size_t slot_bytes) const { return memory_.get() + i * stride(slot_bytes); }

 private:
  // More would only make warm-up of page tables part of what is measured.
  static constexpr size_t kMostSlots = 4096;
  // Small slots follow each other as small objects of a program do; large ones start on pages.
  static size_t stride(size_t slot_bytes) {
    const size_t unit = slot_bytes < 16384 ? 256 : 4096;
    return (slot_bytes + unit - 1) / unit * unit;
  }

  std::unique_ptr<std::byte, UnmapBytes> memory_;
  uint64_t bytes_ = 0;
  bool huge_pages_ = false;
};

uint64_t last_level_cache_bytes();
uint64_t free_memory_bytes();  // that this process may still take, also inside a container

}  // namespace tutti::bench
