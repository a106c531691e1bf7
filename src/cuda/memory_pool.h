// Memory of a context that its owners no longer need.  To free it waits for every kernel of the context, also for those
// that wait for what the thread that frees it is to do next (of ranks that are threads of one process); so it is kept,
// and handed out again, until nobody in the process uses the pool any more.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "device_memory.h"

namespace tutti::cuda {

// Thread-safe.
class MemoryPool {
 public:
  // That of the context.
  static std::shared_ptr<MemoryPool> of(const SharedContext& context);

  // Of this length or longer, with any content.
  Result<DeviceMemory> device(size_t bytes) { return take(device_, bytes); }
  Result<PinnedMemory> pinned(size_t bytes) { return take(pinned_, bytes); }
  // Nothing on the device uses it any more.
  void give_back(DeviceMemory memory) noexcept { keep(device_, std::move(memory)); }
  void give_back(PinnedMemory memory) noexcept { keep(pinned_, std::move(memory)); }
  // Kernels, which to unload waits, too: they stay as long as the pool.
  void hold(std::shared_ptr<const void> kernels) {
    const std::lock_guard lock(mutex_);
    held_.insert(std::move(kernels));
  }
  // Likewise what belongs to an owner that may end earlier, until somebody asks for it who has the same owner.
  void park(std::weak_ptr<const void> owner, size_t bytes, std::shared_ptr<void> what) noexcept {
    try {
      const std::lock_guard lock(mutex_);
      parked_.push_back({std::move(owner), bytes, std::move(what)});
    } catch (const std::bad_alloc&) {  // then it ends
    }
  }
  std::shared_ptr<void> unpark(const std::shared_ptr<const void>& owner, size_t bytes) {
    const std::lock_guard lock(mutex_);
    for (Parked& parked : parked_) {
      if (parked.bytes != bytes || parked.owner.lock() != owner) continue;
      std::swap(parked, parked_.back());
      std::shared_ptr<void> what = std::move(parked_.back().what);
      parked_.pop_back();
      return what;
    }
    return nullptr;
  }

 private:
  explicit MemoryPool(SharedContext context) : context_(std::move(context)) {}

  // What is more than twice as long is left to those who need it.
  template <class Memory>
  Result<Memory> take(std::vector<Memory>& kept, size_t bytes) {
    {
      const std::lock_guard lock(mutex_);
      for (Memory& known : kept) {
        if (known.size() < bytes || known.size() / 2 > bytes) continue;
        std::swap(known, kept.back());
        Memory taken = std::move(kept.back());
        kept.pop_back();
        return taken;
      }
    }
    return Memory::allocate(context_, bytes);
  }
  template <class Memory>
  void keep(std::vector<Memory>& kept, Memory memory) noexcept {
    try {
      const std::lock_guard lock(mutex_);
      kept.push_back(std::move(memory));
    } catch (const std::bad_alloc&) {  // then it is freed
    }
  }

  const SharedContext context_;
  std::mutex mutex_;
  std::vector<DeviceMemory> device_;
  std::vector<PinnedMemory> pinned_;
  std::set<std::shared_ptr<const void>> held_;
  struct Parked {
    std::weak_ptr<const void> owner;
    size_t bytes = 0;
    std::shared_ptr<void> what;
  };
  std::vector<Parked> parked_;
};

}  // namespace tutti::cuda
