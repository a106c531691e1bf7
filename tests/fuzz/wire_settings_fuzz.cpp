// Any bytes in the place of rank 0's settings: taken over, and then encoded the same, or refused with nothing changed.
#include <cstdint>
#include <string_view>

#include "fuzz_check.h"
#include "settings.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tutti;
  const Settings before;
  Settings settings = before;
  std::vector<std::string> warnings;
  if (!apply_wire_settings({reinterpret_cast<const char*>(data), size}, settings, warnings).ok()) {
    FUZZ_CHECK(settings.origins == before.origins && settings.algorithm == before.algorithm && settings.lanes == before.lanes);
    return 0;
  }
  FUZZ_CHECK(settings.lanes >= 0 && settings.lanes <= 64 && settings.tcp_connections >= 1 && settings.tcp_connections <= 16);
  Settings again;
  FUZZ_CHECK(apply_wire_settings(encode_wire_settings(settings), again, warnings).ok());
  FUZZ_CHECK(encode_wire_settings(again) == encode_wire_settings(settings));
  return 0;
}
