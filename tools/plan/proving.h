// Everything that is known to hold of an algorithm, proved for one number of ranks.
#pragma once

#include "checker.h"
#include "algorithm.h"
#include "status.h"

namespace tutti {

// The plans carry the collective out, at the cost that the formulas say of hosts with equally many ranks.
Result<Proof> prove_plans(const Algorithm& algorithm, const Team& team, int root);

// Two operations in flight come to their end, as the engine expands them.
Status prove_in_flight(const Algorithm& algorithm, int size);

}  // namespace tutti
