// Any text: a codec is read and described so that the same one is read again, or refused.
#include <cstdint>
#include <string_view>

#include "fuzz_check.h"
#include "spec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tutti;
  const auto spec = parse_codec({reinterpret_cast<const char*>(data), size});
  if (!spec.ok()) {
    FUZZ_CHECK(!spec.status().message().empty());
    return 0;
  }
  FUZZ_CHECK(check(*spec).ok());
  const auto again = parse_codec(describe(*spec));
  FUZZ_CHECK(again.ok() && *again == *spec);
  return 0;
}
