#include "program.h"

#include <algorithm>
#include <unordered_map>

#include "spaces.h"

namespace tutti {
namespace {

constexpr uint32_t kNone = ~uint32_t{0};

// Small numbers for the blocks that a plan touches.  A rank of all_to_all touches few of very many blocks.
class BlockNumbers {
 public:
  explicit BlockNumbers(const Plan& plan) : blocks_(plan.blocks()) {
    uint64_t touches = 0;
    for (const Step& step : plan.steps()) touches += step.count;
    few_ = touches < blocks_ / 4;
  }
  size_t count() const { return few_ ? numbers_.size() : blocks_; }
  uint32_t make(uint32_t block) {
    return few_ ? numbers_.try_emplace(block, static_cast<uint32_t>(numbers_.size())).first->second : block;
  }
  uint32_t find(uint32_t block) const {  // kNone: the plan does not touch the block
    if (!few_) return block;
    const auto found = numbers_.find(block);
    return found == numbers_.end() ? kNone : found->second;
  }

 private:
  uint32_t blocks_;
  bool few_;
  std::unordered_map<uint32_t, uint32_t> numbers_;  // if few_
};

class Compiler {
 public:
  Compiler(const Plan& plan, Collective collective, int rank, int size, int root)
      : plan_(plan), collective_(collective), rank_(rank), size_(size), root_(root), numbers_(plan) {}

  Program run() {
    program_.blocks = plan_.blocks();
    program_.widest_run = plan_.widest_run();
    program_.steps = static_cast<uint32_t>(plan_.steps().size());
    fuse();
    find_first_touches();
    for (auto i = static_cast<uint32_t>(program_.instructions.size()); i-- > 0;) look_ahead(i);
    place();
    find_identities();
    return std::move(program_);
  }

 private:
  struct BlockState {
    uint32_t first = kNone;      // the first instruction that touches the block
    uint32_t next = kNone;       // while looking ahead from an instruction: the next one that touches it
    bool reduced_later = false;  // likewise: a later one writes a reduction over its destination
    bool written_later = false;  // likewise: anything
    bool written = false;        // while placing: its destination holds the current value
    bool sent = false;           // likewise: an earlier instruction may send it from memory
    uint32_t scratch = kNone;
  };

  uint32_t link_of(uint32_t peer) {
    if (peer >= links_.size()) links_.resize(peer + size_t{1}, kNone);
    if (links_[peer] == kNone) {
      links_[peer] = static_cast<uint32_t>(program_.peers.size());
      program_.peers.push_back({static_cast<int>(peer)});
    }
    return links_[peer];
  }
  void add_in_port(uint32_t peer) {
    const uint32_t link = link_of(peer);
    program_.ports.push_back({link, program_.peers[link].receives++});
  }
  void add_out_port(uint32_t peer) {
    const uint32_t link = link_of(peer);
    program_.ports.push_back({link, program_.peers[link].sends++});
  }

  // Groups each receive, and each first send, with the sends of the same blocks that follow it.
  void fuse() {
    const auto& steps = plan_.steps();
    size_t ports = 0;
    for (const Step& step : steps) ports += step.peers;
    program_.ports.reserve(ports);  // instructions view into it
    for (size_t i = 0; i < steps.size();) {
      const Step& first = steps[i];
      Instruction instruction;
      instruction.step = static_cast<uint32_t>(i);
      instruction.block = first.block;
      instruction.count = first.count;
      const size_t ins = program_.ports.size();
      if (first.verb != Verb::send) {
        set_take(instruction, first);
        ++i;
      }
      const size_t outs = program_.ports.size();
      const auto goes_too = [&](const Step& step) {
        const bool alone = program_.ports.size() > outs && (step.apart || steps[i - 1].apart);
        return step.verb == Verb::send && step.block == first.block && step.count == first.count && !alone;
      };
      for (; i < steps.size() && goes_too(steps[i]); ++i) add_out_port(steps[i].peer);
      instruction.ins = std::span(program_.ports).subspan(ins, outs - ins);
      instruction.outs = std::span(program_.ports).subspan(outs);
      first_touch_.push_back(touched_.size());
      for (uint32_t k = 0; k < first.count; ++k) touched_.push_back(numbers_.make((first.block + k) % plan_.blocks()));
      program_.instructions.push_back(instruction);
    }
  }

  void set_take(Instruction& instruction, const Step& step) {
    instruction.take = step.verb == Verb::recv ? Take::recv : step.verb == Verb::recv_reduce ? Take::recv_reduce : Take::fold;
    instruction.completes = step.completes;
    for (const uint32_t peer : plan_.peers_of(step)) {
      add_in_port(peer);
      if (step.verb == Verb::fold) instruction.own_position += static_cast<int>(peer) < rank_;
    }
    if (step.verb == Verb::recv_reduce) instruction.received_is_left = static_cast<int>(step.peer) < rank_;
  }

  void find_first_touches() {
    states_.resize(numbers_.count());
    for (uint32_t i = 0; i < program_.instructions.size(); ++i)
      each_block(i, [i](uint32_t, BlockState& state) { state.first = std::min(state.first, i); });
  }

  template <class Fn>
  void each_block(size_t i, Fn fn) {
    const Instruction& instruction = program_.instructions[i];
    for (uint32_t k = 0, block = instruction.block; k < instruction.count; ++k) {
      fn(block, states_[touched_[first_touch_[i] + k]]);
      if (++block == plan_.blocks()) block = 0;
    }
  }
  bool is_output(uint32_t block) const { return has_output(collective_, rank_, size_, root_, block); }

  // Called from the last instruction to the first.
  void look_ahead(uint32_t i) {
    Instruction& instruction = program_.instructions[i];
    if (instruction.take == Take::nothing)
      find_loans(i);
    else
      keep_what_is_needed(i);
    const bool reduces_in_memory = instruction.keeps && instruction.take != Take::recv;
    each_block(i, [&](uint32_t, BlockState& state) {
      state.next = i;
      state.reduced_later |= reduces_in_memory;
      state.written_later |= instruction.keeps;
    });
  }

  // A received or reduced value stays here if a later instruction reads it, or if it is output and no later one
  // replaces it.
  void keep_what_is_needed(uint32_t i) {
    Instruction& instruction = program_.instructions[i];
    instruction.last_touch = true;
    each_block(i, [&](uint32_t block, const BlockState& state) {
      if (state.next == kNone) {
        instruction.keeps |= is_output(block);
        return;
      }
      instruction.last_touch = false;
      instruction.keeps |= program_.instructions[state.next].take != Take::recv;
    });
    if (instruction.outs.empty() && instruction.take != Take::recv) instruction.keeps = true;
  }

  // A send may lend its blocks if all that is later written over them are final values received from others: these
  // contain what was sent, so it has been read by then.  (In place, a reduction could write while the receiver, waiting
  // likewise, still reads.  The result of an exscan, of lower ranks alone, does not contain it: before that is written,
  // readers must be waited for.)  It may offer their destination if nothing touched it before and the next to touch it
  // is one plain receive of the same run from the same peer.
  void find_loans(uint32_t i) {
    Instruction& send = program_.instructions[i];
    send.lends = send.lends_freely = true;
    uint32_t next = kNone;
    bool untouched = true, all_output = true;
    each_block(i, [&](uint32_t block, const BlockState& state) {
      send.lends &= !state.reduced_later;
      send.lends_freely &= send.lends && !(collective_ == Collective::exscan && state.written_later);
      untouched &= state.first == i;
      all_output &= is_output(block);
      next = std::min(next, state.next);
    });
    if (next == kNone || !untouched || !all_output) return;
    const Instruction& back = program_.instructions[next];
    send.offers = back.block == send.block && back.count == send.count && back.take == Take::recv && back.keeps &&
                  back.outs.empty() && send.outs.size() == 1 && back.ins[0].link == send.outs[0].link;
  }

  // Walks the program in order, noting which blocks have been written, and cuts each run into segments.
  void place() {
    std::vector<size_t> first_segment;
    for (size_t i = 0; i < program_.instructions.size(); ++i) {
      Instruction& instruction = program_.instructions[i];
      const bool keeps = instruction.keeps;
      const bool sends_from_memory =
          instruction.take == Take::nothing || (instruction.take == Take::recv && keeps && !instruction.outs.empty());
      first_segment.push_back(program_.segments.size());
      each_block(i, [&](uint32_t block, BlockState& state) {
        add_segment(program_.segments, first_segment.back(), keeps, block, state);
        instruction.after_flush |= keeps && state.sent;
      });
      each_block(i, [&](uint32_t, BlockState& state) {
        state.written |= keeps;
        state.sent |= sends_from_memory;
      });
    }
    first_segment.push_back(program_.segments.size());
    for (size_t i = 0; i < program_.instructions.size(); ++i)
      program_.instructions[i].segments =
          std::span(program_.segments).subspan(first_segment[i], first_segment[i + 1] - first_segment[i]);
  }

  // `first`: the first one of the run in `segments`.
  void add_segment(std::vector<Segment>& segments, size_t first, bool keeps, uint32_t block, BlockState& state) {
    Segment next{block, 1, !state.written, is_output(block), 0};
    const bool has_destination = keeps || !next.from_input;
    if (!next.in_output && has_destination) next.scratch = scratch_of(state);
    if (segments.size() > first) {
      Segment& last = segments.back();
      const bool scratch_follows = next.in_output || !has_destination || last.scratch + last.count == next.scratch;
      if (last.block + last.count == block && last.from_input == next.from_input && last.in_output == next.in_output &&
          scratch_follows) {
        ++last.count;
        return;
      }
    }
    segments.push_back(next);
  }

  uint32_t scratch_of(BlockState& state) {
    if (state.scratch == kNone) state.scratch = program_.scratch_blocks++;
    return state.scratch;
  }

  void find_identities() {
    const auto consider = [&](uint32_t block) {
      const uint32_t number = numbers_.find(block);
      BlockState state = number == kNone ? BlockState() : states_[number];
      // A message of a group that travels is not a block of this rank's at both ends; one to oneself takes part in no
      // step.
      if (collective_ == Collective::point_to_point && state.sent) return;
      if (!state.written && has_input(collective_, rank_, size_, root_, block) && is_output(block))
        add_segment(program_.identities, 0, false, block, state);
    };
    if (collective_ == Collective::all_to_all) {
      const auto r = static_cast<uint32_t>(rank_), p = static_cast<uint32_t>(size_);
      consider(r * p + r);
    } else {
      for (uint32_t block = 0; block < plan_.blocks(); ++block) consider(block);
    }
  }

  const Plan& plan_;
  Collective collective_;
  int rank_, size_, root_;
  BlockNumbers numbers_;
  std::vector<BlockState> states_;   // by number
  std::vector<uint32_t> touched_;    // the numbers of the blocks of all instructions, one after the other
  std::vector<size_t> first_touch_;  // of each instruction
  std::vector<uint32_t> links_;      // by peer
  Program program_;
};

}  // namespace

uint32_t slots_per_stripe(const Program& program, bool lends) {
  return static_cast<uint32_t>(std::ranges::count_if(program.instructions, [lends](const Instruction& instruction) {
    return !instruction.outs.empty() && (instruction.take == Take::nothing || (lends && instruction.take != Take::recv));
  }));
}

Program compile(const Plan& plan, Collective collective, int rank, int size, int root) {
  return Compiler(plan, collective, rank, size, root).run();
}

}  // namespace tutti
