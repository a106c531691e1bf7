#include "program.h"

#include <algorithm>
#include <unordered_map>

#include "spaces.h"

namespace tutti {
namespace {

class Compiler {
 public:
  Compiler(const Plan& plan, Collective collective, int rank, int size, int root)
      : plan_(plan), collective_(collective), rank_(rank), size_(size), root_(root) {}

  Program run() {
    program_.blocks = plan_.blocks();
    program_.widest_run = plan_.widest_run();
    program_.steps = static_cast<uint32_t>(plan_.steps().size());
    fuse();
    for (size_t i = 0; i < program_.instructions.size(); ++i) keep_what_is_needed(i);
    place();
    for (size_t i = 0; i < program_.instructions.size(); ++i) find_loans(i);
    find_identities();
    return std::move(program_);
  }

 private:
  struct Run {
    uint32_t block, count;
  };

  uint32_t peer_index(int rank) {
    for (uint32_t i = 0; i < program_.peers.size(); ++i)
      if (program_.peers[i].rank == rank) return i;
    program_.peers.push_back({rank});
    return static_cast<uint32_t>(program_.peers.size() - 1);
  }
  Port in_port(uint32_t peer) {
    const uint32_t link = peer_index(static_cast<int>(peer));
    return {link, program_.peers[link].receives++};
  }
  Port out_port(uint32_t peer) {
    const uint32_t link = peer_index(static_cast<int>(peer));
    return {link, program_.peers[link].sends++};
  }

  // Groups each receive, and each first send, with the sends of the same blocks that follow it.
  void fuse() {
    const auto& steps = plan_.steps();
    for (size_t i = 0; i < steps.size();) {
      const Step& first = steps[i];
      Instruction instruction;
      instruction.step = static_cast<uint32_t>(i);
      if (first.verb != Verb::send) {
        instruction.take = first.verb == Verb::recv ? Take::recv : first.verb == Verb::recv_reduce ? Take::recv_reduce : Take::fold;
        instruction.completes = first.completes;
        for (const uint32_t peer : plan_.peers_of(first)) instruction.ins.push_back(in_port(peer));
        if (first.verb == Verb::recv_reduce) instruction.received_is_left = static_cast<int>(first.peer) < rank_;
        if (first.verb == Verb::fold)
          for (const uint32_t peer : plan_.peers_of(first)) instruction.own_position += static_cast<int>(peer) < rank_;
        ++i;
      }
      for (; i < steps.size() && steps[i].verb == Verb::send && steps[i].block == first.block && steps[i].count == first.count; ++i)
        instruction.outs.push_back(out_port(steps[i].peer));
      program_.instructions.push_back(std::move(instruction));
      runs_.push_back({first.block, first.count});
    }
  }

  template <class Fn>
  void each_block(size_t i, Fn fn) const {
    for (uint32_t k = 0; k < runs_[i].count; ++k) fn((runs_[i].block + k) % plan_.blocks());
  }
  bool touches(size_t i, uint32_t block) const {
    return (block + plan_.blocks() - runs_[i].block) % plan_.blocks() < runs_[i].count;
  }
  bool reads_home(size_t i) const { return program_.instructions[i].take != Take::recv; }

  // A received or reduced value stays here if a later instruction reads it, or if it is output and no later one replaces it.
  void keep_what_is_needed(size_t i) {
    Instruction& instruction = program_.instructions[i];
    if (instruction.take == Take::nothing) return;
    instruction.last_touch = true;
    each_block(i, [&](uint32_t block) {
      for (size_t later = i + 1; later < program_.instructions.size(); ++later)
        if (touches(later, block)) {
          instruction.last_touch = false;
          instruction.keep_home |= reads_home(later);
          return;
        }
      instruction.keep_home |= has_output(collective_, rank_, size_, root_, block);
    });
    if (instruction.outs.empty() && instruction.take != Take::recv) instruction.keep_home = true;
  }

  // Walks the program in order, noting which blocks have been written, and cuts each run into segments.
  void place() {
    for (size_t i = 0; i < program_.instructions.size(); ++i) {
      Instruction& instruction = program_.instructions[i];
      each_block(i, [&](uint32_t block) { add_segment(instruction, block); });
      if (instruction.take == Take::nothing) {
        each_block(i, [&](uint32_t block) { sent_[block] = true; });
        continue;
      }
      each_block(i, [&](uint32_t block) {
        instruction.after_flush |= instruction.keep_home && sent_.contains(block);
        if (instruction.keep_home) written_[block] = true;
        if (!instruction.outs.empty() && instruction.take == Take::recv && instruction.keep_home) sent_[block] = true;
      });
    }
  }

  void add_segment(Instruction& instruction, uint32_t block) {
    Segment next{block, 1, !written_.contains(block), has_output(collective_, rank_, size_, root_, block), 0};
    const bool has_home = instruction.keep_home || !next.from_input;
    if (!next.in_output && has_home) next.scratch = scratch_of(block);
    if (!instruction.segments.empty()) {
      Segment& last = instruction.segments.back();
      const bool scratch_follows = next.in_output || !has_home || last.scratch + last.count == next.scratch;
      if (last.block + last.count == block && last.from_input == next.from_input && last.in_output == next.in_output &&
          scratch_follows) {
        ++last.count;
        return;
      }
    }
    instruction.segments.push_back(next);
  }

  bool same_run(size_t i, size_t j) const { return runs_[i].block == runs_[j].block && runs_[i].count == runs_[j].count; }
  bool overlaps(size_t i, size_t j) const {
    bool any = false;
    each_block(j, [&](uint32_t block) { any |= touches(i, block); });
    return any;
  }

  // A send may lend its blocks if all that is later written over them are final values received from others: these contain what was
  // sent, so it has been read by then.  (In place, a reduction could write while the receiver, waiting likewise, still reads.)
  // It may offer their home if the next to touch it is one plain receive of the same run from the same peer.
  void find_loans(size_t i) {
    Instruction& send = program_.instructions[i];
    if (send.take != Take::nothing) return;
    send.lends = true;
    bool alone = true;
    for (size_t j = 0; j < program_.instructions.size(); ++j) {
      const Instruction& other = program_.instructions[j];
      if (j == i || !overlaps(i, j)) continue;
      if (j > i && other.keep_home) send.lends &= other.take == Take::recv;
      if (j > i && alone)
        send.offers = same_run(i, j) && other.take == Take::recv && other.keep_home && other.outs.empty() &&
                      send.outs.size() == 1 && other.ins[0].link == send.outs[0].link && all_output(other);
      alone = false;
    }
  }
  static bool all_output(const Instruction& instruction) {
    return std::all_of(instruction.segments.begin(), instruction.segments.end(), [](const Segment& s) { return s.in_output; });
  }

  uint32_t scratch_of(uint32_t block) {
    const auto [entry, added] = scratch_.try_emplace(block, program_.scratch_blocks);
    if (added) ++program_.scratch_blocks;
    return entry->second;
  }

  void find_identities() {
    Instruction collected;
    const auto consider = [&](uint32_t block) {
      // A message of a group that travels is not a block of this rank's at both ends; one to oneself takes part in no step.
      if (collective_ == Collective::point_to_point && sent_.contains(block)) return;
      if (!written_.contains(block) && has_input(collective_, rank_, size_, root_, block) &&
          has_output(collective_, rank_, size_, root_, block))
        add_segment(collected, block);
    };
    if (collective_ == Collective::all_to_all) {
      const auto r = static_cast<uint32_t>(rank_), p = static_cast<uint32_t>(size_);
      consider(r * p + r);
    } else {
      for (uint32_t block = 0; block < plan_.blocks(); ++block) consider(block);
    }
    program_.identities = std::move(collected.segments);
  }

  const Plan& plan_;
  Collective collective_;
  int rank_, size_, root_;
  Program program_;
  std::vector<Run> runs_;                       // of each instruction
  std::unordered_map<uint32_t, bool> written_;  // blocks whose home holds the current value
  std::unordered_map<uint32_t, bool> sent_;     // blocks that some earlier instruction may send from memory
  std::unordered_map<uint32_t, uint32_t> scratch_;
};

}  // namespace

Program compile(const Plan& plan, Collective collective, int rank, int size, int root) {
  return Compiler(plan, collective, rank, size, root).run();
}

}  // namespace tutti
