// The one thread of this process that carries on asynchronous operations, those of all communicators, while no thread
// of the program drives them.
//
// It begins with the first engine that needs it and ends with the last.  After work it naps for a moment, in which an
// operation that is started costs no system call; then it sleeps until it is woken.
#pragma once

#include <poll.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "status.h"

namespace tutti {

// Tells somebody, once, that all operations of a request have ended.
class Completion {
 public:
  using Function = void (*)(void* context);
  Completion(Function function, void* context) : function_(function), context_(context) {}

  // Under the engine's lock.
  void await_one_more() noexcept { ++left_; }
  bool last_ended() noexcept { return left_ > 0 && --left_ == 0; }
  bool give_up() noexcept { return std::exchange(left_, 0) > 0; }  // the communicator has failed: do not wait any longer

 private:
  friend class Completions;
  Function function_;
  void* context_;
  size_t left_ = 0;  // operations that have not ended
  std::shared_ptr<Completion> next_;
};

// To be given when no lock of the library's is held.
class Completions {
 public:
  Completions() = default;
  Completions(const Completions&) = delete;
  ~Completions() { give(); }
  void add(std::shared_ptr<Completion> completion) noexcept {
    completion->next_ = std::move(first_);
    first_ = std::move(completion);
  }
  bool give() {
    const bool any = first_ != nullptr;
    while (first_) {
      const std::shared_ptr<Completion> completion = std::move(first_);
      first_ = std::move(completion->next_);
      completion->function_(completion->context_);
    }
    return any;
  }

 private:
  std::shared_ptr<Completion> first_;
};

// What the thread drives.
class ProgressClient {
 public:
  enum class Turn : uint8_t {
    idle,
    waits,  // nothing moved
    moved,
  };
  // Does what can be done now.  `ended`: gets those to be told once no lock is held.
  virtual Turn take_turn(Completions& ended) noexcept = 0;
  virtual bool has_work() const = 0;  // and nobody else does it; for any thread, cheap
  // Adds the descriptors of which one becomes ready before anything can move; false: only asking tells.
  virtual bool add_awaited(std::vector<pollfd>& descriptors) = 0;
  virtual uint32_t pauses() const = 0;  // see Waiter

 protected:
  ~ProgressClient() = default;
};

class ProgressThread {
 public:
  // The process's own; after fork() the child has another one.
  static Result<std::shared_ptr<ProgressThread>> of_process();
  ~ProgressThread();

  void add(ProgressClient& client);
  void remove(ProgressClient& client) noexcept;  // from then on the thread is not in it
  // A client has got work, as its has_work() shows by now.
  void wake() noexcept;
  // As wake(), also out of a nap: nobody else will do the work soon.
  void hurry() noexcept;

 private:
  struct Shared;
  explicit ProgressThread(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
  std::shared_ptr<Shared> shared_;  // with the thread
  std::thread thread_;
};

}  // namespace tutti
