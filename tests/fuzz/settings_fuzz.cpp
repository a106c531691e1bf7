// The first byte picks a setting, the rest is its value: accepted, and then the same when it is loaded again, or
// refused by name.
#include <cstdint>
#include <string>

#include "fuzz_check.h"
#include "settings.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tutti;
  if (size == 0) return 0;
  const SettingRow& row = setting_rows()[data[0] % kSettings];
  if (row.name == "TUTTI_CONF_FILE") return 0;  // would open files of this machine
  const std::string name(row.name), value(reinterpret_cast<const char*>(data + 1), size - 1);
  std::vector<std::string> warnings;
  const auto settings = load_settings({{name, value}}, warnings);
  FUZZ_CHECK(warnings.empty());
  if (!settings.ok()) {
    FUZZ_CHECK(settings.status().message().starts_with(name + "="));
    return 0;
  }
  const auto again = load_settings({{name, settings->origins[data[0] % kSettings].text}}, warnings);
  FUZZ_CHECK(again.ok() && again->origins == settings->origins);
  return 0;
}
