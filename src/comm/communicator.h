// A communicator on one rank: turns calls into operations, lets the engine run them, answers for failures.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "binding.h"
#include "call.h"
#include "choice.h"
#include "control.h"
#include "engine.h"
#include "flat_operation.h"
#include "forecast.h"
#include "fork_guard.h"
#include "heap.h"
#include "owned_fd.h"
#include "plan.h"
#include "recent_memory.h"
#include "settings.h"
#include "team.h"
#include "tuning.h"
#include "wide_operation.h"
#include "workers.h"

namespace tutti {

class LocalArena;
struct Packed;

// For what only tells, after a call was started: no failure of it may become the call's.
template <class Fn>
void if_possible(Fn fn) noexcept {
  try {
    fn();
  } catch (...) {
  }
}

// What a communicator is made of.  Members are destroyed in reverse order: the engine's users first, the memory last.
struct CommunicatorParts {
  int rank = 0, size = 1;
  std::string name;
  Settings settings;
  Log log;
  std::string host_id;
  bool inside_streams = false;               // ranks of one host exchange messages by byte streams, not in memory
  Team team;                                 // the ranks by host, and in what order neighbours stand together
  std::vector<std::string> rank_names;       // "rank 3 (host b, pid 4711)"
  std::vector<std::string> rank_transports;  // "shm"; "self" for this rank
  std::string local_end;                     // see AssemblyOptions
  std::shared_ptr<LocalArena> local_arena;   // likewise
  OwnedFd log_file;                          // what `log` writes to, if not stderr
  bool crowded = false;                      // more ranks on this host than cores for them
  uint64_t near_bytes = 0;                   // of what was touched last, what a rank still has in its caches
  uint64_t context = 0;                      // travels in signatures
  std::shared_ptr<ControlThread> control_thread;
  std::shared_ptr<Workers> workers;    // shared with splits
  std::shared_ptr<void> memory;        // what the transports' arena lies in, if they do not own it
  std::unique_ptr<memory::Heap> heap;  // what tutti_alloc gives out
  std::unique_ptr<SlotPool> pool;                           // for collectives
  std::vector<std::unique_ptr<SlotPool>> message_pools;  // by rank: for messages to it; null where they go over streams
  std::atomic<uint32_t>* given_up = nullptr;  // of the arena
  std::vector<std::unique_ptr<Transport>> transports;
  std::vector<Transport*> transport_of;  // by rank; null for this rank
  std::unique_ptr<FlatBoard> board;      // if all ranks share memory
  std::unique_ptr<Control> control;
};

class Communicator final : private Supervisor {
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
  // Is this blocking call, but for its buffers, the last one again, and was that a flat exchange?  Then run_flat(call) runs it.
  bool repeats_flat(const Call& call) const {
    const Remembered& r = remembered_;
    return !r.coded && !r.own && r.choice.algorithm == kFlat && r.count == call.count && r.collective == call.collective &&
           r.type == call.type && r.op == call.op && r.wanted.empty() && engine_->idle() && !failed() && !given_up();
  }
  Status run_flat(const Call& call);
  Result<std::shared_ptr<Operation>> start(const Call& call, bool asynchronous = true);  // a collective
  // One operation for each message, in this order; those to this rank itself in pairs.
  Result<Engine::Operations> start_messages(const std::vector<Message>& messages, uint64_t timeout_ns = 0, bool asynchronous = true);
  Status wait(Operation& operation) { return engine_->drive(operation); }
  bool test(Operation& operation, Status& status) { return engine_->test(operation, status); }

  // Memory that the ranks of this host can read and write where it lies; null: none is left.
  void* allocate(size_t bytes) { return parts_->heap->allocate(bytes); }
  Status free(void* memory);

  void abort(const std::string& reason);
  Status goodbye();
  Status failed_status() const;  // ok while alive
  bool in_child() const { return fork_guard_.in_child(); }
  bool has_unfinished() const { return engine_->has_unfinished(); }

  // A call of two ranks of this communicator by a plan of theirs alone, for measuring; float32, sum.
  struct Compiled {
    std::shared_ptr<const Program> program;
    uint32_t slots = 0;  // that one stripe takes
  };
  Compiled prepare_duet(const Plan& plan, Collective collective) { return compile_for(plan, collective, 0); }
  Status run_duet(const Compiled& compiled, Collective collective, const void* input, void* output, uint64_t bytes);
  const ChoiceTerms& terms() const { return terms_; }

  struct Statistics {
    EngineTotals totals;
    uint64_t memory_bytes = 0;
    std::string algorithm, reason, transports, codec;
    Cut cut{1, 0};
    double predicted_s = 0;
  };
  Statistics statistics() const;

 private:
  struct Prepared {  // a call ready to become an operation
    Compiled compiled;
    Binding binding;
    Cut cut{1, 64};
    PlanOperation::Tags tags;
    std::unique_ptr<WideNumbers> wide;  // the call's data, if a WideOperation is to carry it out,
    Arithmetic wide_arithmetic;         // and what is done with them
  };
  Status remember(const Call& call);
  Prepared prepare(const Call& call);
  bool must_be_wide(const Call& call) const;
  Prepared prepare_wide(const Call& call);
  std::shared_ptr<Operation> make_message(const Message& message, std::byte* to, LinkTable& link_table);
  Status run_queued(const Call& call);
  Status run_messages(const Call& call);
  static Choice lent_choice();
  bool may_be_lent(const Call& call) const;
  Status all_lend(const Call& call, bool& all);
  struct Decision {  // about an "auto:" codec
    bool compresses = false;
    std::string why;
  };
  Result<const Decision*> decided(const Call& call);
  Status run_with_codec(const Call& call);
  Status decide(const Call& call, Decision& decision);
  Status consult(Call question, const Call& about);
  Result<std::shared_ptr<Operation>> start_coded(const Call& call, bool asynchronous);
  void tell_coded(const TensorCodec& tensor, const Packed& packed, const Choice& choice);
  std::shared_ptr<Operation> fill_in(std::shared_ptr<Operation> operation, const Call& call, uint64_t bytes) const;
  Result<std::shared_ptr<Operation>> start_flat(const Call& call, bool asynchronous);
  // Of the next collective call; a question before it bears the same number.  count_call() once it is certain to be started.
  uint32_t next_sequence() const { return sequence_ + 1; }
  void count_call(const Call& call) { sequence_ += call.about == nullptr; }
  template <class Sign>
  Status finish_flat(FlatExchange& exchange, uint64_t timeout_ns, Sign sign);
  Binding bind(const Call& call, const Program& program, size_t stripe_bytes) const;
  Signature sign(const Call& call, uint8_t algorithm, uint32_t sequence) const;
  static constexpr uint64_t kLeastStreamed = 64 << 10;  // of output; of less nothing was gained
  Arithmetic arithmetic_of(const Call& call) const;     // but for its output_store
  kernels::Store output_store(const Call& call, uint64_t bytes);  // `bytes`: of the whole data
  Compiled compile_for(const Plan& plan, Collective collective, int root);
  const Compiled& program_of(uint8_t algorithm, Collective collective, int root);
  void note(const Call& call, const Cut& cut);
  Status run_untold(const Call& call);
  // With TUTTI_DEBUG=info rank 0 tells each choice once, and how long its calls then took.
  static constexpr uint64_t kCallsToTell = 20;  // of one kind, before their average is told; fewer are told at the end
  struct Account {
    std::string choice;  // "all_reduce of about 64 KiB by ring"
    double predicted_s = 0;
    uint64_t calls = 0, nanoseconds = 0;
  };
  void keep_account(uint64_t nanoseconds);
  void tell(const Account& account) const;

  bool failed() const override {
    if (!parts_->control->failed() && !broken_.load(std::memory_order_relaxed)) return false;
    parts_->given_up->store(1, std::memory_order_release);
    return true;
  }
  bool given_up() const override { return parts_->given_up->load(std::memory_order_acquire) != 0; }
  Status failure() const override { return parts_->control->failed() ? parts_->control->failure() : break_down_; }
  void break_down() noexcept override { broken_.store(true); }
  void fail(int culprit, const Status& cause) override { parts_->control->fail(culprit, cause); }
  void stalled(const Operation& operation, uint64_t waited_ns) override;
  void timed_out(const Operation& operation, uint64_t waited_ns) override;
  std::string peer_name(int rank) const override;

  std::unique_ptr<CommunicatorParts> parts_;
  ChoiceTerms terms_;
  std::shared_ptr<const Tuning> tuning_;
  EngineTotals before_;                     // what measuring added to the engine's totals
  std::unique_ptr<Forecaster> forecaster_;  // none: algorithms are chosen by fixed sizes
  ForkGuard fork_guard_;
  std::atomic<bool> broken_{false};
  const Status break_down_{Code::system, "this rank ran out of memory in the middle of a call"};
  uint32_t sequence_ = 0;                                 // of the last collective call
  std::map<std::pair<uint8_t, int>, Compiled> programs_;  // by (algorithm, root)
  std::map<std::pair<int, bool>, Compiled> message_programs_;  // by (peer, is a send)
  struct Remembered {                                     // what the last call's kind led to: repeated calls are the rule
    Collective collective = Collective::point_to_point;
    DataType type = DataType::uint8;
    ReduceOp op = ReduceOp::sum;
    size_t count = 0;
    uint64_t bytes = 0;  // of the whole data
    std::string wanted;
    Choice choice;
    Arithmetic arithmetic;
    uint32_t flat_kind = 0;  // hash of its signature, for flat exchanges
    bool coded = false;      // was given a codec: good for no other call
    bool own = false;        // a call of the library's own: likewise
  } remembered_;
  std::map<std::pair<Collective, std::pair<uint32_t, uint8_t>>, Account> accounts_;  // by size class and algorithm
  Cut last_cut_{1, 0};
  std::string last_codec_;                     // what the last call that asked for a codec came to
  std::map<std::string, Decision> decisions_;  // by the codec's text
  std::set<std::string> told_;
  RecentMemory recent_;
  bool last_was_lent_ = false;  // the last call ran as lent_choice() instead of what is remembered
  std::unique_ptr<Engine> engine_;
};

}  // namespace tutti
