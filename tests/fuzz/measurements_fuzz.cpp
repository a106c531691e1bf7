// Any bytes in the place of a rank's measurements: they are finite and possible and written back the same, or
// refused; and what is possible can be concluded from.
#include <cstdint>
#include <string_view>

#include "fuzz_check.h"
#include "measurements.h"
#include "pool_shape.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tutti;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto measurements = decode_measurements(bytes);
  if (!measurements.ok()) {
    FUZZ_CHECK(!measurements.status().message().empty());
    return 0;
  }
  FUZZ_CHECK(encode_measurements(*measurements) == bytes);
  for (const double value :
       {measurements->intra_host.ring, measurements->inter_host.rings[0], measurements->copy_byte_s, measurements->cores})
    FUZZ_CHECK(value >= 0 && value <= 1e6);
  if (data[0] % 64 != 0) return 0;  // concluding takes a hundred times as long as reading
  RouteTerms terms;
  terms.size = 2;
  terms.team = Team(2);
  terms.slot_bytes = pool_shape(2, 2, 0, 0).slot_bytes;
  const MachineProfile profile = conclude({*measurements, Measurements()}, terms, data[0] == 0);
  FUZZ_CHECK(profile.cores >= 1 && profile.call_s >= 0 && profile.intra_host.latency_s >= 0 && profile.neighbours >= 1);
  for (const double scale : profile.intra_host_scale) FUZZ_CHECK(scale >= 0 && scale <= 64);
  return 0;
}
