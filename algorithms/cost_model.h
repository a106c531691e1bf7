// What each algorithm costs the rank that it costs most, as formulas.  The tests hold the plans to them, and docs/algorithms.md
// is made from them.
#pragma once

#include <cstdint>
#include <string_view>

#include "plan.h"

namespace tutti {

struct Formula {
  std::string_view text;                              // of p ranks on h hosts, equally many on each, and n bytes
  uint64_t (*value)(uint64_t ranks, uint64_t hosts);  // for p ≥ 2; data in blocks
};

struct CostModel {
  std::string_view name;
  Collective collective;
  Formula rounds;    // messages that wait for each other
  Formula messages;  // sent or received, whichever is more
  Formula data;      // sent or received, whichever is more
  Formula reduced;   // data from peers that goes into reductions
  bool may_carry_codec;
};

// Does a rank combine some contributions to an element before the rest?  If none does, each element is reduced in one go, and so rounded once.
// A matter of the team, so all ranks answer alike, whichever part they play.
bool makes_partial_sums(Collective collective, std::string_view name, const Team& team);

// n bytes are the whole vector, or the blocks of all ranks; in all_to_all, the blocks that one rank sends.
const CostModel* cost_model(Collective collective, std::string_view name);

}  // namespace tutti
