// Any bytes as a settings file: every entry names its line, or the file is refused with one.
#include <cstdint>
#include <string_view>

#include "fuzz_check.h"
#include "settings.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tutti;
  const auto settings = parse_settings_file({reinterpret_cast<const char*>(data), size}, "file");
  if (!settings.ok()) {
    FUZZ_CHECK(settings.status().message().starts_with("file:"));
    return 0;
  }
  for (const auto& [name, setting] : *settings) {
    FUZZ_CHECK(setting.source.starts_with("file:"));
    FUZZ_CHECK(setting.text.find('\n') == std::string::npos);
  }
  return 0;
}
