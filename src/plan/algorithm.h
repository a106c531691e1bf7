// An algorithm for one collective: the function that makes its plans, and what is known of them.
#pragma once

#include <cstdint>
#include <string_view>

#include "plan.h"
#include "vocabulary.h"

namespace tutti {

struct Formula {
  std::string_view text;                              // of p ranks on h hosts, equally many on each, and n bytes
  uint64_t (*value)(uint64_t ranks, uint64_t hosts);  // for p ≥ 2; data in blocks
};

// The costs of the rank that pays most, as formulas.  n bytes are the whole vector, or the blocks of all ranks; in
// all_to_all, the blocks that one rank sends.  The tests hold the plans to them, and docs/algorithms.md is made from
// them.
struct CostModel {
  Formula rounds;    // messages that wait for each other
  Formula messages;  // sent or received, whichever is more
  Formula data;      // sent or received, whichever is more
  Formula reduced;   // data from peers that goes into reductions
};

// Stands beside the plan function in the file of the algorithm.
struct Method {
  Plan (*plan)(int rank, const Team& team, int root);
  CostModel cost;
  std::string_view source;  // the paper or book it comes from
  // A rank combines some contributions to an element before the rest.  If none does, each element is reduced in one
  // go, and so rounded once.  A matter of the team, so all ranks answer alike, whichever part they play.  Null:
  // never.
  bool (*makes_partial_sums)(const Team& team) = nullptr;
  // Each rank encodes a block at most once, and each partial sum has one consumer.  Declared, since the proof needs
  // the plans of all ranks and is no part of the library; the tests prove it.
  bool may_carry_codec = true;
  bool needs_hosts = false;  // on one host it does what another algorithm does, at greater length
};

// One row of the registry (algorithms/registry.cpp).
struct Algorithm : Method {
  std::string_view name;  // "ring", "tree", …
  Collective collective;
  std::string_view summary;  // one line: what it is good for
};

}  // namespace tutti
