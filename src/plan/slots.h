// Where slots come from and where they go: the one reading of a plan that the engine and the checker share.
//
// Consecutive sends of the same run of blocks are a *group*: one slot with several holders.  A receive of any kind directly before
// a group of the same run passes the slot it received on to it (a fold: the one from its first peer); any other group takes one
// slot of this rank's own.  A slot with several holders is read-only, and no plan lets it reach a reduction that would write into
// it (the checker proves that).
#pragma once

#include <cstddef>
#include <cstdint>

#include "plan.h"

namespace tutti {

// The step and the next one send the same run.
bool group_goes_on(const Plan& plan, size_t step);

// How many sends of the same run begin at `step`, which is a send.
uint32_t group_size(const Plan& plan, size_t step);

// The step receives, and the group of sends that follows takes its slot over.
bool passes_slot_on(const Plan& plan, size_t step);

// Slots of its own that a rank needs to run one lane of the plan to its end without waiting for one to come back.
uint32_t slots_per_lane(const Plan& plan);

}  // namespace tutti
