// Memory of one process for arenas.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>

#include "arena.h"
#include "status.h"

namespace tutti::memory {

// Zeroed; unmapped with its last user.
Result<std::shared_ptr<std::byte>> private_memory(size_t bytes);

// An arena's memory for ranks that are threads of one process.  Thread-safe.
class ProcessMemory {
 public:
  // The first to ask decides the shape; all ask for the same.
  Result<std::shared_ptr<std::byte>> arena_memory(const ArenaShape& shape);

 private:
  std::mutex mutex_;
  std::shared_ptr<std::byte> memory_;
};

}  // namespace tutti::memory
