// The memory that a rank's buffers rotate over.  A benchmark that uses one buffer again and again measures the cache;
// here each call takes the next slot, and slots are rewritten before they come round again.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "device.h"
#include "roster.h"

namespace tutti::bench {

struct UnmapBytes {
  uint64_t bytes = 0;
  void operator()(std::byte* memory) const { munmap(memory, bytes); }
};

class Rotation {
 public:
  struct Wish {
    uint64_t bytes = 0;    // per rank; 0: enough to leave the caches, see create()
    uint64_t largest = 0;  // of a slot
    bool huge_pages = false;
  };
  // Equally large on all ranks, and never less than one slot of the largest.  Without a wish it is twice the last-level
  // cache shared out among the ranks of a host, and two slots, bounded by a quarter of the free memory.  `huge_pages`:
  // asks the system for them; whether it gives any is up to it.
  static Result<Rotation> create(const Job& job, const Roster& roster, const Wish& wish);
  // In a device's memory, which `sharing` ranks share.  Without a wish it is twice the device's cache and 16 slots, so
  // that calls are put on the stream one after another, bounded by a quarter of the free memory.
  static Result<Rotation> create(const Job& job, std::shared_ptr<const Device> device, int sharing, const Wish& wish);

  uint64_t bytes() const { return bytes_; }
  bool huge_pages() const { return huge_pages_; }
  const Device* device() const { return device_.get(); }  // null: the memory is the host's
  size_t slots(size_t slot_bytes) const { return slot_bytes == 0 ? kMostSlots : std::min(kMostSlots, bytes_ / stride(slot_bytes)); }
  std::byte* slot(size_t i, size_t slot_bytes) const { return memory() + i * stride(slot_bytes); }

  // The host's view of a slot: the slot itself or, of a device's memory, the one copy that there is, which is sent to a
  // slot and fetched from it.
  std::byte* view(size_t i, size_t slot_bytes) const { return device_ ? memory_.get() : slot(i, slot_bytes); }
  Status send(size_t i, size_t slot_bytes) const;
  Status fetch(size_t i, size_t slot_bytes) const;

 private:
  // More would only make warm-up of page tables part of what is measured.
  static constexpr size_t kMostSlots = 4096;
  // Small slots follow each other as small objects of a program do; large ones start on pages.
  static size_t stride(size_t slot_bytes) {
    const size_t unit = slot_bytes < 16384 ? 256 : 4096;
    return (slot_bytes + unit - 1) / unit * unit;
  }

  // What there is for each rank.
  struct Room {
    uint64_t free, beyond_caches;
    size_t slots;
    const char* place;  // that ranks share
    uint64_t ranks;
  };
  static Result<uint64_t> agree(const Job& job, const Wish& wish, const Room& room);
  Status map(uint64_t bytes);
  std::byte* memory() const { return device_ ? on_device_->data() : memory_.get(); }

  std::unique_ptr<std::byte, UnmapBytes> memory_;  // of the host
  std::shared_ptr<const Device> device_;
  std::optional<cuda::DeviceMemory> on_device_;
  uint64_t bytes_ = 0;
  bool huge_pages_ = false;
};

uint64_t last_level_cache_bytes();
uint64_t free_memory_bytes();  // that this process may still take, also inside a container

}  // namespace tutti::bench
