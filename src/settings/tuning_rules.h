// The grammar of a tuning file: which algorithm serves which communicators and sizes.  tutti-tune writes it,
// TUTTI_TUNING_FILE names one, rank 0 sends the table of predictions to the other ranks in it, and TUTTI_TUNING_CACHE
// keeps that table.
//
//   tutti-tuning 1
//   # comment
//   all_reduce ranks=4 hosts=1 bytes=0-64K use=doubling
//   all_reduce ranks=2-8 bytes=1M- use=ring lanes=2 stripe=256K
//   machine intra_host.latency 2e-07
//   broadcast bytes=64K-1M use=tree ns=20500-310000 bound=link
//
// The first line names the format.  Every key but `use` may be left out: then the line holds for all.  The first line
// that fits a call decides.
//   bytes    of the call's whole data, from ≤ bytes < to
//   ns       predicted nanoseconds: of calls at either end of `bytes`, or at its beginning if it has no end
//   bound    which part of the machine takes most of that time
//   device   flagged or stamped: the line is of calls that a device's kernels carry out, and their protocol; lines
//            without it are of calls on the host's memory
//   machine  a number that the predictions follow from (src/tuning/machine_profile.h)
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "status.h"
#include "vocabulary.h"

namespace tutti {

enum class DeviceProtocol : uint8_t { flagged, stamped };

struct TuningRule {
  Collective collective = Collective::all_reduce;
  int least_ranks = 1, most_ranks = INT32_MAX;
  int least_hosts = 1, most_hosts = INT32_MAX;
  uint64_t from = 0, to = UINT64_MAX;
  std::string algorithm;
  uint32_t lanes = 0;       // 0: as without a file
  size_t stripe_bytes = 0;  // of one block; likewise
  uint64_t from_ns = 0, to_ns = 0;  // predicted, at either end; 0: nothing is
  std::string bound;                // one of kBounds, or ""
  std::optional<DeviceProtocol> device;
  uint32_t line = 0;                // in the file, for messages

  bool matches(Collective call, uint64_t bytes) const {
    return collective == call && bytes >= from && (bytes < to || to == UINT64_MAX);
  }
  bool matches(Collective call, int ranks, int hosts, uint64_t bytes) const {
    return matches(call, bytes) && ranks >= least_ranks && ranks <= most_ranks && hosts >= least_hosts && hosts <= most_hosts;
  }
  // In between in proportion, and beyond the beginning of a range without an end likewise.  In whole numbers, so that
  // all ranks agree.
  uint64_t predicted_ns(uint64_t bytes) const;
};

struct TuningFile {
  std::vector<TuningRule> rules;
  std::vector<std::string> machine;  // what follows the word in its lines
};

// How messages of a device's kernels travel (src/cuda/device_call.h).
inline constexpr std::string_view kDeviceProtocols[] = {"flagged", "stamped"};  // in the order of DeviceProtocol

inline constexpr std::string_view kBounds[] = {"processor", "latency", "link", "interface", "memory"};

inline constexpr size_t kLongestTuningFile = 32 << 10;  // bytes; it travels to every rank at bootstrap

// The error names the line; `path` is what it calls the file.
Result<TuningFile> parse_tuning_file(std::string_view content, const std::string& path);

// Writes a file that parse_tuning_file reads back, line numbers apart.
std::string format_tuning_file(const TuningFile& file);

}  // namespace tutti
