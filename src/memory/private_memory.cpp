#include "private_memory.h"

#include <sys/mman.h>

#include "resource_limits.h"

namespace tutti::memory {

Result<std::shared_ptr<std::byte>> private_memory(size_t bytes) {
  void* base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return cannot_map("memory for message slots", bytes);
  ::madvise(base, bytes, MADV_HUGEPAGE);
  return std::shared_ptr<std::byte>(static_cast<std::byte*>(base), [bytes](std::byte* memory) { ::munmap(memory, bytes); });
}

Result<std::shared_ptr<std::byte>> ProcessMemory::arena_memory(const ArenaShape& shape) {
  const std::lock_guard lock(mutex_);
  if (!memory_) {
    auto made = private_memory(shape.bytes());
    if (!made.ok()) return made.status();
    memory_ = *made;
  }
  return memory_;
}

}  // namespace tutti::memory
