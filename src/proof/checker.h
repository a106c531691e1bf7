// Proves that the plans of all ranks carry a collective out, by running them on symbols: a value is the expression of inputs that
// made it.
#pragma once

#include <cstdint>
#include <span>

#include "plan.h"
#include "status.h"

namespace tutti {

// What a collective costs the rank that it costs most, each figure for itself.
struct Cost {
  uint64_t rounds = 0;    // messages of the longest chain in which each waits for the one before
  uint64_t messages = 0;  // sent or received, whichever is more
  uint64_t blocks = 0;    // sent or received, whichever is more
  uint64_t reduced = 0;   // blocks from peers that went into reductions

  bool operator==(const Cost&) const = default;
};

struct Proof {
  Cost cost;
  bool may_carry_codec = false;      // each rank encodes a block at most once, and each partial sum has one consumer
  bool makes_partial_sums = false;  // some reduction combines some contributions before the rest
};

// plans[r] is rank r's.  A Status instead of a proof names the rank, the step and the rule that it breaks:
//   agreement      the i-th send of a to b is the i-th receive of b from a, of the same blocks
//   possession     a rank reads only blocks that it has as input or has written
//   exactly once   a block's final value holds every contribution that the collective defines, once
//   rank identity  it is the same expression at every rank, operands in the same order
//   completion     `completes` stands at exactly the reductions that produce a final value
//   sharing        what is sent to several ranks in one slot is nowhere the target of a recv_reduce
//   progress       every rank comes to its end (one lane; schedule.h for the expanded schedule)
// Nothing needs to be proved about working in place: input and output of a block share memory only with each other, and a step that
// reads a block after writing it means the new value.
Result<Proof> prove(Collective collective, int root, std::span<const Plan> plans);

}  // namespace tutti
