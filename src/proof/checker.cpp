#include "checker.h"

#include <algorithm>
#include <vector>

#include "expressions.h"
#include "slots.h"
#include "spaces.h"
#include "wiring.h"

namespace tutti {
namespace {

constexpr uint32_t kNothing = ~uint32_t{0};

// A block at a rank.
struct Cell {
  uint32_t value = kNothing;
  bool local = true;      // made here (an input or a reduction), not received finished
  bool encoded = false;   // its packet exists
  bool consumed = false;  // its mass has gone to a peer
  uint8_t encodings = 0;  // packets made of this block over the whole plan; more than one is too many
};

struct Message {
  std::vector<uint32_t> values;
  uint64_t depth = 0;  // in the chain of messages that wait for each other
  bool sent = false;
  bool shared = false;  // its slot has other holders, or had when it was passed on
};

struct RankState {
  size_t step = 0;
  uint64_t depth = 0;         // of the deepest message received
  bool holds_shared = false;  // the slot last received or sent has other holders
  bool queued = false;
  uint64_t sent = 0, received = 0, sent_blocks = 0, received_blocks = 0, reduced = 0;
};

class SymbolicRun {
 public:
  SymbolicRun(Collective collective, int root, std::span<const Plan> plans, const Wiring& wiring, uint32_t links)
      : collective_(collective),
        root_(root),
        plans_(plans),
        wiring_(wiring),
        size_(static_cast<uint32_t>(plans.size())),
        blocks_(plans[0].blocks()),
        expressions_(size_),
        cells_(size_t{size_} * blocks_),
        ranks_(size_),
        messages_(links) {
    for (uint32_t link = 0; link < links; ++link) messages_[link].resize(wiring.messages(link));
    for (uint32_t rank = 0; rank < size_; ++rank) {
      for (uint32_t block = 0; block < blocks_; ++block) {
        if (has_input(collective, static_cast<int>(rank), static_cast<int>(size_), root, block)) {
          cell(rank, block).value = expressions_.input(rank);
        }
      }
    }
  }

  Status run();
  Status check_outputs();
  Proof proof() const;

 private:
  Cell& cell(uint32_t rank, uint32_t block) { return cells_[size_t{rank} * blocks_ + block % blocks_]; }
  Message& message(const MessageEnd& end) { return messages_[end.link][end.index]; }
  bool complete(uint32_t value) const { return !is_reduction(collective_) || expressions_.inputs(value) == size_; }
  bool ready(uint32_t rank, size_t step);
  void wake(uint32_t rank);
  Status take_step(uint32_t rank);
  Status send(uint32_t rank, const Step& step, Message& message);
  void recv(uint32_t rank, const Step& step, const Message& message);
  Status reduce(uint32_t rank, const Step& step, std::span<const MessageEnd> ends);
  uint32_t reduced_value(uint32_t rank, const Step& step, std::span<const MessageEnd> ends, uint32_t block, uint32_t place);
  Status fault(uint32_t rank, const std::string& what) const { return plan_error(plans_, rank, ranks_[rank].step, what); }

  Collective collective_;
  int root_;
  std::span<const Plan> plans_;
  const Wiring& wiring_;
  uint32_t size_, blocks_;
  Expressions expressions_;
  std::vector<Cell> cells_;
  std::vector<RankState> ranks_;
  std::vector<std::vector<Message>> messages_;  // [link][index]
  std::vector<uint32_t> queue_;                 // ranks that may be able to go on
  std::vector<uint32_t> operands_;
  bool may_carry_codec_ = true, makes_partial_sums_ = false;
};

void SymbolicRun::wake(uint32_t rank) {
  if (ranks_[rank].queued) return;
  ranks_[rank].queued = true;
  queue_.push_back(rank);
}

bool SymbolicRun::ready(uint32_t rank, size_t step) {
  if (plans_[rank].steps()[step].verb == Verb::send) return true;
  return std::ranges::all_of(wiring_.ends(rank, step), [&](const MessageEnd& end) { return message(end).sent; });
}

Status SymbolicRun::run() {
  for (uint32_t rank = 0; rank < size_; ++rank) wake(rank);
  while (!queue_.empty()) {
    const uint32_t rank = queue_.back();
    queue_.pop_back();
    RankState& state = ranks_[rank];
    state.queued = false;
    while (state.step < plans_[rank].steps().size() && ready(rank, state.step)) {
      if (Status status = take_step(rank); !status.ok()) return status;
      ++state.step;
    }
  }
  for (uint32_t rank = 0; rank < size_; ++rank) {
    if (ranks_[rank].step < plans_[rank].steps().size()) return fault(rank, "waits for ever");
  }
  return {};
}

Status SymbolicRun::take_step(uint32_t rank) {
  RankState& state = ranks_[rank];
  const Step& step = plans_[rank].steps()[state.step];
  const auto ends = wiring_.ends(rank, state.step);
  if (step.verb == Verb::send) {
    Status status = send(rank, step, message(ends[0]));
    wake(step.peer);
    return status;
  }
  state.holds_shared = message(ends[0]).shared;  // a fold passes its first slot on
  if (state.holds_shared &&
      (step.verb == Verb::recv_reduce || (step.verb == Verb::fold && passes_slot_on(plans_[rank], state.step)))) {
    return fault(rank, "reduces into a slot that others read");
  }
  for (const MessageEnd& end : ends) {
    state.depth = std::max(state.depth, message(end).depth);
    state.received += 1;
    state.received_blocks += step.count;
  }
  if (step.verb != Verb::recv) return reduce(rank, step, ends);
  recv(rank, step, message(ends[0]));
  return {};
}

Status SymbolicRun::send(uint32_t rank, const Step& step, Message& message) {
  RankState& state = ranks_[rank];
  const Plan& plan = plans_[rank];
  const bool follows = state.step > 0 && group_goes_on(plan, state.step - 1);
  const bool passed = state.step > 0 && passes_slot_on(plan, state.step - 1);
  if (!follows && !passed) state.holds_shared = false;  // a fresh slot
  if (group_goes_on(plan, state.step)) state.holds_shared = true;
  message.shared = state.holds_shared;
  message.sent = true;
  message.depth = state.depth + 1;
  state.sent += 1;
  state.sent_blocks += step.count;
  for (uint32_t i = 0; i < step.count; ++i) {
    Cell& source = cell(rank, step.block + i);
    if (source.value == kNothing) return fault(rank, "has no block " + std::to_string((step.block + i) % blocks_));
    message.values.push_back(source.value);
    if (source.local && !source.encoded) {
      source.encoded = true;
      if (++source.encodings > 1) may_carry_codec_ = false;
    }
    if (!complete(source.value)) {
      if (source.consumed) may_carry_codec_ = false;
      source.consumed = true;
    }
  }
  return {};
}

void SymbolicRun::recv(uint32_t rank, const Step& step, const Message& message) {
  for (uint32_t i = 0; i < step.count; ++i) {
    Cell& target = cell(rank, step.block + i);
    target = {message.values[i], false, false, false, target.encodings};
  }
}

// The value that block `block`, the `place`-th of the step's run, has after the step.
uint32_t SymbolicRun::reduced_value(uint32_t rank, const Step& step, std::span<const MessageEnd> ends, uint32_t block,
                                    uint32_t place) {
  const uint32_t own = cell(rank, block).value;
  if (step.verb == Verb::recv_reduce) {
    const uint32_t theirs = message(ends[0]).values[place];
    return step.peer < rank ? expressions_.reduce(theirs, own) : expressions_.reduce(own, theirs);
  }
  const auto peers = plans_[rank].peers_of(step);
  operands_.clear();
  bool own_placed = false;
  for (size_t i = 0; i < peers.size(); ++i) {
    if (!own_placed && rank < peers[i]) {
      operands_.push_back(own);
      own_placed = true;
    }
    operands_.push_back(message(ends[i]).values[place]);
  }
  if (!own_placed) operands_.push_back(own);
  return expressions_.fold(operands_);
}

Status SymbolicRun::reduce(uint32_t rank, const Step& step, std::span<const MessageEnd> ends) {
  for (uint32_t i = 0; i < step.count; ++i) {
    const uint32_t block = (step.block + i) % blocks_;
    Cell& target = cell(rank, block);
    if (target.value == kNothing) return fault(rank, "has no block " + std::to_string(block));
    if (target.consumed) may_carry_codec_ = false;
    target = {reduced_value(rank, step, ends, block, i), true, false, false, target.encodings};
    makes_partial_sums_ |= !complete(target.value);
    if (step.completes != (is_reduction(collective_) && complete(target.value))) {
      return fault(rank, "block " + std::to_string(block) + (step.completes ? " is not complete" : " is complete"));
    }
  }
  ranks_[rank].reduced += ends.size() * step.count;
  return {};
}

Status SymbolicRun::check_outputs() {
  const int size = static_cast<int>(size_);
  for (uint32_t block = 0; block < blocks_; ++block) {
    uint32_t first = kNothing;
    for (int rank = 0; rank < size; ++rank) {
      if (!has_output(collective_, rank, size, root_, block)) continue;
      const uint32_t value = cell(static_cast<uint32_t>(rank), block).value;
      const auto wrong = [&](const char* what) {
        return Status(Code::internal, "rank " + std::to_string(rank) + ", block " + std::to_string(block) + ": " + what);
      };
      if (value == kNothing) return wrong("never arrives");
      if (first != kNothing && value != first) return wrong("is made by another expression than at a lower rank");
      if (size_ == 1 || value == first) continue;
      first = value;
      const bool right = is_reduction(collective_) ? expressions_.holds_each_rank_once(value)
                                                   : expressions_.is_input(value) &&
                                                         contributes(collective_, static_cast<int>(value), size, root_, block);
      if (!right) return wrong("does not hold each contribution once");
    }
  }
  return {};
}

Proof SymbolicRun::proof() const {
  Proof proof{{}, may_carry_codec_, makes_partial_sums_};
  for (const RankState& rank : ranks_) {
    proof.cost.rounds = std::max(proof.cost.rounds, rank.depth);
    proof.cost.messages = std::max({proof.cost.messages, rank.sent, rank.received});
    proof.cost.blocks = std::max({proof.cost.blocks, rank.sent_blocks, rank.received_blocks});
    proof.cost.reduced = std::max(proof.cost.reduced, rank.reduced);
  }
  return proof;
}

}  // namespace

Result<Proof> prove(Collective collective, int root, std::span<const Plan> plans) {
  LinkNumbers links(plans.size());
  Result<Wiring> wiring = Wiring::make(plans, links);
  if (!wiring.ok()) return wiring.status();
  SymbolicRun run(collective, root, plans, *wiring, links.used());
  if (Status status = run.run(); !status.ok()) return status;
  if (Status status = run.check_outputs(); !status.ok()) return status;
  return run.proof();
}

}  // namespace tutti
