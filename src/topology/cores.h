// Which cores a rank may run on, in a form that ranks exchange, and the share of each rank where several use the same
// cores.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace tutti {

// The set of hardware threads that the calling thread may run on: a hexadecimal digit for every four, lowest first: "3"
// is {0, 1},
// "01" is {4}.  "" if the system does not say.
std::string allowed_cores();

uint32_t count_cores(std::string_view set);
bool share_a_core(std::string_view a, std::string_view b);

struct CoreShare {
  uint32_t cores = 1;    // that this rank may use at once, alone; at least 1
  bool crowded = false;  // there are fewer than the ranks that share them
};

// `mine`: this rank's set; `all`: those of all ranks of the host, this one's included.  `quota`: processors' worth of
// time that the control group grants, 0 for no limit.
CoreShare core_share(std::string_view mine, std::span<const std::string> all, double quota);

}  // namespace tutti
