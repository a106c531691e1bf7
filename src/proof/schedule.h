// Proves that operations come to their end as the engine expands them: lanes, waves, slots, loans and links of finite
// size.
//
// The data is cut into stripes; each lane walks the program's instructions in order, and lanes advance independently.
// On each link messages go in their turns (src/plan/turn.h), at most `link_capacity` of them undelivered.  A rank
// owns `slots` slots; a lane begins a stripe when slots_per_stripe() of them have been set aside for it, which
// happens strictly in the order (operation, stripe).  A slot comes back when its last holder has consumed it.
// Several operations are in flight at once.
//
// Loans.  With `lends`, a send whose instruction lends takes no slot: its receivers read the sender's memory.  They
// cannot write it, so a reduction that passes on takes a slot of its own.  An instruction that is `after_flush` waits
// until what it overwrites has come back, and a stripe ends when all its loans have.
//
// Whatever is possible stays possible until it happens (each link has one sender and one receiver with a fixed order,
// slots are set aside in a fixed order), so if one run comes to its end, every timing does.
#pragma once

#include <cstdint>
#include <span>

#include "program_set.h"
#include "status.h"

namespace tutti {

struct Expansion {
  uint32_t lanes = 2;
  uint32_t stripes = 4;
  uint32_t link_capacity = 64;
  uint32_t slots = 0;  // of each rank; 0: as few as can do, lanes × slots_per_stripe of the neediest program
  bool lends = false;
};

// The operations in the order in which they are called, all of equally many ranks.
Status prove_schedule(std::span<const ProgramSet* const> operations, const Expansion& expansion);

// Of two operations of the same ranks.
Status prove_schedule(const ProgramSet& first, const ProgramSet& second, const Expansion& expansion);

}  // namespace tutti
