#include "checker.h"

#include <algorithm>
#include <vector>

#include "expressions.h"
#include "rank_memory.h"
#include "spaces.h"
#include "wiring.h"

namespace tutti {
namespace {

constexpr uint32_t kNothing = RankMemory::kNothing;

// A block's value at a rank, as far as codecs are concerned.
struct Encoding {
  bool local = true;      // made here (an input or a reduction), not received finished
  bool encoded = false;   // its packet exists
  bool consumed = false;  // its mass has gone to a peer
  uint8_t packets = 0;    // made of this block over the whole program; more than one is too many
};

struct Message {
  std::vector<uint32_t> values;
  uint64_t depth = 0;  // in the chain of messages that wait for each other
  bool sent = false;
  bool shared = false;     // its slot has other holders, or had when it was passed on
  bool offers = false;     // its receiver may write what it makes of it into the sender's destination
  bool delivered = false;  // word only: the value is in the receiver's destination already
};

struct RankState {
  size_t next = 0;     // instruction
  uint64_t depth = 0;  // of the deepest message received
  bool queued = false;
  uint64_t sent = 0, received = 0, sent_blocks = 0, received_blocks = 0, reduced = 0;
};

class SymbolicRun {
 public:
  SymbolicRun(const ProgramSet& set, const Wiring& wiring, uint32_t links)
      : set_(set),
        wiring_(wiring),
        size_(static_cast<uint32_t>(set.programs.size())),
        blocks_(set.programs[0].blocks),
        expressions_(size_),
        encodings_(size_t{size_} * blocks_),
        ranks_(size_),
        messages_(links) {
    for (uint32_t link = 0; link < links; ++link) messages_[link].resize(wiring.messages(link));
    for (uint32_t rank = 0; rank < size_; ++rank) memories_.emplace_back(set, rank, expressions_.input(rank));
  }

  Status run();
  Status check_outputs();
  Proof proof() const;

 private:
  const Program& program(uint32_t rank) const { return set_.programs[rank]; }
  Encoding& encoding(uint32_t rank, uint32_t block) { return encodings_[size_t{rank} * blocks_ + block]; }
  Message& message(const MessageEnd& end) { return messages_[end.link][end.index]; }
  Message& taken(uint32_t rank, const Port& port) { return message(wiring_.in(rank, port)); }
  // The value is what `rank` is to get.
  bool complete(uint32_t rank, uint32_t value) const {
    const Collective collective = set_.collective;
    return !is_reduction(collective) ||
           expressions_.inputs(value) == inputs_of_result(collective, static_cast<int>(rank), static_cast<int>(size_));
  }
  bool ready(uint32_t rank);
  void wake(uint32_t rank);
  Status carry_out(uint32_t rank, const Instruction& instruction);
  std::string take(uint32_t rank, const Instruction& instruction);
  std::string take_block(uint32_t rank, const Instruction& instruction, const Segment& segment, uint32_t k);
  std::string reduce(uint32_t rank, const Instruction& instruction, uint32_t block, uint32_t own);
  void give(uint32_t rank, const Instruction& instruction);
  void count_encodings(uint32_t rank, const Instruction& instruction);

  const ProgramSet& set_;
  const Wiring& wiring_;
  uint32_t size_, blocks_;
  Expressions expressions_;
  std::vector<RankMemory> memories_;
  std::vector<Encoding> encodings_;  // [rank × blocks + block]
  std::vector<RankState> ranks_;
  std::vector<std::vector<Message>> messages_;  // [link][index]
  std::vector<uint32_t> queue_;                 // ranks that may be able to go on
  std::vector<uint32_t> values_;                // of the blocks of the instruction under way, so far
  std::vector<uint32_t> operands_;
  bool may_carry_codec_ = true, makes_partial_sums_ = false;
};

void SymbolicRun::wake(uint32_t rank) {
  if (ranks_[rank].queued) return;
  ranks_[rank].queued = true;
  queue_.push_back(rank);
}

bool SymbolicRun::ready(uint32_t rank) {
  const auto& ins = program(rank).instructions[ranks_[rank].next].ins;
  return std::ranges::all_of(ins, [&](const Port& port) { return taken(rank, port).sent; });
}

Status SymbolicRun::run() {
  for (uint32_t rank = 0; rank < size_; ++rank) wake(rank);
  while (!queue_.empty()) {
    const uint32_t rank = queue_.back();
    queue_.pop_back();
    RankState& state = ranks_[rank];
    state.queued = false;
    while (state.next < program(rank).instructions.size() && ready(rank)) {
      if (Status status = carry_out(rank, program(rank).instructions[state.next]); !status.ok()) return status;
      ++state.next;
    }
  }
  for (uint32_t rank = 0; rank < size_; ++rank) {
    const auto& instructions = program(rank).instructions;
    if (ranks_[rank].next < instructions.size())
      return program_error(set_, rank, instructions[ranks_[rank].next], "waits for ever");
    if (std::string fault = memories_[rank].copy_identities(); !fault.empty())
      return Status(Code::internal, "rank " + std::to_string(rank) + ": " + fault);
  }
  return {};
}

Status SymbolicRun::carry_out(uint32_t rank, const Instruction& instruction) {
  std::string fault = take(rank, instruction);
  const bool from_memory =
      instruction.take == Take::nothing || (instruction.take == Take::recv && instruction.keeps && !instruction.outs.empty());
  if (fault.empty() && from_memory) fault = memories_[rank].send(instruction);
  if (!fault.empty()) return program_error(set_, rank, instruction, fault);
  give(rank, instruction);
  return {};
}

// Finds the values of the instruction's blocks, and keeps them where it says so.
std::string SymbolicRun::take(uint32_t rank, const Instruction& instruction) {
  RankState& state = ranks_[rank];
  const bool delivered = instruction.take != Take::nothing && taken(rank, instruction.ins[0]).delivered;
  if (std::string fault = memories_[rank].touch(instruction, delivered); !fault.empty()) return fault;
  const bool writes_slot =
      instruction.take == Take::recv_reduce || (instruction.take == Take::fold && !instruction.outs.empty());
  if (writes_slot && taken(rank, instruction.ins[0]).shared) return "reduces into a slot that others read";
  for (const Port& port : instruction.ins) {
    state.depth = std::max(state.depth, taken(rank, port).depth);
    state.received += 1;
    state.received_blocks += instruction.count;
  }
  if (instruction.take != Take::recv) state.reduced += instruction.ins.size() * instruction.count;
  values_.clear();
  for (const Segment& segment : instruction.segments)
    for (uint32_t k = 0; k < segment.count; ++k)
      if (std::string fault = take_block(rank, instruction, segment, k); !fault.empty()) return fault;
  return "";
}

std::string SymbolicRun::take_block(uint32_t rank, const Instruction& instruction, const Segment& segment, uint32_t k) {
  const uint32_t block = segment.block + k;
  if (instruction.take == Take::recv) {
    values_.push_back(taken(rank, instruction.ins[0]).values[values_.size()]);
    encoding(rank, block) = {false, false, false, encoding(rank, block).packets};
  } else {
    uint32_t own = kNothing;
    if (std::string fault = memories_[rank].read(segment, k, own); !fault.empty()) return fault;
    if (instruction.take == Take::nothing)
      values_.push_back(own);
    else if (std::string fault = reduce(rank, instruction, block, own); !fault.empty())
      return fault;
  }
  return instruction.keeps ? memories_[rank].keep(instruction, segment, k, values_.back()) : "";
}

std::string SymbolicRun::reduce(uint32_t rank, const Instruction& instruction, uint32_t block, uint32_t own) {
  const size_t place = values_.size();
  operands_.clear();
  for (const Port& port : instruction.ins) operands_.push_back(taken(rank, port).values[place]);
  uint32_t value = kNothing;
  if (instruction.take == Take::fold) {
    operands_.insert(operands_.begin() + instruction.own_position, own);
    value = expressions_.fold(operands_);
  } else {
    value = instruction.received_is_left ? expressions_.reduce(operands_[0], own) : expressions_.reduce(own, operands_[0]);
  }
  values_.push_back(value);
  Encoding& state = encoding(rank, block);
  if (state.consumed) may_carry_codec_ = false;
  state = {true, false, false, state.packets};
  makes_partial_sums_ |= !std::ranges::all_of(operands_, [&](uint32_t operand) { return expressions_.is_input(operand); }) ||
                         !expressions_.is_input(own);
  if (instruction.completes == (is_reduction(set_.collective) && complete(rank, value))) return "";
  return "block " + std::to_string(block) + (instruction.completes ? " is not complete" : " is complete");
}

void SymbolicRun::give(uint32_t rank, const Instruction& instruction) {
  RankState& state = ranks_[rank];
  const bool passes_on = instruction.take != Take::nothing, reduces = passes_on && instruction.take != Take::recv;
  const bool shared = instruction.outs.size() > 1 || (passes_on && taken(rank, instruction.ins[0]).shared);
  for (const Port& port : instruction.outs) {
    const auto offered = [&](const Port& in) { return in.link == port.link && taken(rank, in).offers; };
    message(wiring_.out(rank, port)) = {.values = values_,
                                        .depth = state.depth + 1,
                                        .sent = true,
                                        .shared = shared,
                                        .offers = instruction.offers,
                                        .delivered = reduces && std::ranges::any_of(instruction.ins, offered)};
    state.sent += 1;
    state.sent_blocks += instruction.count;
    count_encodings(rank, instruction);
    wake(static_cast<uint32_t>(program(rank).peers[port.link].rank));
  }
}

// Of one message.
void SymbolicRun::count_encodings(uint32_t rank, const Instruction& instruction) {
  for (uint32_t i = 0; i < instruction.count; ++i) {
    Encoding& source = encoding(rank, (instruction.block + i) % blocks_);
    if (source.local && !source.encoded) {
      source.encoded = true;
      if (++source.packets > 1) may_carry_codec_ = false;
    }
    if (!complete(rank, values_[i])) {
      if (source.consumed) may_carry_codec_ = false;
      source.consumed = true;
    }
  }
}

Status SymbolicRun::check_outputs() {
  const int size = static_cast<int>(size_);
  for (uint32_t block = 0; block < blocks_; ++block) {
    uint32_t first = kNothing;
    for (int rank = 0; rank < size; ++rank) {
      if (!has_output(set_.collective, rank, size, set_.root, block)) continue;
      const uint32_t value = memories_[static_cast<size_t>(rank)].output(block);
      const auto wrong = [&](const char* what) {
        return Status(Code::internal, "rank " + std::to_string(rank) + ", block " + std::to_string(block) + ": " + what);
      };
      if (value == kNothing) return wrong("never arrives");
      if (is_scan(set_.collective)) {
        if (!expressions_.holds_first_in_order(value, inputs_of_result(set_.collective, rank, size)))
          return wrong("does not hold the contributions up to here in order");
        continue;
      }
      if (first != kNothing && value != first) return wrong("is made by another expression than at a lower rank");
      if (size_ == 1 || value == first) continue;
      first = value;
      const auto owners_input = [&] {
        return expressions_.is_input(value) &&
               contributes(set_.collective, static_cast<int>(value), size, set_.root, block);
      };
      if (is_reduction(set_.collective) ? !expressions_.holds_each_rank_once(value) : !owners_input())
        return wrong("does not hold each contribution once");
    }
  }
  return {};
}

Proof SymbolicRun::proof() const {
  const bool may_carry_codec = may_carry_codec_ && (size_ == 1 || !is_scan(set_.collective));  // no one sum for a residual
  Proof proof{{}, may_carry_codec, makes_partial_sums_};
  for (const RankState& rank : ranks_) {
    proof.cost.rounds = std::max(proof.cost.rounds, rank.depth);
    proof.cost.messages = std::max({proof.cost.messages, rank.sent, rank.received});
    proof.cost.blocks = std::max({proof.cost.blocks, rank.sent_blocks, rank.received_blocks});
    proof.cost.reduced = std::max(proof.cost.reduced, rank.reduced);
  }
  return proof;
}

}  // namespace

Result<Proof> prove(const ProgramSet& set) {
  LinkNumbers links(set.programs.size());
  Result<Wiring> wiring = Wiring::make(set, links);
  if (!wiring.ok()) return wiring.status();
  SymbolicRun run(set, *wiring, links.used());
  if (Status status = run.run(); !status.ok()) return status;
  if (Status status = run.check_outputs(); !status.ok()) return status;
  return run.proof();
}

Result<Proof> prove(Collective collective, int root, std::span<const Plan> plans) {
  Result<ProgramSet> set = compile_all(collective, root, plans);
  return set.ok() ? prove(*set) : set.status();
}

}  // namespace tutti
