#include "engine.h"

#include <poll.h>

#include <cstdio>

#include <algorithm>
#include <exception>

namespace tutti {
namespace {

constexpr uint64_t kStallNs = 1'000'000'000;        // silence after which the control tree hears of it, again and again
constexpr uint64_t kLongestLookNs = 1'000'000'000;  // that counts as waiting, see Operation
constexpr uint64_t kGraceNs = 100'000'000;          // between seeing a link close and blaming its peer

bool is_collective(const Operation& operation) {
  return operation.signature().collective != static_cast<uint8_t>(Collective::point_to_point);
}

}  // namespace

Engine::Engine(std::vector<Transport*> transports, std::unique_ptr<LinkTable> link_table, Supervisor& supervisor, uint32_t pauses)
    : transports_(std::move(transports)), link_table_(std::move(link_table)), supervisor_(supervisor), pauses_(pauses) {}

Engine::~Engine() {
  if (joined_) joined_->remove(*this);
  Completions ended;
  given_up_.store(true, std::memory_order_relaxed);  // no call returns any more that transports would have to know of
  give_up(ended);
  for (const auto& operation : operations_) operation->end(false);  // an operation may outlive what it refers to here
}

Status Engine::join_progress_thread() {
  if (progress_thread_.load(std::memory_order_acquire)) return {};
  const std::lock_guard lock(join_mutex_);
  if (joined_) return {};
  auto thread = ProgressThread::of_process();
  if (!thread.ok())
    return Status(Code::out_of_memory, "asynchronous calls need a thread to carry them on: " + thread.status().message());
  (*thread)->add(*this);
  joined_ = std::move(*thread);
  progress_thread_.store(joined_.get(), std::memory_order_release);
  return {};
}

void Engine::wake_progress_thread(bool hurry) {
  ProgressThread* const thread = progress_thread_.load(std::memory_order_acquire);
  if (!thread || !has_work()) return;
  if (hurry) return thread->hurry();
  thread->wake();
}

Result<Engine::Operations> Engine::start_all(const std::function<Operations(LinkTable&)>& make, bool asynchronous) {
  if (asynchronous)
    if (Status status = join_progress_thread(); !status.ok()) return status;
  Completions ended;
  std::unique_lock lock(mutex_);
  Operations operations = make(*link_table_);
  const size_t before = operations_.size();
  try {
    operations_.insert(operations_.end(), operations.begin(), operations.end());
  } catch (...) {  // an insertion that fails halfway at the end of a deque may leave some
    operations_.resize(before);
    throw;
  }
  const uint64_t now = now_ns();
  for (const auto& operation : operations) {
    operation->enter();
    operation->started_ns = now;
  }
  queued_.store(static_cast<uint32_t>(operations_.size()), std::memory_order_release);
  if (asynchronous) progress(ended);  // what can be sent at once is sent at once
  // What waits for a device is not seen by anybody else: the thread must not be in a nap.
  const bool unseen = std::any_of(operations.begin(), operations.end(), [](const auto& each) { return each->waits_unseen(); });
  lock.unlock();
  if (asynchronous) wake_progress_thread(unseen);
  return operations;
}

Result<std::shared_ptr<Operation>> Engine::start(const std::function<std::shared_ptr<Operation>(LinkTable&)>& make,
                                                 bool asynchronous) {
  auto operations = start_all([&](LinkTable& link_table) { return Operations{make(link_table)}; }, asynchronous);
  if (!operations.ok()) return operations.status();
  return std::move(operations->front());
}

bool Engine::progress(Completions& ended) noexcept {
  try {
    // Calls here or elsewhere have returned their buffers.
    if (supervisor_.failed() || supervisor_.given_up()) return false;
    return advance_all(ended);
  } catch (const std::exception& e) {
    try {
      supervisor_.fail(-1, Status(Code::system, supervisor_.peer_name(-1) + " cannot go on in the middle of a call: " + e.what() +
                                                    " (is it out of memory?)"));
    } catch (...) {
      supervisor_.break_down();
    }
  }
  return false;
}

bool Engine::advance_all(Completions& ended) {
  bool moved = false;
  for (Transport* transport : transports_)
    if (const Status status = transport->progress(); !status.ok()) lost(-1, status);
  for (auto& operation : operations_)
    if (SlotBank* bank = operation->bank()) bank->blocked = false;
  ++link_table_->round;
  bool any_finished = false;
  for (auto& operation : operations_) {
    SlotBank* const bank = operation->bank();
    const bool advanced = operation->advance(!bank || !bank->blocked);
    moved |= advanced;
    // An operation queued behind others is late only when those stop moving.
    if (advanced || (moved && !operation->started())) operation->has_moved = true;
    if (operation->trouble().kind != Trouble::Kind::none) {
      report(*operation);
      return false;
    }
    if (bank && !operation->started()) bank->blocked = true;
    any_finished |= operation->finished();
  }
  if (any_finished) remove_finished(ended);
  return moved;
}

void Engine::remove_finished(Completions& ended) {
  const uint64_t now = now_ns();
  std::erase_if(operations_, [&](const std::shared_ptr<Operation>& operation) {
    if (!operation->finished()) return false;
    count(*operation);
    if (operation->is_users) totals_.nanoseconds += now - operation->started_ns;
    if (operation->completion && operation->completion->last_ended()) ended.add(std::move(operation->completion));
    return true;
  });
  queued_.store(static_cast<uint32_t>(operations_.size()), std::memory_order_release);
}

void Engine::count(const Operation& done) {
  if (!done.is_users) return;
  ++totals_.operations;
  totals_.input_bytes += done.input_bytes;
  totals_.sent_bytes += done.traffic().sent_bytes;
  totals_.received_bytes += done.traffic().received_bytes;
}

// A closed link is often the second act of a failure.  The control tree gets a moment to explain the first.
void Engine::lost(int peer, const Status& status) {
  const uint64_t now = now_ns();
  if (lost_ns_ == 0) lost_ns_ = now;
  if (now - lost_ns_ > kGraceNs)
    supervisor_.fail(peer, Status(status.code(), status.message() + " (seen by " + supervisor_.peer_name(-1) + ")"));
}

void Engine::report(const Operation& operation) {
  const Trouble& trouble = operation.trouble();
  if (trouble.kind == Trouble::Kind::lost) return lost(trouble.peer, trouble.status);
  if (trouble.kind == Trouble::Kind::broken)
    return supervisor_.fail(
        -1, Status(trouble.status.code(),
                   supervisor_.peer_name(-1) + " cannot go on in the middle of a call: " + trouble.status.message()));
  if (trouble.kind == Trouble::Kind::damaged)
    return supervisor_.fail(
        trouble.peer, Status(trouble.status.code(), supervisor_.peer_name(trouble.peer) + " sent " + supervisor_.peer_name(-1) +
                                                        " what cannot be read: " + trouble.status.message()));
  supervisor_.fail(-1, Status(Code::mismatch, "ranks called different things: " + supervisor_.peer_name(-1) + " called " +
                                                  describe(trouble.expected) + ", " + supervisor_.peer_name(trouble.peer) +
                                                  " called " + describe(trouble.offender)));
}

std::optional<Status> Engine::drive_until(Operation& operation, uint64_t deadline) {
  drivers_.fetch_add(1, std::memory_order_acq_rel);
  Waiter waiter(pauses_);
  std::vector<pollfd> awaited;
  std::optional<Status> status;
  for (;;) {
    Completions ended;
    bool moved;
    {
      const std::lock_guard lock(mutex_);
      moved = progress(ended);
      if (operation.finished()) {
        operation.end(true);
        status.emplace();
        break;
      }
    }
    if (supervisor_.failed()) {
      const std::lock_guard lock(mutex_);
      give_up(ended);
      operation.end(false);
      status = ended_status(operation);
      break;
    }
    if (moved) {
      waiter.reset();
    } else if (deadline != UINT64_MAX && now_ns() >= deadline) {
      break;
    } else if (const uint64_t waited = waiter.wait([&] { return sleep(awaited); }); waited > kStallNs / 2) {
      const std::lock_guard lock(mutex_);
      watch(operation, now_ns(), true);
    }
    if (deadline != UINT64_MAX && now_ns() >= deadline) break;
  }
  drivers_.fetch_sub(1, std::memory_order_acq_rel);
  wake_progress_thread(!status);
  return status;
}

void Engine::notify(std::shared_ptr<Completion> completion, std::span<const std::shared_ptr<Operation>> operations) {
  Completions ended;
  const std::lock_guard lock(mutex_);
  completion->await_one_more();  // this call
  for (const auto& operation : operations)
    if (!operation->finished() && !given_up_) {
      operation->completion = completion;
      completion->await_one_more();
    }
  if (completion->last_ended()) ended.add(std::move(completion));
}

// Before any call of a communicator that has failed returns.
void Engine::give_up(Completions& ended) noexcept {
  if (!given_up_.exchange(true, std::memory_order_relaxed))
    for (Transport* transport : transports_) transport->give_up();
  for (const auto& operation : operations_) {
    operation->free_waiters();
    if (operation->completion && operation->completion->give_up()) ended.add(std::move(operation->completion));
  }
}

bool Engine::withdraw(const Operation& operation) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(operations_.begin(), operations_.end(), [&](const auto& o) { return o.get() == &operation; });
  if (found == operations_.end() || !(*found)->withdraw()) return false;
  operations_.erase(found);
  queued_.store(static_cast<uint32_t>(operations_.size()), std::memory_order_release);
  return true;
}

// Not under the lock, which others need meanwhile; a descriptor that one of them closes costs at most a short sleep.
bool Engine::sleep(std::vector<pollfd>& awaited) noexcept {
  awaited.clear();
  try {
    if (!add_awaited(awaited)) return false;
  } catch (const std::bad_alloc&) {
    return false;
  }
  const timespec longest{0, static_cast<long>(Waiter::kLongestSleepNs)};
  ::ppoll(awaited.data(), awaited.size(), &longest, nullptr);
  return true;
}

bool Engine::add_awaited(std::vector<pollfd>& descriptors) {
  const std::lock_guard lock(mutex_);
  if (!link_table_->executor->idle()) return false;  // no descriptor tells of its end
  if (std::any_of(operations_.begin(), operations_.end(), [](const auto& operation) { return operation->waits_unseen(); }))
    return false;
  return transports_.size() == 1 && transports_[0]->awaited(descriptors);
}

Status Engine::drive_alone(Operation& operation) {
  Waiter waiter(pauses_);
  for (;;) {
    if (!supervisor_.given_up()) operation.advance(true);
    if (operation.finished()) return {};
    if (supervisor_.failed()) {
      if (operation.started_ns == 0) operation.started_ns = now_ns();
      const std::lock_guard lock(mutex_);
      return ended_status(operation);
    }
    if (const uint64_t waited = waiter.wait(); waited > kStallNs / 2) {
      if (operation.started_ns == 0) operation.started_ns = now_ns() - waited;
      watch(operation, now_ns(), true);
    }
  }
}

bool Engine::test(Operation& operation, Status& status) {
  Completions ended;
  const std::lock_guard lock(mutex_);
  if (!operation.finished() && !supervisor_.failed()) progress(ended);
  if (operation.finished()) {
    operation.end(true);
    return true;
  }
  if (!supervisor_.failed()) {
    watch(operation, now_ns(), true);
    return false;
  }
  give_up(ended);
  operation.end(false);
  status = ended_status(operation);
  return true;
}

// A device carries collectives out one after the other: what is behind in its queue waits for whatever the first one
// waits for.
const Operation& Engine::kept_waiting_by(const Operation& operation) const {
  if (!operation.waits_for_device() || !is_collective(operation)) return operation;
  for (const auto& earlier : operations_)
    if (earlier->waits_unseen() && is_collective(*earlier)) return *earlier;
  return operation;
}

void Engine::over_time(const Operation& operation, uint64_t waited_ns) {
  if (!operation.waits_for_device()) return supervisor_.timed_out(operation, waited_ns);
  char waited[32];
  std::snprintf(waited, sizeof waited, "%.1f s", static_cast<double>(waited_ns) * 1e-9);
  supervisor_.fail(-1, Status(Code::timeout, supervisor_.peer_name(-1) + " waited " + waited + " for its own device in " +
                                                 describe(operation.signature()) + ": " + operation.device_wait()));
}

// Looks after an operation that does not move: reports it each second (if `reports`), and when its time is over.  A
// report for which there is no memory is made at the next look.
void Engine::watch(Operation& operation, uint64_t now, bool reports) noexcept try {
  if (operation.has_moved) {
    operation.has_moved = false;
    operation.waited_ns = operation.reported_ns = 0;
  } else {
    operation.waited_ns += std::min(now - operation.looked_ns, kLongestLookNs);
  }
  operation.looked_ns = now;
  const Operation& reason = kept_waiting_by(operation);
  if (operation.waited_ns >= operation.timeout_ns) {
    if (!operation.gave_up) over_time(reason, operation.waited_ns);
    operation.gave_up = true;
  } else if (reports && operation.waited_ns - operation.reported_ns >= kStallNs) {
    // Whoever waits for its own device is no witness against others, and may be what they wait for.
    if (!reason.waits_for_device()) supervisor_.stalled(reason, operation.waited_ns);
    operation.reported_ns = operation.waited_ns;
  }
} catch (const std::bad_alloc&) {
}

// A rank reports one call at a time: the first collective, since its place in the order says something to others.
void Engine::watch_all(uint64_t now) noexcept {
  auto reported = std::find_if(operations_.begin(), operations_.end(), [](const auto& each) { return is_collective(*each); });
  if (reported == operations_.end()) reported = operations_.begin();
  for (auto i = operations_.begin(); i != operations_.end(); ++i) watch(**i, now, i == reported);
}

Status Engine::end() {
  const std::lock_guard lock(mutex_);
  if (end_.ok()) end_ = supervisor_.failure();
  return end_;
}

// The failure of the communicator, with where this rank was when it first learned of it.  Under the lock.
Status Engine::ended_status(const Operation& operation) noexcept {
  if (!end_.ok()) return end_;
  const Status failure = supervisor_.failure();
  end_ = failure;  // at least
  try {
    char after[32];
    std::snprintf(after, sizeof after, "%.1f s", static_cast<double>(now_ns() - operation.started_ns) * 1e-9);
    end_ = Status(failure.code(), failure.message() + "; this rank was in " + describe(operation.signature()) + " (" +
                                      std::string(operation.algorithm()) + "), step " + std::to_string(operation.step()) + " of " +
                                      std::to_string(operation.steps()) + ", after " + after);
  } catch (const std::bad_alloc&) {
  }
  return end_;
}

ProgressClient::Turn Engine::take_turn(Completions& ended) noexcept {
  const std::lock_guard lock(mutex_);
  if (!has_work()) return Turn::idle;
  if (supervisor_.failed()) {
    give_up(ended);
    return Turn::idle;
  }
  if (progress(ended)) return Turn::moved;
  watch_all(now_ns());
  return Turn::waits;
}

std::string Engine::holder_of(const void* memory) const {
  const std::lock_guard lock(mutex_);
  for (const auto& operation : operations_)
    if (!operation->finished() && std::count(operation->holds.begin(), operation->holds.end(), memory) > 0)
      return describe(operation->signature());
  return {};
}

bool Engine::has_unfinished() const {
  const std::lock_guard lock(mutex_);
  return !operations_.empty();
}

bool Engine::drained() {
  const std::lock_guard lock(mutex_);
  return std::all_of(transports_.begin(), transports_.end(), [](Transport* transport) { return transport->drained(); });
}

size_t Engine::transport_bytes() const {
  const std::lock_guard lock(mutex_);
  size_t bytes = 0;
  for (const Transport* transport : transports_) bytes += transport->memory_bytes();
  return bytes;
}

EngineTotals Engine::totals() const {
  const std::lock_guard lock(mutex_);
  return totals_;
}

}  // namespace tutti
