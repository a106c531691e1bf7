// The measurements of this machine (probe.h), and the profile that follows from them.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "machine_profile.h"
#include "route_terms.h"
#include "status.h"

namespace tutti {

// Seconds, of one class of links.  Zero: not measured here.
struct LinkTimes {
  double doubling = 0, ring = 0, broadcast_large = 0;
  std::array<double, MachineProfile::kSizes.size()> rings{};  // of so many bytes
  // Inter-host: of the processor for each byte sent or received, seen in the ring of 1 MiB.
  double processor_byte_s = 0;
};

// One rank's measurements.
struct Measurements {
  LinkTimes intra_host, inter_host;
  double copy_byte_s = 0, reduce_byte_s = 0;  // by this rank's processor alone, from far memory to near
  double cores = 0;
  uint64_t machine = 0;  // which kernel runs here; network namespaces and most containers share their host's
};
std::string encode_measurements(const Measurements& measurements);
// Anything a peer may have sent; values are finite and possible.
Result<Measurements> decode_measurements(std::string_view bytes);

// The profile that follows from the measurements of all ranks.
MachineProfile conclude(const std::vector<Measurements>& all, const RouteTerms& terms, bool intra_host_streams);

}  // namespace tutti
