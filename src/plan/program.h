// A Program is a Plan made ready for one rank's engine: steps fused where a message can pass on in its slot, and for
// each instruction where its operands live.  Made once per (collective, algorithm, root) and used for every size.
// The engine runs it, the checker proves it (src/proof) and the simulator prices it (src/price); none of them reads
// the plan.
//
// Fusion (the only place that knows of it):
//   * a receive followed at once by sends of the same blocks becomes one instruction: the slot received is reduced in
//     place and passed on, no second copy;
//   * consecutive sends of the same blocks become one instruction: one slot, several receivers; but not where the plan
//     says that a receiver wants the slot to itself.
// It also finds where memory that peers can reach may be lent to them instead of copied (`lends`, `offers`).
// Liveness decides whether the value must also be written to this rank's memory ("destination").
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "plan.h"

namespace tutti {

// Where a run of blocks is read from and written to; all blocks of a segment agree in both.
struct Segment {
  uint32_t block, count;  // no wrap inside a segment
  bool from_input;        // this rank's value is still its input
  bool in_output;         // destination is the output; otherwise scratch
  uint32_t scratch;       // first scratch block if !in_output
};

// One end of an instruction: the k-th message of this program on a link, in that direction.
struct Port {
  uint32_t link;   // index into Program::peers
  uint32_t index;  // k
};

enum class Take : uint8_t { nothing, recv, recv_reduce, fold };

struct Instruction {
  Take take = Take::nothing;
  bool completes = false;
  bool received_is_left = false;  // recv_reduce: the peer is the lower rank
  bool keeps = false;         // the value is needed here later, or is output
  bool last_touch = false;        // no later instruction reads or writes these blocks here
  bool after_flush = false;       // overwrites memory that an earlier send of this lane may still be sending from
  bool lends = false;             // send: nothing here overwrites these blocks before the receiver must have read them
  bool lends_freely = false;      // lends, and what overwrites these blocks contains them: nobody need wait before it
  // send: the same peer returns these blocks, and nothing touches their destination meanwhile, so it may fill it
  bool offers = false;
  uint32_t own_position = 0;  // fold: place of this rank among the contributions
  uint32_t step = 0;          // in the plan, for messages
  uint32_t block = 0, count = 0;  // the run, counted modulo the blocks
  std::span<const Port> ins, outs;
  std::span<const Segment> segments;  // of the run
};

struct Program {
  struct Peer {
    int rank;
    uint32_t sends = 0, receives = 0;  // messages per stripe
  };
  Program() = default;
  Program(Program&&) = default;
  Program& operator=(Program&&) = default;

  std::vector<Peer> peers;
  std::vector<Instruction> instructions;
  std::vector<Port> ports;           // of all instructions, which view their parts
  std::vector<Segment> segments;     // likewise
  std::vector<Segment> identities;  // input blocks that are output as they are
  uint32_t blocks = 0, widest_run = 1, scratch_blocks = 0;
  uint32_t steps = 0;  // of the plan
};

// In time proportional to the blocks that the plan moves, and to the ranks.
Program compile(const Plan& plan, Collective collective, int rank, int size, int root);

// The most slots of its own that a rank takes at once for a stripe, if it shares memory with all peers: one for each
// value of its own that it sends.  With `lends`, loans are read-only, so that a result that is passed on may need
// one, too.
uint32_t slots_per_stripe(const Program& program, bool lends = false);

}  // namespace tutti
