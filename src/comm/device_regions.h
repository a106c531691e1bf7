// Memory of devices that one rank's kernels may lend those of others: what tutti_alloc_device gives out.
//
// What is freed is kept for later allocations until the end of the family, since other ranks have it mapped; nothing of
// a device is freed anyway while kernels may wait (memory_pool.h).
//
// Threads: any.
#pragma once

#include <atomic>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "reachable_memory.h"

namespace tutti {

class DeviceRegions {
 public:
  using Region = std::shared_ptr<const cuda::ReachableMemory>;

  // With any content.
  Result<std::byte*> allocate(const cuda::SharedContext& context, size_t bytes, const void* owner);

  // As memory::Heap, which has the host's memory.
  const std::byte* begin_of(const void* memory) const;
  const void* owner_of(const void* memory) const;
  std::byte* first_of(const void* owner) const;
  void disown(std::byte* memory);
  void free(std::byte* memory);

  // All that there have ever been, in the order in which they were made.
  size_t count() const { return count_.load(std::memory_order_acquire); }
  Region at(size_t n) const;

 private:
  struct Allocation {
    Region region;
    const void* owner = nullptr;
    bool live = true;
  };
  using Allocations = std::map<const std::byte*, Allocation>;
  Allocations::const_iterator live_at(const void* memory) const;

  mutable std::mutex mutex_;
  Allocations allocations_;
  std::vector<Region> regions_;
  std::atomic<size_t> count_{0};
};

}  // namespace tutti
