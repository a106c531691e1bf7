// The engine of one communicator on one rank: a queue of operations in call order, and whoever waits drives them all.
//
// A blocking call starts its operation and drives on the caller's thread.  Asynchronous operations are driven by the
// progress thread of the process while no thread of the program drives.  One mutex guards all.
//
// A call that cannot be started has changed nothing.  All that may fail (memory, the progress thread, links) comes
// first; then the operation takes its place, which cannot fail.  A failure later on ends the communicator.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "operation.h"
#include "link_table.h"
#include "waiter.h"

namespace tutti {

// Watches over the communicator: hears of failures and stalls, and says whether the communicator is still alive.
class Supervisor {
 public:
  virtual ~Supervisor() = default;
  virtual bool failed() const = 0;  // cheap
  // Others have failed the communicator; failed() follows when this rank hears of it.
  virtual bool given_up() const { return false; }
  virtual Status failure() const = 0;
  virtual void fail(int culprit, const Status& cause) = 0;  // failed() is true soon afterwards
  virtual void stalled(const Operation& operation, uint64_t waited_ns) = 0;
  virtual void timed_out(const Operation& operation, uint64_t waited_ns) = 0;
  virtual std::string peer_name(int rank) const = 0;  // "rank 3 (host b, pid 4711)"; of this rank for -1
  // Like fail(), where there is no memory to say why; failed() is true afterwards.
  virtual void break_down() noexcept = 0;
};

struct EngineTotals {
  uint64_t operations = 0, input_bytes = 0, sent_bytes = 0, received_bytes = 0;
  uint64_t nanoseconds = 0;  // of queued operations; flat exchanges that were not take less time than reading the clock would

  // Numbers of calls and bytes; times are of queued operations alone.
  void add(const EngineTotals& other) {
    operations += other.operations;
    input_bytes += other.input_bytes;
    sent_bytes += other.sent_bytes;
    received_bytes += other.received_bytes;
  }
  void count_device(uint64_t bytes) {
    ++operations;
    input_bytes += bytes;
  }
  void count_flat(uint64_t bytes, uint32_t ranks) {
    ++operations;
    input_bytes += bytes;
    sent_bytes += bytes;
    received_bytes += bytes * (ranks - 1);
  }
};

class Engine final : private ProgressClient {
 public:
  // `pauses`: how long to wait before giving the core away, see Waiter.
  Engine(std::vector<Transport*> transports, std::unique_ptr<LinkTable> link_table, Supervisor& supervisor,
         uint32_t pauses = Waiter::kPauses);
  ~Engine();

  LinkTable& link_table() { return *link_table_; }

  // Makes operations and queues them in this order, all or (with a status or an exception) none.  Does not wait.
  using Operations = std::vector<std::shared_ptr<Operation>>;
  Result<Operations> start_all(const std::function<Operations(LinkTable&)>& make, bool asynchronous);
  Result<std::shared_ptr<Operation>> start(const std::function<std::shared_ptr<Operation>(LinkTable&)>& make, bool asynchronous);

  // Drives everything until `operation` has finished or the communicator has failed.
  Status drive(Operation& operation) { return *drive_until(operation, UINT64_MAX); }
  // Or until `deadline` (clock.h): none, the operation stays under way.
  std::optional<Status> drive_until(Operation& operation, uint64_t deadline);

  // `completion` is given once all of these, which were started asynchronously, have ended, perhaps at once.
  void notify(std::shared_ptr<Completion> completion, std::span<const std::shared_ptr<Operation>> operations);

  // Takes an operation back of which no other rank knows yet; false: it must be driven to its end.
  bool withdraw(const Operation& operation);

  // The same for an operation that was never queued and uses no links; it is not counted.
  Status drive_alone(Operation& operation);

  // Drives a little; true if the operation has ended, with its status.
  bool test(Operation& operation, Status& status);

  // The call under way that holds this memory (Operation::holds), as a text; "" if none does.
  std::string holder_of(const void* memory) const;

  // Once the communicator has failed: the one sentence that every call gives from then on.
  Status end();

  // Nothing is queued: the caller may use the shared memory for a flat exchange of its own.
  bool idle() const { return queued_.load(std::memory_order_acquire) == 0; }

  EngineTotals totals() const;
  size_t transport_bytes() const;  // memory

  // All messages of this rank have reached its peers, or these are gone.  Does not wait.
  bool drained();
  bool has_unfinished() const;  // operations that nobody has waited for to their end

 private:
  void count(const Operation& done);
  bool progress(Completions& ended) noexcept;  // under the lock; true if anything moved
  bool advance_all(Completions& ended);
  void remove_finished(Completions& ended);
  void give_up(Completions& ended) noexcept;  // of a communicator that has failed
  Status join_progress_thread();
  void wake_progress_thread(bool hurry = false);
  Status ended_status(const Operation& operation) noexcept;
  void lost(int peer, const Status& status);
  void report(const Operation& operation);
  // None of these lets an exception out: an operation that was started must be driven to its end, even without memory.
  void watch(Operation& operation, uint64_t now, bool reports) noexcept;
  const Operation& kept_waiting_by(const Operation& operation) const;
  void over_time(const Operation& operation, uint64_t waited_ns);
  void watch_all(uint64_t now) noexcept;
  bool sleep(std::vector<pollfd>& awaited) noexcept;  // until a link may move; false: only asking can show that

  Turn take_turn(Completions& ended) noexcept override;
  bool has_work() const override {
    return queued_.load(std::memory_order_acquire) > 0 && drivers_.load(std::memory_order_acquire) == 0 &&
           !given_up_.load(std::memory_order_relaxed);
  }
  bool add_awaited(std::vector<pollfd>& descriptors) override;
  uint32_t pauses() const override { return pauses_; }

  std::vector<Transport*> transports_;
  std::unique_ptr<LinkTable> link_table_;
  Supervisor& supervisor_;
  uint32_t pauses_;

  mutable std::mutex mutex_;
  std::deque<std::shared_ptr<Operation>> operations_;
  std::atomic<uint32_t> queued_{0};
  std::atomic<uint32_t> drivers_{0};  // threads of the program
  std::atomic<bool> given_up_{false};
  EngineTotals totals_;
  uint64_t lost_ns_ = 0;  // when the first link was seen to be lost
  Status end_;
  std::mutex join_mutex_;                                  // of joined_; no other is taken under it but the thread's own
  std::shared_ptr<ProgressThread> joined_;                 // null before the first asynchronous operation
  std::atomic<ProgressThread*> progress_thread_{nullptr};  // likewise, to be read by any thread
};

}  // namespace tutti
