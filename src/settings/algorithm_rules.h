// The grammar of TUTTI_ALGORITHM: which algorithms may serve which collective at which size.
//
//   rules = rule {"," rule}      rule = [collective ":"] ["^"] name ["@" from "-" [to]]
//
// "ring"   "^tree"   "recursive@0-64K,ring@64K-"   "all_reduce:direct"
// Sizes are bytes of the call's data, from ≤ bytes < to.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "status.h"
#include "vocabulary.h"

namespace tutti {

struct AlgorithmRule {
  std::optional<Collective> collective;  // none: every collective that has the algorithm
  bool exclude = false;
  std::string name;  // "ring", "tree", "recursive", "doubling", "direct", "exchange", "hierarchical", "flat"
  uint64_t from = 0, to = UINT64_MAX;

  bool matches(Collective call, uint64_t bytes) const {
    return (!collective || *collective == call) && bytes >= from && bytes < to;
  }
  bool operator==(const AlgorithmRule&) const = default;
};

// "flat" is the small-message path inside a host.
inline constexpr std::string_view kAlgorithmNames[] = {"ring",   "tree",     "recursive",    "doubling",
                                                       "direct", "exchange", "hierarchical", "flat"};

// The error says which rule is wrong and suggests the nearest word.
Result<std::vector<AlgorithmRule>> parse_algorithm_rules(std::string_view text);

// Writes rules so that parse_algorithm_rules reads the same ones back.
std::string format_algorithm_rules(const std::vector<AlgorithmRule>& rules);

}  // namespace tutti
