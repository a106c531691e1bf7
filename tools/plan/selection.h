// What a person asked for, by name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "plan.h"
#include "status.h"

namespace tutti {

// The rows of the registry for a collective and an algorithm, "" standing for all of them.  An unknown name is answered with the
// nearest one, or with those there are.
Result<std::vector<Algorithm>> select_algorithms(std::string_view collective, std::string_view algorithm);

struct RankRange {
  int first, last;
};

// "8" or "1-130".
Result<RankRange> parse_ranks(std::string_view text);

std::vector<Plan> plans_of_all_ranks(const Algorithm& algorithm, const Team& team, int root);

}  // namespace tutti
