// Any text: rules are read and written back the same, or refused.
#include <cstdint>
#include <string_view>

#include "algorithm_rules.h"
#include "fuzz_check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tutti;
  const auto rules = parse_algorithm_rules({reinterpret_cast<const char*>(data), size});
  if (!rules.ok()) return 0;
  for (const AlgorithmRule& rule : *rules) FUZZ_CHECK(rule.from < rule.to && !rule.name.empty());
  const auto again = parse_algorithm_rules(format_algorithm_rules(*rules));
  FUZZ_CHECK(again.ok() && *again == *rules);
  return 0;
}
