// Shares one kernel call out to the cores of a rank.  A large call is cut at cache lines into pieces; the caller and
// the workers take one after the other until none is left.
//
// Invariants
//   1. Kernels work element by element, so the number of pieces and the threads that do them change no bit.
//   2. The caller never waits for a worker to wake: it does all pieces left, and waits only for those under way.
//   3. A piece is taken by a compare-and-swap of (number of the job, pieces left), so a late worker finds none of an
//      earlier job.  A job's description is read after taking a piece of it, and changes only when all pieces are done.
//   4. One caller at a time: meanwhile another caller, of a split that shares the team, works alone.
// Threads begin with the first large call.  After a call they look out for the next one for a moment, then sleep.  The
// destructor joins them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels.h"

namespace tutti {

class Workers {
 public:
  // Calls of fewer bytes than this are not shared: handing them over costs more than it saves (bench/kernels,
  // shared/…).
  static constexpr size_t kLeastBytes = 64 << 10;

  explicit Workers(uint32_t threads) : threads_(threads) {}  // at most so many work at once, the caller included
  Workers(const Workers&) = delete;
  ~Workers();

  uint32_t threads() const { return threads_; }
  size_t running() const { return workers_.size(); }  // threads of its own, so far

  // As the kernels of kernels.h.
  void reduce(kernels::ReduceFn kernel, size_t element_bytes, void* to, void* pass, const void* left, const void* right,
              size_t count, uint32_t divisor, kernels::Store store);
  void fold(kernels::FoldFn kernel, size_t element_bytes, const kernels::Target* targets, size_t n_targets,
            const void* const* sources, size_t n, size_t count, uint32_t divisor);
  void copy(void* to, void* pass, const void* from, size_t bytes, kernels::Store store);

 private:
  // A kernel call over bytes [begin, end) of its operands.
  struct Job {
    void (*run)(const void* call, size_t begin, size_t end) = nullptr;
    const void* call = nullptr;
    size_t bytes = 0, first = 0, piece = 0;  // bytes of all, of the first piece, of each of the others
    uint32_t pieces = 0;
  };
  template <class Call>
  void share(const Call& call, const void* to, size_t bytes, size_t element_bytes);
  void finish(const Job& job);
  bool work();  // one piece; false: there is none
  void begin_threads();
  void loop();

  const uint32_t threads_;
  std::mutex caller_;  // held by whoever has a job
  Job job_;
  alignas(64) std::atomic<uint64_t> ticket_{0};  // number of the job in the upper half, pieces left in the lower
  alignas(64) std::atomic<uint32_t> done_{0};    // pieces of the job
  std::atomic<uint32_t> asleep_{0};
  std::atomic<bool> stop_{false};
  std::mutex bed_;
  std::condition_variable wake_;
  bool begun_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace tutti
