// The grammar of the file that TUTTI_TUNING_FILE names and tutti-tune writes: what to do for which communicators and sizes.
//
//   tutti-tuning 1
//   # comment
//   all_reduce ranks=4 hosts=1 bytes=0-64K use=doubling
//   all_reduce ranks=2-8 bytes=1M- use=ring lanes=2 stripe=256K
//
// The first line names the format.  Of a line's rules each may be left out but `use`: then it holds for all.  The first line that
// fits a call decides.  bytes: of the call's whole data, from ≤ bytes < to.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "status.h"
#include "vocabulary.h"

namespace tutti {

struct TuningRule {
  Collective collective = Collective::all_reduce;
  int least_ranks = 1, most_ranks = INT32_MAX;
  int least_hosts = 1, most_hosts = INT32_MAX;
  uint64_t from = 0, to = UINT64_MAX;
  std::string algorithm;
  uint32_t lanes = 0;       // 0: as without a file
  size_t stripe_bytes = 0;  // of one block; likewise
  uint32_t line = 0;        // in the file, for messages

  bool matches(Collective call, int ranks, int hosts, uint64_t bytes) const {
    return collective == call && ranks >= least_ranks && ranks <= most_ranks && hosts >= least_hosts && hosts <= most_hosts &&
           bytes >= from && bytes < to;
  }
};

inline constexpr size_t kLongestTuningFile = 32 << 10;  // bytes; it travels to every rank at bootstrap

// The error names the line; `path` is what it calls the file.
Result<std::vector<TuningRule>> parse_tuning_file(std::string_view content, const std::string& path);

// Writes a file that parse_tuning_file reads back, line numbers apart.
std::string format_tuning_file(const std::vector<TuningRule>& rules);

}  // namespace tutti
