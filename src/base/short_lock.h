// A lock for what is short and hardly ever contended: it costs one atomic instruction where a mutex takes two.
#pragma once

#include <atomic>

#include "waiter.h"

namespace tutti {

class ShortLock {
 public:
  void lock() noexcept {
    if (taken_.exchange(true, std::memory_order_acquire)) wait();
  }
  void unlock() noexcept { taken_.store(false, std::memory_order_release); }
  bool try_lock() noexcept { return !taken_.exchange(true, std::memory_order_acquire); }

 private:
  void wait() noexcept {
    Waiter waiter;
    do waiter.wait();
    while (taken_.load(std::memory_order_relaxed) || taken_.exchange(true, std::memory_order_acquire));
  }
  std::atomic<bool> taken_{false};
};

}  // namespace tutti
