// Memory of one rank that others may reach where it lies: what tutti_alloc gives out.
//
// Between processes it is this rank's part of a window of shared memory: address space only, until pages are
// allocated.  Otherwise (one process, or nobody to share with) it is private memory.
//
// Threads: any.  The caller allocates and frees while a progress thread asks what can be lent.
#pragma once

#include <atomic>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>

namespace tutti::memory {

// Address space that all ranks of a host map, each where it likes, when their first communicator is created.  Each
// allocates in a part of it.
struct Window {
  std::shared_ptr<std::byte> base;  // null: this rank could not map it, or shares no memory
  size_t part_at = 0, part_bytes = 0;
};

class Heap {
 public:
  Heap() = default;                                                       // private memory
  Heap(std::byte* part, size_t bytes) : part_(part), capacity_(bytes) {}  // of a window, which outlives this
  explicit Heap(const Window& window) : Heap(window.base ? window.base.get() + window.part_at : nullptr, window.part_bytes) {}
  ~Heap();
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  // Page aligned, zeroed, faulted in, in huge pages where the system allows; null: no memory for that.  If need not be
  // `zeroed`, pages of such memory that was freed are used again as they are.
  std::byte* allocate(size_t bytes, const void* owner = nullptr, bool zeroed = true);

  // Where the allocation begins that `memory` lies in; null: in none.
  const std::byte* begin_of(const void* memory) const;

  // Of the allocation that begins there; null: of nobody, or there is none.
  const void* owner_of(const void* memory) const;
  std::byte* first_of(const void* owner) const;  // of its allocations; null: it has none
  void disown(std::byte* memory);

  // Gives the pages back, or keeps them for memory that need not be zeroed.
  void free(std::byte* memory);
  void trim();  // gives all those back
  // Somebody may write to what is allocated now even after it is freed: its addresses are never used again.
  void spoil();

  // All of it lies in one allocation.
  bool contains(const std::byte* memory, size_t bytes) const {
    return memory >= low_.load(std::memory_order_relaxed) && memory < high_.load(std::memory_order_relaxed) &&
           inside(memory, bytes);
  }

 private:
  struct Range {
    size_t bytes;
    bool live = true, spoiled = false;
    bool zeroed = true;  // when it was allocated
    bool idle = false;   // freed, with its pages
    const void* owner = nullptr;
  };
  using Ranges = std::map<const std::byte*, Range>;
  Ranges::const_iterator range_of(const std::byte* memory) const;
  bool inside(const std::byte* memory, size_t bytes) const;
  std::byte* find_room(size_t bytes) const;
  std::byte* allocate_new(size_t whole, const void* owner, bool zeroed);
  std::byte* take(size_t bytes, const void* owner, bool zeroed);
  std::byte* take_idle(size_t bytes, const void* owner);
  Ranges::iterator give_back(Ranges::iterator range);

  std::byte* part_ = nullptr;
  size_t capacity_ = 0;

  mutable std::mutex mutex_;  // of ranges_
  Ranges ranges_;
  size_t idle_bytes_ = 0;
  std::atomic<const std::byte*> low_{nullptr}, high_{nullptr};  // all ranges lie between; most other memory does not
};

}  // namespace tutti::memory
