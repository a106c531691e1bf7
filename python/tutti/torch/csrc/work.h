// One operation under way, as torch sees it.
//
// Whoever waits for a work drives its operation; otherwise Tutti's progress thread does, and its notification ends the
// request.  It does nothing that takes long, since all other asynchronous calls of the process wait for that thread.
//
// A request is one thread's at a time, so `owner_` says whose: a waiter gives it back when its time is over, and looks
// once more whether the notification came meanwhile, which does nothing while there is a waiter.
#pragma once

#include <ATen/core/ivalue.h>
#include <torch/csrc/distributed/c10d/Work.hpp>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "communicator.h"
#include "tensors.h"
#include "threads.h"

namespace tutti_torch {

// What torch wants to know of an operation.
struct Description {
  c10d::OpType type;
  const char* title;  // of the profiler's event
  std::vector<at::Tensor> inputs;
  std::vector<at::Tensor> results;  // of result() and the future
  bool asynchronous = true;
};

class Work : public c10d::Work {
 public:
  Work(int rank, const Description& description)
      : c10d::Work(rank, description.type, description.title, description.inputs), results_(description.results) {}

  bool isCompleted() override { return done_; }
  bool isSuccess() const override { return done_ && !exception(); }
  std::exception_ptr exception() const override {
    const std::lock_guard lock(mutex_);
    return exception_;
  }
  std::vector<at::Tensor> result() override {
    TORCH_CHECK(done_, "the work has not ended: wait() for it before result().");
    return results_;
  }
  void synchronize() override { wait(); }
  void abort() override { TORCH_CHECK_NOT_IMPLEMENTED(false, "one work cannot be aborted; abort its process group."); }

  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override {
    const std::lock_guard lock(mutex_);
    if (!future_) {
      future_ = c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()));
      if (done_) complete_future();
    }
    return future_;
  }

 protected:
  // The end, called once.  Futures run callbacks of anybody's, so those that somebody may wait for in a callback are
  // completed by a thread of their own.
  void end(std::exception_ptr failure) {
    bool asked = false;
    {
      const std::lock_guard lock(mutex_);
      exception_ = failure;
      done_ = true;
      asked = future_ != nullptr;
    }
    finish(failure);
    if (asked) Threads::of_process().run([self = intrusive_from_this()] { self->complete_future(); });
  }

  // True if it has ended; throws its failure.
  bool ended() const {
    if (!done_) return false;
    if (const auto failure = exception()) std::rethrow_exception(failure);
    return true;
  }

  // As wait() of what others end.  False: the time is over.
  bool await_end(milliseconds timeout) {
    std::unique_lock lock(mutex_);
    const auto over = [this] { return completed_; };
    if (timeout == kNoTimeout) {
      cv_.wait(lock, over);
      return true;
    }
    return cv_.wait_for(lock, timeout, over);
  }

  [[noreturn]] static void wait_is_over(milliseconds timeout) {
    std::rethrow_exception(
        exception_of<c10::DistBackendError>("the operation did not end within the timeout of " + std::to_string(timeout.count()) +
                                            " ms that was given to wait(); it goes on, and wait() may be called again."));
  }

  c10::intrusive_ptr<Work> intrusive_from_this() {
    c10::raw::intrusive_ptr::incref(this);
    return c10::intrusive_ptr<Work>::reclaim(this);
  }

  std::atomic<bool> done_{false};

 private:
  void complete_future() {
    if (exception_) return future_->setError(exception_);
    future_->markCompleted(c10::IValue(results_));
  }

  const std::vector<at::Tensor> results_;
  c10::intrusive_ptr<c10::ivalue::Future> future_;
};

// One that was carried out before the call returned.
class FinishedWork final : public Work {
 public:
  using Work::Work;
  void finish_now() { end(nullptr); }
  bool wait(milliseconds = kNoTimeout) override { return ended(); }
};

// One request of Tutti's.
class RequestWork final : public Work {
 public:
  RequestWork(int rank, const Description& description, std::shared_ptr<Communicator> communicator)
      : Work(rank, description), communicator_(std::move(communicator)) {}

  // `begin` starts the operation: tutti_status(tutti_comm *, Operands &, tutti_request **).
  template <class Begin>
  void start(Begin&& begin) {
    auto notification =
        std::make_unique<Notification>(communicator_, c10::static_intrusive_pointer_cast<RequestWork>(intrusive_from_this()));
    const tutti_status status = begin(notification->use.comm(), operands_, &request_);
    if (status != TUTTI_SUCCESS) {
      const auto failure = communicator_->exception(status);
      end(failure);
      std::rethrow_exception(failure);
    }
    tutti_request_notify(
        request_, [](void* context) { notified(std::unique_ptr<Notification>(static_cast<Notification*>(context))); },
        notification.release());
  }

  bool isCompleted() override {
    drive([](tutti_request* request, int* done) { return tutti_test(request, done); });
    return done_;
  }

  // Who asks for a future does not drive the operation: Tutti's thread is to go on with it at once.
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override {
    drive([](tutti_request* request, int* done) { return tutti_wait_for(request, 0, done); });
    return Work::getFuture();
  }

  bool wait(milliseconds timeout = kNoTimeout) override {
    const bool unlimited = timeout == kNoTimeout || timeout < milliseconds(0);
    const auto begun = std::chrono::steady_clock::now();
    drive([&](tutti_request* request, int* done) {
      if (!unlimited) return tutti_wait_for(request, to_milliseconds(timeout), done);
      *done = 1;
      return tutti_wait(request);
    });
    const auto left = timeout - std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begun);
    if (!await_end(unlimited ? kNoTimeout : std::max(left, milliseconds(1)))) wait_is_over(timeout);
    return ended();
  }

  int sourceRank() const override {
    TORCH_CHECK(done_, "the source of a receive is known once it has ended: wait() for it before.");
    return operands_.source();
  }

 private:
  enum class Owner { nobody, waiter, notification };

  // Comes when the operation has ended, by whoever finds that.  The communicator is in use until the work is let go,
  // so that the process does not end in between: what is Python's cannot be let go any more then.
  struct Notification {
    Notification(std::shared_ptr<Communicator> of, c10::intrusive_ptr<RequestWork> about)
        : communicator(std::move(of)), use(*communicator), work(std::move(about)) {}
    const std::shared_ptr<Communicator> communicator;
    const Communicator::Use use;
    const c10::intrusive_ptr<RequestWork> work;
  };

  // Has `ask` end the request, if it is nobody else's.
  template <class Ask>
  void drive(Ask&& ask) {
    Owner nobody = Owner::nobody;
    if (done_ || !owner_.compare_exchange_strong(nobody, Owner::waiter)) return;
    int done = 0;
    const tutti_status status = ask(request_, &done);
    if (done || status != TUTTI_SUCCESS) return conclude(status);
    owner_ = Owner::nobody;
    if (notified_ && owner_.compare_exchange_strong(nobody = Owner::nobody, Owner::notification)) conclude(tutti_wait(request_));
  }

  static void notified(std::unique_ptr<Notification> notification) {
    const bool before = std::exchange(Communicator::notifying, true);
    RequestWork& work = *notification->work;
    work.notified_ = true;
    Owner nobody = Owner::nobody;
    if (work.owner_.compare_exchange_strong(nobody, Owner::notification)) {
      if (work.operands_.staged()) {
        hand_over(std::move(notification), [](RequestWork& staged) { staged.conclude(tutti_wait(staged.request_)); });
      } else {
        work.conclude(tutti_wait(work.request_));
      }
    }
    // Its tensors may be Python's, and the last who has them waits for Python's lock.
    if (notification && notification->work.use_count() == 1) hand_over(std::move(notification), [](RequestWork&) {});
    notification.reset();
    Communicator::notifying = before;
  }

  // The rest on a thread that nobody waits for.
  template <class Rest>
  static void hand_over(std::unique_ptr<Notification> notification, Rest rest) {
    Threads::of_process().run([kept = std::shared_ptr(std::move(notification)), rest] { rest(*kept->work); });
  }

  void conclude(tutti_status status) {
    std::exception_ptr failure;
    try {
      if (status == TUTTI_SUCCESS) {
        operands_.copy_back();
      } else {
        failure = communicator_->exception(status);
      }
    } catch (...) {
      failure = std::current_exception();
    }
    end(failure);
  }

  const std::shared_ptr<Communicator> communicator_;
  Operands operands_;
  tutti_request* request_ = nullptr;
  std::atomic<Owner> owner_{Owner::nobody};
  std::atomic<bool> notified_{false};
};

// Several works that torch takes for one.
class CoalescedWork final : public Work {
 public:
  CoalescedWork(int rank, const Description& description, std::vector<c10::intrusive_ptr<c10d::Work>> parts)
      : Work(rank, description), parts_(std::move(parts)) {}

  bool isCompleted() override {
    if (!done_ && std::all_of(parts_.begin(), parts_.end(), [](const auto& part) { return part->isCompleted(); })) conclude();
    return done_;
  }

  bool wait(milliseconds timeout = kNoTimeout) override {
    const auto until = std::chrono::steady_clock::now() + timeout;
    std::exception_ptr first;
    for (const auto& part : parts_) {
      const auto left = std::chrono::duration_cast<milliseconds>(until - std::chrono::steady_clock::now());
      try {
        part->wait(timeout == kNoTimeout ? timeout : std::max(left, milliseconds(1)));
      } catch (...) {
        if (!part->isCompleted()) throw;  // the time is over
        if (!first) first = std::current_exception();
      }
    }
    conclude();
    return ended();
  }

  // Waits for all of them on a thread of its own, which is what completes the future then.
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override {
    auto future = Work::getFuture();
    if (!done_ && !awaited_.exchange(true)) {
      Threads::of_process().run([self = c10::intrusive_ptr<Work>(intrusive_from_this())] {
        try {
          self->wait(kNoTimeout);
        } catch (...) {  // the future has it
        }
      });
    }
    return future;
  }

 private:
  void conclude() {
    if (concluded_.exchange(true)) {
      await_end(kNoTimeout);
      return;
    }
    std::exception_ptr failure;
    for (const auto& part : parts_) {
      if (!failure) failure = part->exception();
    }
    end(failure);
  }

  const std::vector<c10::intrusive_ptr<c10d::Work>> parts_;
  std::atomic<bool> awaited_{false}, concluded_{false};
};

}  // namespace tutti_torch
