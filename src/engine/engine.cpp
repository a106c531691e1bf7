#include "engine.h"

#include <poll.h>
#include <signal.h>

#include <chrono>
#include <cstdio>

#include <algorithm>

namespace tutti {
namespace {

constexpr uint64_t kStallNs = 1'000'000'000;  // silence after which the control tree is told, and again each time it has passed
constexpr uint64_t kGraceNs = 100'000'000;    // between seeing a link close and blaming its peer

void block_signals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

}  // namespace

Engine::Engine(std::vector<Transport*> transports, std::unique_ptr<Wires> wires, Supervisor& supervisor, uint32_t pauses)
    : transports_(std::move(transports)), wires_(std::move(wires)), supervisor_(supervisor), pauses_(pauses) {}

Engine::~Engine() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (progress_thread_.joinable()) progress_thread_.join();
}

std::shared_ptr<Operation> Engine::start(const std::function<std::shared_ptr<Operation>(Wires&)>& make, bool asynchronous) {
  const std::lock_guard lock(mutex_);
  auto operation = make(*wires_);
  operation->started_ns = operation->moved_ns = now_ns();
  operations_.push_back(operation);
  queued_.store(static_cast<uint32_t>(operations_.size()), std::memory_order_release);
  if (asynchronous) {
    progress();  // what can be sent at once is sent at once
    if (!progress_thread_.joinable()) progress_thread_ = std::thread([this] { progress_loop(); });
    wake_.notify_all();
  }
  return operation;
}

bool Engine::progress() {
  if (supervisor_.failed() || supervisor_.given_up()) return false;  // calls here or elsewhere have returned their buffers
  bool moved = false;
  for (Transport* transport : transports_)
    if (const Status status = transport->progress(); !status.ok()) lost(-1, status);
  bool may_start = true;
  for (auto& operation : operations_) {
    const bool advanced = operation->advance(may_start);
    moved |= advanced;
    // To be set to a time by whoever next looks at the clock.  Who has to wait for others to go first is as patient as they move.
    if (advanced || (moved && !operation->started())) operation->moved_ns = 0;
    if (operation->trouble().kind != Trouble::Kind::none) {
      report(*operation);
      return false;
    }
    may_start = may_start && operation->started();
  }
  while (!operations_.empty() && operations_.front()->finished()) {
    count(*operations_.front());
    totals_.nanoseconds += now_ns() - operations_.front()->started_ns;
    operations_.pop_front();
    queued_.store(static_cast<uint32_t>(operations_.size()), std::memory_order_release);
  }
  return moved;
}

void Engine::count(const Operation& done) {
  ++totals_.operations;
  totals_.input_bytes += done.input_bytes;
  totals_.sent_bytes += done.traffic().sent_bytes;
  totals_.received_bytes += done.traffic().received_bytes;
}

// A closed link is often the second act of a failure that the control tree is about to explain: it gets a moment to do so.
void Engine::lost(int peer, const Status& status) {
  const uint64_t now = now_ns();
  if (lost_ns_ == 0) lost_ns_ = now;
  if (now - lost_ns_ > kGraceNs) supervisor_.fail(peer, status);
}

void Engine::report(const Operation& operation) {
  const Trouble& trouble = operation.trouble();
  if (trouble.kind == Trouble::Kind::lost) return lost(trouble.peer, trouble.status);
  if (trouble.kind == Trouble::Kind::damaged)
    return supervisor_.fail(
        trouble.peer, Status(trouble.status.code(), supervisor_.peer_name(trouble.peer) + " sent " + supervisor_.peer_name(-1) +
                                                        " what cannot be read: " + trouble.status.message()));
  supervisor_.fail(-1, Status(Code::mismatch, "ranks called different things: " + supervisor_.peer_name(-1) + " called " +
                                                  describe(operation.signature()) + ", " + supervisor_.peer_name(trouble.peer) +
                                                  " called " + describe(trouble.offender)));
}

Status Engine::drive(Operation& operation) {
  drivers_.fetch_add(1, std::memory_order_relaxed);
  Waiter waiter(pauses_);
  std::vector<pollfd> awaited;
  Status status;
  for (;;) {
    bool moved;
    {
      const std::lock_guard lock(mutex_);
      moved = progress();
      if (operation.finished()) {
        operation.end(true);
        break;
      }
    }
    if (supervisor_.failed()) {
      const std::lock_guard lock(mutex_);
      operation.end(false);
      status = ended(operation);
      break;
    }
    if (moved) {
      waiter.reset();
    } else if (const uint64_t waited = waiter.wait([&] { return sleep(awaited); }); waited > kStallNs / 2) {
      const std::lock_guard lock(mutex_);
      watch(operation, now_ns());
    }
  }
  drivers_.fetch_sub(1, std::memory_order_relaxed);
  if (progress_thread_.joinable()) wake_.notify_all();
  return status;
}

// Not under the lock, which others need meanwhile; a descriptor that one of them closes costs at most a short sleep.
bool Engine::sleep(std::vector<pollfd>& awaited) {
  awaited.clear();
  {
    const std::lock_guard lock(mutex_);
    if (transports_.size() != 1 || !transports_[0]->awaited(awaited)) return false;
  }
  const timespec longest{0, static_cast<long>(Waiter::kLongestSleepNs)};
  ::ppoll(awaited.data(), awaited.size(), &longest, nullptr);
  return true;
}

Status Engine::drive_alone(Operation& operation) {
  Waiter waiter(pauses_);
  for (;;) {
    if (!supervisor_.given_up()) operation.advance(true);
    if (operation.finished()) {
      count(operation);  // nobody else touches the totals while nothing is queued
      return {};
    }
    if (supervisor_.failed()) {
      if (operation.started_ns == 0) operation.started_ns = now_ns();
      const std::lock_guard lock(mutex_);
      return ended(operation);
    }
    if (const uint64_t waited = waiter.wait(); waited > kStallNs / 2) {
      if (operation.started_ns == 0) operation.started_ns = now_ns() - waited;
      watch(operation, now_ns());
    }
  }
}

bool Engine::test(Operation& operation, Status& status) {
  const std::lock_guard lock(mutex_);
  if (!operation.finished() && !supervisor_.failed()) progress();
  if (operation.finished()) {
    operation.end(true);
    return true;
  }
  if (!supervisor_.failed()) {
    watch(operation, now_ns());
    return false;
  }
  operation.end(false);
  status = ended(operation);
  return true;
}

// Looks after an operation that does not move: tells the control tree each second, and when its time is over.
void Engine::watch(Operation& operation, uint64_t now) {
  if (operation.moved_ns == 0) operation.moved_ns = operation.told_ns = now;
  const uint64_t waited = now - operation.moved_ns;
  if (waited >= operation.timeout_ns) {
    if (!operation.gave_up) supervisor_.timed_out(operation, waited);
    operation.gave_up = true;
  } else if (now - std::max(operation.told_ns, operation.moved_ns) >= kStallNs) {
    operation.told_ns = now;
    supervisor_.stalled(operation, waited);
  }
}

Status Engine::end() {
  const std::lock_guard lock(mutex_);
  if (end_.ok()) end_ = supervisor_.failure();
  return end_;
}

// The failure of the communicator, with where this rank was when it first learned of it.  Under the lock.
Status Engine::ended(const Operation& operation) {
  if (!end_.ok()) return end_;
  const Status failure = supervisor_.failure();
  char after[32];
  std::snprintf(after, sizeof after, "%.1f s", static_cast<double>(now_ns() - operation.started_ns) * 1e-9);
  end_ = Status(failure.code(), failure.message() + "; this rank was in " + describe(operation.signature()) + " (" +
                                    std::string(operation.algorithm()) + "), step " + std::to_string(operation.step()) + " of " +
                                    std::to_string(operation.steps()) + ", after " + after);
  return end_;
}

void Engine::progress_loop() {
  block_signals();
  Waiter waiter(pauses_);
  std::vector<pollfd> awaited;
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (operations_.empty() || drivers_.load(std::memory_order_relaxed) > 0 || supervisor_.failed()) {
      wake_.wait_for(lock, std::chrono::milliseconds(100));
      waiter.reset();
      continue;
    }
    const bool moved = progress();
    if (!moved && !operations_.empty()) watch(*operations_.front(), now_ns());
    lock.unlock();
    if (moved)
      waiter.reset();
    else
      waiter.wait([&] { return sleep(awaited); });
    lock.lock();
  }
}

std::string Engine::holder_of(const void* memory) const {
  const std::lock_guard lock(mutex_);
  for (const auto& operation : operations_)
    if (!operation->finished() && std::count(operation->holds.begin(), operation->holds.end(), memory) > 0)
      return describe(operation->signature());
  return {};
}

EngineTotals Engine::totals() const {
  const std::lock_guard lock(mutex_);
  return totals_;
}

}  // namespace tutti
