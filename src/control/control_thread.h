// The control thread: one epoll loop for all control trees of a process.  Asleep unless a socket or a timer speaks.
#pragma once

#include <sys/epoll.h>

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "owned_fd.h"
#include "status.h"

namespace tutti {

// A tree as the thread sees it.  The thread calls the first two with its lock held.
class ControlMember {
 public:
  virtual void on_ready(uint32_t which, uint32_t events) = 0;  // epoll's events of the descriptor watched as `which`
  // Deals with timers that are over; when the next one will be.
  virtual uint64_t on_tick(uint64_t now) = 0;
  // Nobody needs it any more: it is done, and so are the ranks to which it passes messages on.
  virtual bool is_done() const = 0;
  virtual bool is_leaving() const = 0;          // goodbye() was called
  virtual std::string awaited_ones() const = 0;  // the ranks that it waits for, for messages
  virtual ~ControlMember() = default;
};

class ControlThread {
 public:
  static Result<std::shared_ptr<ControlThread>> start();
  ~ControlThread();
  ControlThread(const ControlThread&) = delete;
  ControlThread& operator=(const ControlThread&) = delete;

  // Guards every member's state.  Control messages are rare and short, so one lock for all is enough.
  std::mutex& mutex() { return mutex_; }

  // With the lock held.  A member that was dismissed is never called again.
  uint32_t enroll(ControlMember& member);
  void dismiss(uint32_t member) { members_.erase(member); }
  Status watch(uint32_t member, uint32_t which, int fd);
  void want_output(uint32_t member, uint32_t which, int fd, bool wanted);
  void unwatch(int fd);

  void wake();  // timers have changed

  // With the lock held.  Some communicator of this process has not said goodbye.
  bool has_staying() const;
  bool all_done() const;
  std::string awaited_ones() const;
  std::condition_variable& changed() { return changed_; }  // notified when a member may have become done

  // Owns a member until it is done.  Not with the lock held.
  void keep(std::unique_ptr<ControlMember> member);
  bool has_kept();

 private:
  ControlThread() = default;
  void run();
  uint64_t serve(std::span<const epoll_event> events);
  void end_kept();

  OwnedFd epoll_, wake_;
  std::mutex mutex_;
  std::map<uint32_t, ControlMember*> members_;  // numbers are never used again: a late event finds nobody
  uint32_t next_member_ = 1;
  std::vector<std::unique_ptr<ControlMember>> kept_;
  std::condition_variable changed_;
  bool stop_ = false;
  std::thread thread_;
};

// Keeps a thread that has members of its own until they are done or the process ends.
void outlive_communicators(const std::shared_ptr<ControlThread>& thread);

}  // namespace tutti
