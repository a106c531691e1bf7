// The table of docs/algorithms.md: the formulas, and beside them what the plans of some numbers of ranks
// really do.
#pragma once

#include <string>

#include "checker.h"
#include "algorithm.h"
#include "status.h"

namespace tutti {

// Markdown.
Result<std::string> cost_table();

// "1.5n": bytes in units of what the collective calls n.
std::string in_n(uint64_t blocks, const Algorithm& algorithm, const Team& team);

// `document` with the lines between its two marks replaced by the table.
Result<std::string> with_table(const std::string& document, const std::string& table);

}  // namespace tutti
