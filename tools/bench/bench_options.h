// The options of tutti-bench.  The letters are those of nccl-tests.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench_types.h"
#include "workload.h"

namespace tutti::bench {

// How one time is made of every rank's; the numbers are those of nccl-tests' -a.
enum class Across : int { rank0 = 0, average = 1, minimum = 2, maximum = 3 };

// How calls on devices are made: each waited for; or all that are measured together put on a stream, or in a graph that
// is launched there, and waited for once.
enum class Launch { blocking, stream, graph };
std::string_view name(Launch launch);

struct Options {
  Kind kind = Kind::all_reduce;
  std::optional<int> ranks;  // to start, or to find under a launcher
  bool binds = true;         // the ranks that it starts, each to cores of its own
  bool threads = false;      // these are threads of one process
  std::string transport;     // "": TUTTI_TRANSPORT
  std::string algorithm;     // "": TUTTI_ALGORITHM, else Tutti's choice; a rule as of TUTTI_ALGORITHM; "all"
  std::string codec;         // "": elements travel as they are
  uint64_t min_bytes = 4;
  uint64_t max_bytes = 64 << 20;
  uint64_t step_bytes = 0;  // 0: sizes grow by factor
  uint64_t factor = 4;
  std::optional<int> iterations;  // none: as many as fit the time each size is given
  int warmup = 5;
  int check = 1;  // how many of the last iterations of each size are checked, element by element
  std::vector<tutti_dtype> types{TUTTI_FLOAT32};
  std::vector<tutti_op> ops{TUTTI_SUM};
  std::optional<int> root = 0;  // none: every rank in turn
  Across across = Across::maximum;
  std::string json;           // path; "": none
  uint64_t rotate_bytes = 0;  // per rank; 0: enough to leave the caches
  bool huge_pages = false;    // for the buffers
  bool on_device = false;     // the buffers
  std::vector<int> devices;   // of the ranks of a host, in turn; empty: all
  Launch launch = Launch::blocking;
  bool osu = false;

  bool sweeps() const { return algorithm == "all"; }
  std::vector<uint64_t> sizes() const;  // requested bytes, ascending
};

// Reads the command line; see parse_command_line for the value and for who is `silent`.
std::optional<int> parse_options(int argc, char** argv, bool silent, Options& options);

}  // namespace tutti::bench
