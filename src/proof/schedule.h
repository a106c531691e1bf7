// Proves that operations come to their end as the engine expands them: lanes, waves, slots and links of finite size.
//
// The data is cut into stripes; lane l of wave w handles stripe w·lanes + l, walking the plan's steps in order; the last wave may
// have fewer lanes.  Lanes advance independently, but on each link messages go in the order (operation, wave, index on the link
// within the plan, lane), at most `link_capacity` of them undelivered.  A rank owns `slots` slots; a lane begins a stripe when
// slots_per_lane() of them have been set aside for it, which happens strictly in the order (operation, stripe).  A slot comes back
// when its last holder has consumed it.  Several operations are in flight at once.
//
// Whatever is possible stays possible until it happens (each link has one sender and one receiver with a fixed order, slots are set
// aside in a fixed order), so if one run comes to its end, every timing does.
#pragma once

#include <cstdint>
#include <span>

#include "plan.h"
#include "status.h"

namespace tutti {

struct Expansion {
  uint32_t lanes = 2;
  uint32_t stripes = 4;
  uint32_t link_capacity = 64;
  uint32_t slots = 0;  // of each rank; 0: as few as can do, lanes × slots_per_lane of the neediest plan
};

// operations[k][r]: rank r's plan of the k-th operation.
Status prove_schedule(std::span<const std::span<const Plan>> operations, const Expansion& expansion);

}  // namespace tutti
