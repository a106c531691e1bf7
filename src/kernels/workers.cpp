#include "workers.h"

#include <sched.h>

#include <algorithm>

#include "clock.h"
#include "quiet_thread.h"
#include "waiter.h"

namespace tutti {
namespace {

constexpr size_t kLine = 64;
constexpr size_t kLeastPiece = 16 << 10;
constexpr uint32_t kPiecesEach = 4;      // so that a worker who comes late leaves little for the others to wait for
constexpr uint64_t kLookOutNs = 50'000;  // for the next call, before sleeping
constexpr uint32_t kPausesPerLook = 64;  // at the clock
constexpr uint32_t kPausesPerYield = 1000;

struct Reduce {
  kernels::ReduceFn kernel;
  size_t element_bytes;
  void *to, *pass;
  const void *left, *right;
  uint32_t divisor;
  kernels::Store store;

  void operator()(size_t begin, size_t end) const {
    kernel(at(to, begin), pass ? at(pass, begin) : nullptr, at(left, begin), at(right, begin), (end - begin) / element_bytes,
           divisor, store);
  }
  static void* at(void* base, size_t offset) { return static_cast<std::byte*>(base) + offset; }
  static const void* at(const void* base, size_t offset) { return static_cast<const std::byte*>(base) + offset; }
};

struct Fold {
  kernels::FoldFn kernel;
  size_t element_bytes;
  const kernels::Target* targets;
  size_t n_targets;
  const void* const* sources;
  size_t n;
  uint32_t divisor;

  void operator()(size_t begin, size_t end) const {
    const size_t count = (end - begin) / element_bytes;
    if (begin == 0) return kernel(targets, n_targets, sources, n, count, divisor);
    std::vector<const void*> from(n);
    for (size_t i = 0; i < n; ++i) from[i] = Reduce::at(sources[i], begin);
    kernels::Target to[kernels::kMostTargets];
    for (size_t i = 0; i < n_targets; ++i) to[i] = {Reduce::at(targets[i].memory, begin), targets[i].store};
    kernel(to, n_targets, from.data(), n, count, divisor);
  }
};

struct Copy {
  void *to, *pass;
  const void* from;
  kernels::Store store;

  void operator()(size_t begin, size_t end) const {
    kernels::copy(Reduce::at(to, begin), pass ? Reduce::at(pass, begin) : nullptr, Reduce::at(from, begin), end - begin, store);
  }
};

}  // namespace

Workers::~Workers() {
  {
    const std::lock_guard lock(bed_);
    stop_.store(true);
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Workers::reduce(kernels::ReduceFn kernel, size_t element_bytes, void* to, void* pass, const void* left, const void* right,
                     size_t count, uint32_t divisor, kernels::Store store) {
  share(Reduce{kernel, element_bytes, to, pass, left, right, divisor, store}, to, count * element_bytes, element_bytes);
}

void Workers::fold(kernels::FoldFn kernel, size_t element_bytes, const kernels::Target* targets, size_t n_targets,
                   const void* const* sources, size_t n, size_t count, uint32_t divisor) {
  share(Fold{kernel, element_bytes, targets, n_targets, sources, n, divisor}, targets->memory, count * element_bytes,
        element_bytes);
}

void Workers::copy(void* to, void* pass, const void* from, size_t bytes, kernels::Store store) {
  share(Copy{to, pass, from, store}, to, bytes, 1);
}

template <class Call>
void Workers::share(const Call& call, const void* to, size_t bytes, size_t element_bytes) {
  if (bytes < kLeastBytes || threads_ <= 1 || !caller_.try_lock()) return call(0, bytes);
  const std::lock_guard lock(caller_, std::adopt_lock);
  begin_threads();
  if (workers_.empty()) return call(0, bytes);
  Job job;
  job.run = [](const void* c, size_t begin, size_t end) { (*static_cast<const Call*>(c))(begin, end); };
  job.call = &call;
  job.bytes = bytes;
  const size_t wanted = std::max(bytes / (kPiecesEach * (workers_.size() + 1)), kLeastPiece);
  job.piece = (wanted + kLine - 1) / kLine * kLine;
  // Pieces begin where lines of the output do, so that no line is written by two; or, if there an element crosses the
  // line, with it.
  job.first = job.piece - reinterpret_cast<uintptr_t>(to) % kLine / element_bytes * element_bytes;
  job.pieces = static_cast<uint32_t>(1 + (bytes - job.first + job.piece - 1) / job.piece);
  finish(job);
}

void Workers::finish(const Job& job) {
  job_ = job;
  done_.store(0, std::memory_order_relaxed);
  const uint64_t number = (ticket_.load(std::memory_order_relaxed) >> 32) + 1;
  // In one order with asleep_: either a worker sees the job, or it is seen to sleep.
  ticket_.store(number << 32 | job.pieces);
  if (asleep_.load() > 0) {
    { const std::lock_guard lock(bed_); }
    wake_.notify_all();
  }
  while (work()) {
  }
  for (uint32_t pauses = 1; done_.load(std::memory_order_acquire) != job.pieces; ++pauses) {
    if (pauses % kPausesPerYield == 0)
      ::sched_yield();
    else
      cpu_pause();
  }
}

bool Workers::work() {
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  do {
    if (static_cast<uint32_t>(ticket) == 0) return false;
  } while (!ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel, std::memory_order_acquire));
  const size_t index = job_.pieces - static_cast<uint32_t>(ticket);
  const size_t begin = index == 0 ? 0 : job_.first + (index - 1) * job_.piece;
  job_.run(job_.call, begin, std::min(job_.bytes, job_.first + index * job_.piece));
  done_.fetch_add(1, std::memory_order_release);
  return true;
}

// A thread that cannot be had is done without.
void Workers::begin_threads() {
  if (begun_) return;
  begun_ = true;
  for (uint32_t i = 1; i < threads_; ++i) {
    auto thread = start_quiet_thread([this] { loop(); }, "tutti-worker");
    if (!thread.ok()) return;
    workers_.push_back(std::move(*thread));
  }
}

void Workers::loop() {
  const auto called = [this] { return stop_.load() || static_cast<uint32_t>(ticket_.load()) > 0; };
  while (!stop_.load(std::memory_order_relaxed)) {
    if (work()) continue;
    const uint64_t until = now_ns() + kLookOutNs;
    bool seen = called();
    while (!seen && now_ns() < until)
      for (uint32_t i = 0; i < kPausesPerLook && !seen; ++i) {
        cpu_pause();
        seen = called();
      }
    if (seen) continue;
    std::unique_lock lock(bed_);
    asleep_.fetch_add(1);
    wake_.wait(lock, called);
    asleep_.fetch_sub(1);
  }
}

}  // namespace tutti
