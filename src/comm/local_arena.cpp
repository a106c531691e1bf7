#include "local_arena.h"

namespace tutti {

Result<LocalArena::Child> LocalArena::child(uint32_t split, int color, int size) {
  const std::lock_guard lock(mutex_);
  const std::pair key(split, color);
  auto found = children_.find(key);
  if (found == children_.end()) {
    auto rendezvous = ThreadRendezvous::open(size);
    if (!rendezvous.ok()) return rendezvous.status();
    found = children_.emplace(key, Entry{{std::make_shared<LocalArena>(), std::move(*rendezvous)}, size}).first;
  }
  Child child = found->second.child;
  if (--found->second.left == 0) children_.erase(found);
  return child;
}

void LocalArena::forget_child(uint32_t split, int color) {
  const std::lock_guard lock(mutex_);
  children_.erase({split, color});
}

}  // namespace tutti
