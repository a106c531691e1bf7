// The control tree: a few sockets per rank that carry deaths, aborts, late signatures and goodbyes, never data.
// One thread per process sleeps in epoll.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bootstrap.h"
#include "log.h"
#include "status.h"
#include "vocabulary.h"

namespace tutti {

class ControlThread;  // epoll loop
std::shared_ptr<ControlThread> start_control_thread(Status& status);
// That of this process, begun with its first communicator and ended with its last; or later, if ranks below this one in
// trees that it has left may still need it.
std::shared_ptr<ControlThread> control_thread_of_process(Status& status);

// The report of a rank that makes no progress.
struct Stall {
  Signature signature;     // of the call it is in
  int32_t waits_for = -1;  // the rank whose message it needs next
  uint32_t step = 0, steps = 0;
  uint64_t waited_ns = 0;
};

// Waits for other ranks where no call of this rank's does: kernels of a device.  Called with the control thread's lock
// held, by that thread or by one that is in the Control.
class ControlWatch {
 public:
  struct Look {
    std::optional<Stall> stall;     // for Control::stalled(), or timed_out()
    bool over_time = false;
    std::optional<Status> failure;  // for Control::fail()
  };
  virtual Look look(uint64_t now) = 0;  // four times a second
  virtual void failed() noexcept = 0;   // the communicator has; once

 protected:
  ~ControlWatch() = default;
};

class Control {
 public:
  struct Options {
    int rank = 0, size = 1;
    std::string name;                     // of the communicator
    std::vector<std::string> rank_names;  // "rank 3 (host b, pid 4711)" for messages, index = rank
    uint64_t timeout_ns = 0;              // until set_timeout()
    bool between_hosts = false;           // not all ranks are on one host
    // By rank: of processes that this one can watch; 0 for others and for this one.
    std::vector<int> local_pids;
    std::string listen_address;           // numeric address that other hosts reach this one at; "": all ranks are on this host
    Log log;
  };

  // Collective by `bootstrap`: one exchange.
  static Result<std::unique_ptr<Control>> create(std::shared_ptr<ControlThread> thread, Options options, Bootstrap& bootstrap);
  virtual ~Control() = default;

  // True once the communicator is dead; one relaxed load, made by every waiting loop.
  bool failed() const { return failed_.load(std::memory_order_acquire); }
  virtual Status failure() const = 0;  // the first cause, the same sentence on every rank that the tree reached

  // None of the following blocks, except goodbye().  All may be called from any thread, and again: what changes nothing
  // is ignored.

  // Bounds goodbye's wait.  Between hosts it also says, at rank 0, for how long all ranks must stand still in different
  // calls for that to be a mismatch.
  virtual void set_timeout(uint64_t ns) = 0;

  // This rank saw a failure; the tree passes it on to everyone.  The first cause that reaches the root wins, so that
  // all ranks give the same one: failed() becomes true when the root's word arrives, at the latest in less than half a
  // second.  culprit: rank or -1.
  virtual void fail(int culprit, const Status& cause) = 0;

  // This rank has waited long in a call; to be repeated each second while it does (a report counts for three).
  // Signatures of the same call are compared at the root: a difference fails the communicator with Code::mismatch,
  // naming both calls; a wait for a rank that has said goodbye fails it with Code::peer_lost.  Late ranks are logged
  // after 30 s.
  virtual void stalled(const Stall& stall) = 0;

  // The deadline is over: the root follows waits_for from rank to rank to the one that reported no stall, or finds the
  // rank whose control thread no longer answers, and fails the communicator with Code::timeout, naming it.  If no
  // verdict comes within a second the caller's own view becomes the failure.
  virtual void timed_out(const Stall& stall) = 0;

  // From now on; null: nobody.  When this returns, nobody is in the one before.
  virtual void set_watch(ControlWatch* watch) = 0;

  // This rank is done, and the others learn of it.  They may still need this process to pass messages on to the ranks
  // below it in the tree.  While this process has other communicators, this returns at once, and retire() keeps the
  // tree at work.  The last goodbye waits until the ranks below, of every tree so kept, are done too.  After the
  // timeout that is Code::timeout, after `limit_ns`, if given, it is success; either way retire() keeps the trees at
  // work while the process lives.  If it ends before, those below go on by themselves: their parts of the tree hear no
  // more of one another.  A rank that closes its connections while others wait here counts as done.  Destroying a
  // Control without goodbye looks to the others like a death.
  virtual Status goodbye(std::optional<uint64_t> limit_ns = {}) = 0;
  // After goodbye(): at the end of a communicator.
  static void retire(std::unique_ptr<Control> control);

 protected:
  std::atomic<bool> failed_{false};
};

}  // namespace tutti
