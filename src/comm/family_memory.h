// The memory of tutti_alloc and tutti_alloc_device that a communicator and all that are split off it, its family, have
// at one rank.
//
// One heap, and one set of regions of devices, serves the whole family, so each of its communicators lends what was
// allocated on any other.  An allocation belongs to the communicator on which it was made, and ends with it; or it is
// kept until it is freed, even beyond the family.
//
// Threads: any, once the family's first communicator is complete.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "device_regions.h"
#include "heap.h"
#include "status.h"

namespace tutti {

class FamilyMemory : public std::enable_shared_from_this<FamilyMemory> {
 public:
  // A communicator, as its family sees it.
  class Member {
   public:
    virtual bool failed() const = 0;
    // The unfinished call that uses the allocation that begins there; "" if none does.
    virtual std::string user_of(const void* allocation) const = 0;

   protected:
    ~Member() = default;
  };

  explicit FamilyMemory(memory::Window window) : window_(std::move(window)), heap_(window_) {}
  const memory::Window& window() const { return window_; }
  const memory::Heap& heap() const { return heap_; }
  const DeviceRegions& regions() const { return regions_; }

  void join(const Member& member);
  void leave(const Member& member);  // from then on, no other thread asks it

  struct Wish {
    size_t bytes = 0;
    bool zeroed = true;
    bool kept = false;  // the whole process may free it, also after the end of the family
  };
  void* allocate(const Member& owner, const Wish& wish);  // null: there is no memory
  Result<std::byte*> allocate_on(const cuda::SharedContext& device, const Member& owner, size_t bytes) {
    return regions_.allocate(device, bytes, &owner);
  }
  Status free(const Member& owner, void* memory);  // what belongs to that member, and what is kept
  // Frees everything that a communicator owns which has left.  Memory that others still use stays until the end of
  // the family.
  void free_all_of(const Member& owner) noexcept;

  // What any family of this process keeps.
  static Status free_kept(void* memory);

 private:
  void spoil_after_failure();
  std::string user_of(const void* allocation) const;
  Status free_owned_by(const void* owner, void* memory);
  template <class Memory>
  void free_all_in(Memory& memory, const Member& owner) noexcept;

  memory::Window window_;
  memory::Heap heap_;
  DeviceRegions regions_;
  mutable std::mutex mutex_;  // of members_; taken before a member's own
  std::vector<const Member*> members_;
};

}  // namespace tutti
