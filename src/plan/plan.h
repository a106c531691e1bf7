// A Plan is what one rank does in one collective: steps over symbolic blocks and peers.  It knows no bytes, pointers,
// data types or transports.  An algorithm is a pure function (rank, team, root) → Plan.
//
// Blocks.  The same numbers mean the same blocks on every rank.  A rank reads its *input* of a block until the plan
// has written that block at this rank; from then on the block's current value.  Which blocks are a rank's input and
// output follows from the collective (spaces.h).  An input block that is also output and is never written is copied
// by the reader of the plan.
//
// Order.  The i-th send of a to b is the i-th receive of b from a, of the same blocks.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "team.h"
#include "vocabulary.h"

namespace tutti {

enum class Verb : uint8_t {
  send,         // the current value of the blocks to `peer`
  recv,         // the blocks from `peer` replace the value here
  recv_reduce,  // the blocks from `peer` are reduced with the value here; the lower rank's side is the left operand
  fold,         // the contributions of all `peers` and this rank are reduced in rank order, widened and rounded once
};

struct Step {
  Verb verb;
  bool completes;  // this reduction gives the block its final value (avg divides here, once)
  uint32_t peer;   // for fold: index of the first peer in Plan::fold_peers()
  uint32_t peers;  // 1; for fold: how many
  uint32_t block;  // first block
  uint32_t count;  // consecutive blocks, counted modulo Plan::blocks()
  bool apart = false;  // send: in a slot of its own, since the receiver reduces into it
};

class Plan {
 public:
  // `blocks`: equal parts the data is cut into.  `widest_run`: the most blocks any step of any rank moves at once;
  // equal on all ranks.
  explicit Plan(uint32_t blocks, uint32_t widest_run = 1) : blocks_(blocks), widest_run_(widest_run) {}

  void send(int peer, uint32_t block, uint32_t count = 1, bool apart = false) {
    add(Verb::send, false, peer, block, count);
    if (count > 0) steps_.back().apart = apart;
  }
  void recv(int peer, uint32_t block, uint32_t count = 1) { add(Verb::recv, false, peer, block, count); }
  void recv_reduce(int peer, uint32_t block, uint32_t count = 1, bool completes = false) {
    add(Verb::recv_reduce, completes, peer, block, count);
  }
  // `peers` ascending, without this rank.  Completes its blocks unless told otherwise.
  void fold(std::span<const int> peers, uint32_t block, uint32_t count = 1, bool completes = true);

  uint32_t blocks() const { return blocks_; }
  uint32_t widest_run() const { return widest_run_; }
  const std::vector<Step>& steps() const { return steps_; }
  std::vector<Step>& steps() { return steps_; }                // for tests that break plans
  std::span<const uint32_t> peers_of(const Step& step) const;  // the one peer, or the peers of a fold

 private:
  void add(Verb verb, bool completes, int peer, uint32_t block, uint32_t count) {
    if (count > 0) steps_.push_back({verb, completes, static_cast<uint32_t>(peer), 1, block % blocks_, count});
  }
  uint32_t blocks_;
  uint32_t widest_run_;
  std::vector<Step> steps_;
  std::vector<uint32_t> fold_peers_;
};

}  // namespace tutti
