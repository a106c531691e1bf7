// The command line of tutti-tune.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "workload.h"

namespace tutti::tune {

struct Options {
  std::vector<bench::Kind> kinds{bench::Kind::all_reduce};
  std::optional<int> ranks;  // to start, or to find under a launcher
  std::string transport;     // "": TUTTI_TRANSPORT
  uint64_t min_bytes = 4, max_bytes = 64 << 20, factor = 4;
  int rounds = 7;
  std::string output;  // the tuning file; "": none
  std::string json;    // "": none

  std::vector<uint64_t> sizes() const;
};

// Reads the command line; see bench::parse_command_line for the value and for who is `silent`.
std::optional<int> parse_options(int argc, char** argv, bool silent, Options& options);

}  // namespace tutti::tune
