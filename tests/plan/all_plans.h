// Helpers that the tests of plans share.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "algorithms.h"
#include "spaces.h"

namespace tutti {

inline std::vector<Plan> plans_of(const Algorithm& algorithm, const Team& team, int root) {
  std::vector<Plan> plans;
  for (int rank = 0; rank < team.size; ++rank) plans.push_back(algorithm.plan(rank, team, root));
  return plans;
}

// "all_reduce_ring", also the name of a test's parameter.
inline std::string label(const Algorithm& algorithm) {
  return std::string(name(algorithm.collective)) + "_" + std::string(algorithm.name);
}

inline void PrintTo(const Algorithm& algorithm, std::ostream* out) { *out << label(algorithm); }

inline const Algorithm& algorithm_of(Collective collective, std::string_view name) {
  return algorithms()[find_algorithm(collective, name).value()];
}

// Every root of up to 33 ranks, and some of more: proofs of all of them take a quarter of a minute (tutti-plan check
// does that).
inline std::vector<int> roots_of(const Algorithm& algorithm, int size) {
  if (!has_root(algorithm.collective)) return {0};
  if (size > 33) return {0, 1, size / 3, size - 1};
  std::vector<int> roots;
  for (int root = 0; root < size; ++root) roots.push_back(root);
  return roots;
}

}  // namespace tutti
