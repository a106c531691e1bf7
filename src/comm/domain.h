// A domain holds what a communicator and all that are split off it share at one rank: threads, the log file, and the
// memory of tutti_alloc.  Together, these communicators are a family.
//
// Memory.  One heap serves the whole family, so each of its communicators lends what was allocated on any other.  An
// allocation belongs to the communicator on which it was made, and ends with it.
//
// Threads: any, once the family's first communicator is complete.
#pragma once

#include <functional>
#include <map>
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
  OwnedFd log_file;  // of all logs of the family, if not stderr
  std::shared_ptr<ControlThread> control_thread;
  std::shared_ptr<Workers> workers;

  // Says where the heap lies.  Once, before anybody asks for it.
  void open_heap(memory::Window window);
  const memory::Window& window() const { return window_; }
  const memory::Heap& heap() const { return *heap_; }

  // The table of predictions for communicators of this shape; all of the family have been measured alike.
  std::string table_of(const std::string& shape, const std::function<std::string()>& make);

  void join(const Member& member);
  void leave(const Member& member);  // from then on, no other thread asks it

  // Null: there is no memory.
  void* allocate(const Member& owner, size_t bytes) { return heap_->allocate(bytes, &owner); }
  Status free(const Member& owner, void* memory);
  // Frees everything that a communicator owns which has left.  Memory that others still use stays until the end of
  // the family.
  void free_all_of(const Member& owner) noexcept;

 private:
  void spoil_after_failure();
  std::string user_of(const void* allocation) const;

  memory::Window window_;
  std::unique_ptr<memory::Heap> heap_;
  mutable std::mutex mutex_;  // of members_; taken before a member's own
  std::vector<const Member*> members_;
  std::mutex tables_mutex_;
  std::map<std::string, std::string> tables_;  // by shape
};

}  // namespace tutti
