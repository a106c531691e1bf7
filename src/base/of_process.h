// An object of which a process has one.  The child of a fork gets one of its own, since locks and threads are not there
// what they were in its parent.  Never destroyed: it is there for static objects that end late.
#pragma once

#include <unistd.h>

#include <atomic>
#include <memory>

namespace tutti {

template <class T>
T& of_process() {
  struct Place {
    const pid_t process = ::getpid();
    Place* of_parent = nullptr;  // not used any more
    T object;
  };
  static std::atomic<Place*> known{nullptr};
  Place* found = known.load(std::memory_order_acquire);
  if (found && found->process == ::getpid()) return found->object;
  auto fresh = std::make_unique<Place>();
  fresh->of_parent = found;
  return known.compare_exchange_strong(found, fresh.get()) ? fresh.release()->object : found->object;
}

}  // namespace tutti
