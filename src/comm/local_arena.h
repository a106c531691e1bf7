// A local arena is what ranks share that are threads of one process: tutti_comm_create_local and splits of such
// communicators.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "private_memory.h"
#include "status.h"
#include "thread_bootstrap.h"

namespace tutti {

// Thread-safe.
class LocalArena {
 public:
  memory::ProcessMemory& memory() { return memory_; }

  // Shared by a group that splits off.
  struct Child {
    std::shared_ptr<LocalArena> arena;
    std::shared_ptr<ThreadRendezvous> rendezvous;
  };
  uint32_t draw_number() { return ++splits_; }  // names a split; drawn by one rank for all
  // Made by the first of the group's `size` ranks to ask, forgotten when all have asked.
  Result<Child> child(uint32_t split, int color, int size);
  void forget_child(uint32_t split, int color);  // some of its ranks will not ask

 private:
  struct Entry {
    Child child;
    int left;  // ranks that have not asked
  };
  memory::ProcessMemory memory_;
  std::mutex mutex_;
  std::atomic<uint32_t> splits_{0};
  std::map<std::pair<uint32_t, int>, Entry> children_;
};

}  // namespace tutti
