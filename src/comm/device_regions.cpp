#include "device_regions.h"

#include <algorithm>

#include "stream.h"

namespace tutti {

// What is more than twice as long is left to those who need it.
Result<std::byte*> DeviceRegions::allocate(const cuda::SharedContext& context, size_t bytes, const void* owner) {
  {
    const std::lock_guard lock(mutex_);
    for (auto& [begin, known] : allocations_) {
      const size_t has = known.region->bytes();
      if (known.live || known.region->context().handle() != context->handle() || has < bytes || has / 2 > bytes) continue;
      known.live = true;
      known.owner = owner;
      return known.region->data();
    }
  }
  const cuda::BesideCaptures beside(context->driver());
  auto made = cuda::ReachableMemory::allocate(context, bytes, cuda::MemoryPool::of(context));
  if (!made.ok()) return made.status();
  const std::lock_guard lock(mutex_);
  regions_.push_back(*made);
  allocations_[(*made)->data()] = {*made, owner};
  count_.store(regions_.size(), std::memory_order_release);
  return (*made)->data();
}

DeviceRegions::Allocations::const_iterator DeviceRegions::live_at(const void* memory) const {
  const auto found = allocations_.find(static_cast<const std::byte*>(memory));
  return found != allocations_.end() && found->second.live ? found : allocations_.end();
}

const std::byte* DeviceRegions::begin_of(const void* memory) const {
  if (count() == 0) return nullptr;
  const std::lock_guard lock(mutex_);
  auto next = allocations_.upper_bound(static_cast<const std::byte*>(memory));
  if (next == allocations_.begin()) return nullptr;
  const auto& [begin, allocation] = *--next;
  return allocation.live && static_cast<const std::byte*>(memory) < begin + allocation.region->bytes() ? begin : nullptr;
}

const void* DeviceRegions::owner_of(const void* memory) const {
  const std::lock_guard lock(mutex_);
  const auto found = live_at(memory);
  return found == allocations_.end() ? nullptr : found->second.owner;
}

std::byte* DeviceRegions::first_of(const void* owner) const {
  const std::lock_guard lock(mutex_);
  const auto found =
      std::ranges::find_if(allocations_, [&](const auto& entry) { return entry.second.live && entry.second.owner == owner; });
  return found == allocations_.end() ? nullptr : found->second.region->data();
}

void DeviceRegions::disown(std::byte* memory) {
  const std::lock_guard lock(mutex_);
  allocations_.at(memory).owner = nullptr;
}

void DeviceRegions::free(std::byte* memory) {
  const std::lock_guard lock(mutex_);
  Allocation& allocation = allocations_.at(memory);
  allocation.live = false;
  allocation.owner = nullptr;
}

DeviceRegions::Region DeviceRegions::at(size_t n) const {
  const std::lock_guard lock(mutex_);
  return regions_[n];
}

}  // namespace tutti
