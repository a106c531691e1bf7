// The machine in a dozen numbers, equal on all ranks: measured at bootstrap (probe.h), read from a cache file, or
// standard.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "simulator.h"
#include "status.h"
#include "team.h"

namespace tutti {

struct MachineProfile {
  LinkCost intra_host, inter_host;            // `streams` is the communicator's to say
  double call_s = 0;                          // of the processor, once for each call that uses plans
  double reduce_byte_s = 0, copy_byte_s = 0;  // data of the caller's that lies in no core's own cache
  double switch_s = 0;                        // when a core turns to another rank
  double cores = 1;                           // of a host
  double neighbours = 1;                      // hosts that share one machine's cores: containers, network namespaces

  // The cost of a byte in calls of these sizes by its cost in calls of 1 MiB.  It differs by cold caches and page
  // tables, output that bypasses caches, and buffers of the kernel.  It scales the bytes of streams; of memory,
  // copies and reductions.
  static constexpr std::array<uint64_t, 4> kSizes{4 << 10, 64 << 10, 1 << 20, 4 << 20};
  static constexpr size_t kUnit = 2;  // of kSizes
  using Scale = std::array<double, kSizes.size()>;
  Scale intra_host_scale{1, 1, 1, 1}, inter_host_scale{1, 1, 1, 1};

  // Typical of today's machines, where nothing was measured.
  static MachineProfile standard(bool intra_host_streams);

  bool operator==(const MachineProfile&) const = default;
};

// The profile's lines in a tuning file (tuning_rules.h): for whom it was measured, then "name value" for each number.
std::vector<std::string> profile_lines(const MachineProfile& profile, std::string_view measured_for);
std::string_view measured_for(const std::vector<std::string>& lines);  // "": nothing says so
// Every name once, every value finite and possible.  `streams` of both links is the communicator's to say.
Result<MachineProfile> read_profile(const std::vector<std::string>& lines);

// "intra-host latency 0.20 µs, a message …": one line for a log, without inter-host links where there are none.
std::string describe(const MachineProfile& profile, bool several_hosts);

// Between the sizes in proportion to their logarithms; beyond them, as at the nearest.
double scale_at(const MachineProfile::Scale& scale, uint64_t bytes);

// For the simulator: as a call of `team` of so many bytes finds the machine.
Machine machine_for(const MachineProfile& profile, const Team& team,
                    uint64_t bytes = MachineProfile::kSizes[MachineProfile::kUnit]);

}  // namespace tutti
