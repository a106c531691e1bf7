// The table of predictions: for each collective and size the algorithms that can serve it, best first.  Rank 0
// computes it at bootstrap and sends it to the others in the format of a tuning file, so no two ranks need the same
// floating-point arithmetic.
#pragma once

#include <vector>

#include "machine_profile.h"
#include "route_terms.h"
#include "tuning_rules.h"

namespace tutti {

// Not those that are seldom called and whose best algorithm depends little on the machine: each one more makes the
// bootstrap longer, and the others' lines fewer.
bool is_priced(Collective collective);

// Every size of a collective that is priced is covered by a line for each of its algorithms; of the lines that fit a
// call the first is the best choice.
std::vector<TuningRule> table_of(const RouteTerms& terms, const MachineProfile& profile);

}  // namespace tutti
