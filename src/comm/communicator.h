// A communicator on one rank: numbers calls, lets dispatch make operations of them and the engine run these, answers
// for failures.
//
// Threads: any.  Collectives are started one after another under a lock, in the order in which threads get it; whoever
// waits for one to end does not hold it.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "call.h"
#include "call_log.h"
#include "codec_decisions.h"
#include "communicator_parts.h"
#include "device_side.h"
#include "dispatch.h"
#include "engine.h"
#include "fork_guard.h"
#include "short_lock.h"
#include "tuning.h"

namespace tutti {

class DeviceKernels;

class Communicator final : private Supervisor, private FamilyMemory::Member {
 public:
  explicit Communicator(std::unique_ptr<CommunicatorParts> parts);
  ~Communicator() override;

  int rank() const { return parts_->rank; }
  int size() const { return parts_->size; }
  const CommunicatorParts& parts() const { return *parts_; }

  // Before the first call that has a choice; equal on all ranks.
  void tune(std::shared_ptr<const Tuning> tuning);
  const std::shared_ptr<const Tuning>& tuning() const { return tuning_; }

  Status run(const Call& call);  // blocking
  // Runs this blocking call if it is, but for its buffers, the last one again, and that was a flat exchange.
  std::optional<Status> run_again(const Call& call) {
    CallLock lock(call_lock_);
    const RoutedCall* last = dispatch_->last_route();
    if (!last || !last->is_flat() || !last->repeats(call) || !may_exchange()) return std::nullopt;
    return run_flat(call, dispatch_->repeated(), &lock);
  }
  Result<std::shared_ptr<Operation>> start(const Call& call, bool asynchronous = true);  // a collective
  // Where a call's buffers lie, and what can be known of them before: see DeviceSide.
  bool sees_devices() const { return device_->sees_devices(); }
  Result<int> device_of(std::span<const void* const> pointers, void* stream);
  Status open_device(int device);          // before calls on its memory
  Status put_on_stream(const Call& call);  // a call on device memory; success: it will be carried out
  Result<Engine::Operations> start_device_messages(std::vector<Message> messages, bool asynchronous);
  // One operation for each message.  A blocking send to this rank itself does not wait for its receive.
  Result<Engine::Operations> start_messages(const std::vector<Message>& messages, bool asynchronous = true);
  Status wait(Operation& operation);
  std::optional<Status> wait_until(Operation& operation, uint64_t deadline) { return engine_->drive_until(operation, deadline); }
  void notify(std::shared_ptr<Completion> completion, const Engine::Operations& operations) {
    engine_->notify(std::move(completion), operations);
  }
  bool withdraw(const Operation& operation) { return engine_->withdraw(operation); }
  // How many groups have been created here with this tag, this one included.
  uint32_t count_group(int tag);
  bool test(Operation& operation, Status& status) { return engine_->test(operation, status); }

  // A collective call of the user's that is made of calls of the library's own: its number, and each of these, under
  // one lock.
  using CallLock = std::unique_lock<ShortLock>;
  CallLock lock_calls() { return CallLock(call_lock_); }
  uint32_t count_call() { return ++sequence_; }
  Status run_service(const Call& call);

  // Memory that the ranks of this host can read and write where it lies; null: none is left.
  void* allocate(const FamilyMemory::Wish& wish) { return parts_->domain->memory->allocate(*this, wish); }
  Result<void*> allocate_on_device(size_t bytes);  // of this rank's device, where others' kernels can read it
  Status free(void* memory) { return parts_->domain->memory->free(*this, memory); }

  void set_timeout(uint64_t ns);  // of later calls, and of goodbye()
  void abort(const std::string& reason);
  Status goodbye(std::optional<uint64_t> limit_ns = {});  // see Control
  Status failed_status() const;                           // ok while alive
  bool in_child() const { return fork_guard_.in_child(); }
  bool has_unfinished() const { return engine_->has_unfinished(); }

  // Measuring: a call of two ranks by a plan of theirs alone.
  Compiled prepare_pair(const Plan& plan, Collective collective) { return dispatch_->compile_for(plan, collective, 0); }
  Status run_pair(const Compiled& compiled, Collective collective, const void* input, void* output, uint64_t bytes);
  const RouteTerms& terms() const { return dispatch_->terms(); }

  struct Statistics {
    EngineTotals totals;
    uint64_t memory_bytes = 0;
    std::string algorithm, reason, transports, codec;
    Cut cut{1, 0};
    double predicted_s = 0;
  };
  Statistics statistics() const;

 private:
  using Routed = Dispatch::Routed;
  using Started = Result<std::shared_ptr<Operation>>;

  // Under the lock, which they let go of once the call has its place among the others, unless it is null.
  Status run_call(const Call& call, CallLock* lock);
  Status run_coded(const Call& call, CallLock* lock);
  Status run_flat(const Call& call, const Routed& routed, CallLock* lock);
  Started start_locked(const Call& call, bool asynchronous);
  Started start_routed(const Call& call, const Routed& routed, bool asynchronous);
  Started start_flat(const Call& call, const Routed& routed, bool asynchronous);
  Started start_coded(const Call& call, bool asynchronous);
  Status drive(const Started& operation, CallLock* lock);
  using Maker = std::function<std::shared_ptr<Operation>(LinkTable&)>;  // to be called once
  // `whole`: the user's call, of which this is a piece, or all.
  Maker flat_maker(const Call& call, const Routed& routed, const Call& whole);
  struct PieceNotes {
    Routed routed;
    Cut cut{1, 64};
    std::shared_ptr<Dispatch::Coded> coded;  // with a codec
  };
  Result<Maker> maker_of(const Call& piece, const Call& whole, PieceNotes& notes);
  Started start_on_device(const Call& call, bool asynchronous);
  Started start_staged(const Call& call, bool asynchronous, const std::string& why);

  // communicator_kernels.cpp
  std::string why_never_kernels() const;
  Status meet_on_devices(const Call& about);
  Status check_alignment(const Call& call) const;
  Result<std::optional<Route>> kernel_route(const Call& call, std::string& why_not);
  Result<uint32_t> put_kernels(const Call& call, const Route& route, bool counted);
  Call with_own_input(const Call& call, std::vector<size_t>& offsets);
  void hand_out(const Call& list, const std::byte* from);
  Started start_kernels(const Call& call, const Route& route, bool asynchronous);
  Status unless_lost(Status status);
  Status ended_by(const char* what, const Status& cause);  // this rank ends the communicator; returns why

  // A call's number: that of the user's next one, unless it serves another call.
  uint32_t sequence_of(const Call& call) const { return call.service.mark != 0 ? call.service.number : sequence_ + 1; }
  void begun(const Call& call, const Routed& routed, const Cut& cut) noexcept;

  // Questions of the library's own before a call, in whose name they are asked.
  template <class Number>
  Result<Number> ask_all(Number mine, DataType type, ReduceOp op, const Call& about);
  Result<bool> all_say(bool yes, const Call& about);  // that it is so
  Result<bool> all_lend(const Call& call, uint64_t bytes);
  Result<const CodecDecision*> decided(const Call& call);
  void note_coded(const Call& call, const RoutedCall& routed, const Packed& packed);

  bool may_exchange() const { return engine_->idle() && !failed() && !given_up(); }
  template <class Sign>
  Status finish_flat(FlatExchange& exchange, const Call& call, Sign sign, CallLock* lock);

  bool failed() const override;
  std::string user_of(const void* allocation) const override { return engine_->holder_of(allocation); }
  bool given_up() const override { return parts_->given_up->load(std::memory_order_acquire) != 0; }
  Status failure() const override { return parts_->control->failed() ? parts_->control->failure() : break_down_; }
  void break_down() noexcept override { broken_.store(true); }
  void fail(int culprit, const Status& cause) override { parts_->control->fail(culprit, cause); }
  void stalled(const Operation& operation, uint64_t waited_ns) override;
  void timed_out(const Operation& operation, uint64_t waited_ns) override;
  std::string peer_name(int rank) const override;

  std::unique_ptr<CommunicatorParts> parts_;
  std::shared_ptr<const Tuning> tuning_;
  EngineTotals before_;  // what measuring added to the engine's totals
  ForkGuard fork_guard_;
  std::atomic<bool> broken_{false};
  std::atomic<uint32_t> stalls_given_up_{0};  // reports of a stall since a rank of this host gave up
  const Status break_down_{Code::system, "this rank ran out of memory in the middle of a call"};
  mutable ShortLock call_lock_;  // of all that follows, but for the engine, and for what dispatch does about messages
  EngineTotals flat_totals_;
  uint32_t sequence_ = 0;  // of the user's last collective call
  struct {
    uint32_t number = 0;  // of the call
    bool all = false;
  } lent_answer_;  // to the last question
  std::mutex groups_mutex_;
  std::map<int, uint32_t> groups_;  // by tag
  CallLog calls_;
  CodecDecisions codec_decisions_;
  std::unique_ptr<DeviceSide> device_;
  bool met_on_devices_ = false;
  std::unique_ptr<DeviceKernels> meeting_;              // until all have agreed
  std::optional<Status> connected_, heard_;             // what came of it at this rank
  std::optional<bool> all_connected_;                   // what all have said
  std::unique_ptr<DeviceKernels> kernels_;              // null: calls on device memory go through the host's
  std::atomic<DeviceKernels*> ready_kernels_{nullptr};  // the same, for threads that do not hold the lock
  std::string why_no_kernels_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Dispatch> dispatch_;
};

}  // namespace tutti
