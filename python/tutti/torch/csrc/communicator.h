// A Tutti communicator as a backend and its works share it, and its failures as torch's exceptions.
#pragma once

#include <Python.h>
#include <c10/util/Exception.h>
#include <pybind11/gil.h>
#include <tutti/tutti.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "threads.h"

namespace tutti_torch {

using std::chrono::milliseconds;

inline int to_milliseconds(milliseconds time) {
  return static_cast<int>(std::clamp<long long>(time.count(), 1, 1000LL * 3600 * 1000));
}

template <class Exception>
std::exception_ptr exception_of(const std::string& sentence) {
  return std::make_exception_ptr(Exception(c10::SourceLocation{"tutti", __FILE__, __LINE__}, sentence));
}

// A failure as users of torch.distributed expect it: DistNetworkError where a peer is lost, DistBackendError for what
// ended the group, ValueError and NotImplementedError where only this call is wrong.
inline std::exception_ptr exception_of(tutti_status status, std::string sentence) {
  switch (status) {
    case TUTTI_PEER_LOST:
    case TUTTI_UNREACHABLE: return exception_of<c10::DistNetworkError>(sentence);
    case TUTTI_INVALID_ARGUMENT: return exception_of<c10::ValueError>(sentence);
    case TUTTI_UNSUPPORTED: return exception_of<c10::NotImplementedError>(sentence);
    case TUTTI_OUT_OF_MEMORY: return exception_of<c10::OutOfMemoryError>(sentence);
    case TUTTI_TIMEOUT:  // programs look for this word
      if (sentence.find(" timeout ") == std::string::npos) sentence = "a timeout ended this call: " + sentence;
      return exception_of<c10::DistBackendError>(sentence);
    default: return exception_of<c10::DistBackendError>(sentence);
  }
}

class Communicator {
 public:
  // Takes over `comm`.  `name` and `global_ranks` (of each rank of `comm`; empty: the same) are for sentences.
  Communicator(tutti_comm* comm, std::string name, std::vector<uint64_t> global_ranks)
      : comm_(comm), name_(std::move(name)), global_ranks_(std::move(global_ranks)) {
    for (size_t rank = 0; rank < global_ranks_.size(); ++rank) renumbered_ |= global_ranks_[rank] != rank;
  }
  ~Communicator() { close(); }
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  // Its end waits for other ranks, which a notification of Tutti's may not, nor anybody while Python waits for him.
  static std::shared_ptr<Communicator> share(std::unique_ptr<Communicator> communicator) {
    std::shared_ptr<Communicator> shared(communicator.release(), [](Communicator* last) {
      if (notifying) return Threads::of_process().run([last] { delete last; });
      std::optional<pybind11::gil_scoped_release> unlocked;
      if (Py_IsInitialized() && PyGILState_Check()) unlocked.emplace();
      delete last;
    });
    Open::of_process().add(shared);
    return shared;
  }
  static inline thread_local bool notifying = false;  // this thread is in a notification

  // At the end of the process: nobody shall take it for dead.  Where the program failed, others hear of it at once, by
  // `failure`.
  static void close_all(const std::string& failure) { Open::of_process().close_all(failure); }

  // A call under way, or a request that has not ended.  Throws where the group was shut down.
  class Use {
   public:
    explicit Use(Communicator& communicator) : communicator_(&communicator) { communicator.enter(); }
    Use(Use&& other) noexcept : communicator_(std::exchange(other.communicator_, nullptr)) {}
    Use& operator=(Use&&) = delete;
    ~Use() {
      if (communicator_) communicator_->leave();
    }
    tutti_comm* comm() const { return communicator_->comm_; }

   private:
    Communicator* communicator_;
  };

  std::exception_ptr exception(tutti_status status) const {
    if (status != TUTTI_INVALID_ARGUMENT && status != TUTTI_UNSUPPORTED && status != TUTTI_OUT_OF_MEMORY) failure_ = status;
    return exception_of(status, sentence());
  }
  tutti_status failure() const { return failure_; }  // what ended it, as far as this rank knows
  bool closed() const { return closed_; }

  void check(tutti_status status) const {
    if (status != TUTTI_SUCCESS) std::rethrow_exception(exception(status));
  }

  void abort(const std::string& reason) {
    const std::lock_guard lock(mutex_);
    if (!closed_) tutti_comm_abort(comm_, reason.c_str());
  }

  // Says goodbye to the other ranks: no call begins any more, those under way have some time to end, then they are
  // aborted.
  void close() {
    if (getpid() != process_) return;  // a child after fork(): the communicator is its parent's
    std::unique_lock lock(mutex_);
    if (closed_.exchange(true)) return;
    if (!quiet_.wait_for(lock, patience, [this] { return uses_ == 0; })) {
      tutti_comm_abort(comm_, "the process group was destroyed while operations of it were under way");
      quiet_.wait(lock, [this] { return uses_ == 0; });  // what is aborted ends
    }
    lock.unlock();  // whoever was the last in leave() may want it, and on a thread that Tutti waits for
    tutti_comm_destroy_within(comm_, to_milliseconds(patience));
  }

 private:
  static constexpr milliseconds patience{5000};

  // All that have not said goodbye.
  class Open {
   public:
    static Open& of_process() {
      static Open* const open = new Open;  // never destroyed: threads may end communicators while the process ends
      return *open;
    }
    void add(const std::shared_ptr<Communicator>& communicator) {
      const std::lock_guard lock(mutex_);
      std::erase_if(open_, [](const auto& one) { return one.expired(); });
      open_.push_back(communicator);
    }
    void close_all(const std::string& failure) {
      std::vector<std::weak_ptr<Communicator>> open;
      {
        const std::lock_guard lock(mutex_);
        open.swap(open_);
      }
      for (auto one = open.rbegin(); one != open.rend(); ++one) {
        const auto communicator = one->lock();
        if (!communicator) continue;
        if (!failure.empty()) communicator->abort(failure);
        communicator->close();
      }
      Threads::of_process().await_idle(2 * patience);  // none of them may need Python when that has ended
    }

   private:
    std::mutex mutex_;
    std::vector<std::weak_ptr<Communicator>> open_;
  };

  void enter() {
    uses_.fetch_add(1);
    if (!closed_) return;
    leave();
    std::rethrow_exception(exception_of<c10::DistBackendError>(
        "the process group " + name_ + " was destroyed; call torch.distributed.init_process_group or new_group again."));
  }

  void leave() {
    if (uses_.fetch_sub(1) != 1 || !closed_) return;
    const std::lock_guard lock(mutex_);  // close() may be between its look at uses_ and its wait
    quiet_.notify_all();
  }

  // Tutti's sentence; of the ranks that it names, those that have another number in the whole job, too.
  std::string sentence() const {
    std::string sentence = tutti_last_error(comm_);
    if (!renumbered_) return sentence;
    std::vector<size_t> named;
    static const std::string word = "rank ";
    for (size_t at = sentence.find(word); at != std::string::npos; at = sentence.find(word, at)) {
      at += word.size();
      if (at >= sentence.size() || !std::isdigit(static_cast<unsigned char>(sentence[at]))) continue;
      const size_t rank = std::stoul(sentence.substr(at, 9));
      if (rank < global_ranks_.size() && std::find(named.begin(), named.end(), rank) == named.end()) named.push_back(rank);
    }
    std::string numbers;
    for (const size_t rank : named) {
      numbers +=
          (numbers.empty() ? "" : ", ") + word + std::to_string(rank) + " is global rank " + std::to_string(global_ranks_[rank]);
    }
    return numbers.empty() ? sentence : sentence + " (In group " + name_ + ", " + numbers + ".)";
  }

  tutti_comm* const comm_;
  const pid_t process_ = getpid();
  const std::string name_;
  const std::vector<uint64_t> global_ranks_;
  bool renumbered_ = false;
  mutable std::atomic<tutti_status> failure_{TUTTI_SUCCESS};

  // Whoever comes adds to uses_ and then looks at closed_; close() writes closed_ and then looks at uses_.
  std::atomic<size_t> uses_{0};
  std::atomic<bool> closed_{false};
  std::mutex mutex_;
  std::condition_variable quiet_;
};

}  // namespace tutti_torch
