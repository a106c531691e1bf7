// Any text: a tuning file is read and written back the same, or refused.
#include <cstdint>
#include <string_view>

#include "fuzz_check.h"
#include "tuning_rules.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tutti;
  const auto rules = parse_tuning_file({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!rules.ok()) return 0;
  for (const TuningRule& rule : *rules)
    FUZZ_CHECK(rule.from < rule.to && rule.least_ranks <= rule.most_ranks && !rule.algorithm.empty());
  const std::string text = format_tuning_file(*rules);
  if (text.size() > kLongestTuningFile) return 0;  // written out a rule may be longer than it was given
  const auto again = parse_tuning_file(text, "fuzz");
  FUZZ_CHECK(again.ok() && again->size() == rules->size() && format_tuning_file(*again) == text);
  return 0;
}
