// Memory of one rank that others may reach where it lies: what tutti_alloc gives out.
//
// Between processes it is this rank's part of a window of shared memory that all ranks of the host map at bootstrap: address space only, until
// pages are allocated.  Otherwise (one process, or nobody to share with) it is private memory.
//
// Threads: any.  The caller allocates and frees while a progress thread asks what can be lent.
#pragma once

#include <atomic>
#include <cstddef>
#include <map>
#include <mutex>

namespace tutti::memory {

class Heap {
 public:
  Heap() = default;                                                       // private memory
  Heap(std::byte* part, size_t bytes) : part_(part), capacity_(bytes) {}  // of a window, which outlives this
  ~Heap();
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  // Page aligned, zeroed, faulted in, in huge pages where the system allows; null: no memory for that.
  std::byte* allocate(size_t bytes);

  // Where the allocation begins that `memory` lies in; null: in none.
  const std::byte* begin_of(const void* memory) const;

  // Gives the pages back.  Unless `again`, the addresses are never used again: somebody may still be writing there.
  void free(std::byte* memory, bool again);

  // All of it lies in one allocation.
  bool contains(const std::byte* memory, size_t bytes) const {
    return memory >= low_.load(std::memory_order_relaxed) && memory < high_.load(std::memory_order_relaxed) &&
           inside(memory, bytes);
  }

 private:
  struct Range {
    size_t bytes;
    bool live;
  };
  using Ranges = std::map<const std::byte*, Range>;
  Ranges::const_iterator range_of(const std::byte* memory) const;
  bool inside(const std::byte* memory, size_t bytes) const;
  std::byte* find_room(size_t bytes) const;

  std::byte* part_ = nullptr;
  size_t capacity_ = 0;
  std::byte* take(size_t bytes);

  mutable std::mutex mutex_;  // of ranges_
  Ranges ranges_;
  std::atomic<const std::byte*> low_{nullptr}, high_{nullptr};  // all ranges lie between; most memory asked about does not
};

}  // namespace tutti::memory
