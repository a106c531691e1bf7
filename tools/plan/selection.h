// Finds the rows and teams that a person names.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "algorithm.h"
#include "status.h"

namespace tutti {

// The rows of the registry for a collective and an algorithm, "" standing for all of them.  An unknown name is
// answered with the nearest one, or with those there are.
Result<std::vector<Algorithm>> select_algorithms(std::string_view collective, std::string_view algorithm);

struct RankRange {
  int first, last;
};

// "8" or "1-130".
Result<RankRange> parse_ranks(std::string_view text);

// "6" and "3,1,2": how many ranks, and how many on each host, dealt in blocks.  "" for either: as the other says; 4
// ranks on one host.
Result<Team> parse_team(std::string_view ranks, std::string_view hosts);

std::vector<Plan> plans_of_all_ranks(const Algorithm& algorithm, const Team& team, int root);

}  // namespace tutti
