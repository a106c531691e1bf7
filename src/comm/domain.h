// What a communicator and all that are split off it have in common at one rank: threads, the log file, and the memory of tutti_alloc.
//
// Memory.  One heap serves the whole family, so that each of its communicators lends what was allocated on any other.  An allocation
// belongs to the communicator it was made on, and ends with it.
//
// Threads: any, once the family's first communicator is complete.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "control.h"
#include "heap.h"
#include "owned_fd.h"
#include "status.h"
#include "workers.h"

namespace tutti {

class Domain {
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

  // Set by the first communicator while it is put together.
  OwnedFd log_file;  // that all logs of the family write to, if not stderr
  std::shared_ptr<ControlThread> control_thread;
  std::shared_ptr<Workers> workers;

  // Where the heap lies; once, before it is asked for.
  void open_heap(memory::Window window);
  const memory::Window& window() const { return window_; }
  const memory::Heap& heap() const { return *heap_; }

  void join(const Member& member);
  void leave(const Member& member);  // no other thread may ask it any more

  void* allocate(const Member& owner, size_t bytes) { return heap_->allocate(bytes, &owner); }  // null: there is no memory
  Status free(const Member& owner, void* memory);
  // The end of a communicator that has left: what it owns.  What others still use stays until the end of the family.
  void free_all_of(const Member& owner) noexcept;

 private:
  void spoil_after_failure();
  std::string user_of(const void* allocation) const;

  memory::Window window_;
  std::unique_ptr<memory::Heap> heap_;
  mutable std::mutex mutex_;  // of members_; taken before a member's own
  std::vector<const Member*> members_;
};

}  // namespace tutti
