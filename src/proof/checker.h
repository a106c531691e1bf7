// Proves that the programs of all ranks carry a collective out, by running them on symbols: a value is the expression
// of inputs that made it.  The programs are those that the engine runs (src/plan/program.h).
#pragma once

#include <cstdint>
#include <span>

#include "plan.h"
#include "program_set.h"
#include "status.h"

namespace tutti {

// The costs of a collective at the rank that it costs most, each figure for itself.
struct Cost {
  uint64_t rounds = 0;    // messages of the longest chain in which each waits for the one before
  uint64_t messages = 0;  // sent or received, whichever is more
  uint64_t blocks = 0;    // sent or received, whichever is more
  uint64_t reduced = 0;   // blocks from peers that went into reductions

  bool operator==(const Cost&) const = default;
};

struct Proof {
  Cost cost;
  bool may_carry_codec = false;     // each rank encodes a block at most once, and each partial sum has one consumer
  bool makes_partial_sums = false;  // some reduction takes the result of another
};

// A Status instead of a proof names the rank, the step of its plan and the rule that it breaks:
//   agreement      the i-th send of a to b is the i-th receive of b from a, of the same blocks
//   possession     a rank reads only blocks that it has as input or has written, in the memory where it reads them
//   exactly once   a block's final value, in the output, holds every contribution that the collective defines, once
//   rank identity  it is the same expression at every rank, operands in the order of ranks; of a scan at rank r: the
//                  inputs up to r (or before it) from left to right
//   completion     `completes` stands at exactly the reductions that produce a final value
//   sharing        what is sent to several ranks in one slot is nowhere the target of a recv_reduce
//   in place       no input is read after the output of its block was written
//   flushing       memory that a send may still read is overwritten only `after_flush`
//   last touch     no block is touched after an instruction that has `last_touch`
//   offers         a destination that is offered is next touched by the plain receive of the same blocks from the same
//                  peer
//   progress       every rank comes to its end (one lane; schedule.h for the expanded schedule)
Result<Proof> prove(const ProgramSet& set);

// Of the programs that the plans compile to; plans[r] is rank r's.
Result<Proof> prove(Collective collective, int root, std::span<const Plan> plans);

}  // namespace tutti
