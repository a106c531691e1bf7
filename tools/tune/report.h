// The output of tutti-tune.
#pragma once

#include <string>
#include <vector>

#include "contest.h"
#include "tuning_rules.h"

namespace tutti::tune {

void print_header(bench::Kind kind, int ranks, const std::string& transports);
void print_row(const Contest& contest);
void print_summary(const std::vector<Contest>& contests);

// Neighbouring sizes with the same winner become one rule; an algorithm keeps its place while it is no more than
// `kClose` behind.
inline constexpr double kClose = 1.03;
std::vector<TuningRule> rules_of(const std::vector<Contest>& contests, int hosts);

std::string as_json(const std::vector<Contest>& contests, int hosts, const std::string& transports);

}  // namespace tutti::tune
