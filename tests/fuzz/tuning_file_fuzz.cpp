// Any text: a tuning file, such as rank 0 sends as its table, is read and written back the same, or refused.
#include <cstdint>
#include <string_view>

#include "fuzz_check.h"
#include "machine_profile.h"
#include "tuning_rules.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tutti;
  const auto file = parse_tuning_file({reinterpret_cast<const char*>(data), size}, "fuzz");
  if (!file.ok()) return 0;
  for (const TuningRule& rule : file->rules) {
    FUZZ_CHECK(rule.from < rule.to && rule.least_ranks <= rule.most_ranks && !rule.algorithm.empty());
    FUZZ_CHECK(rule.predicted_ns(rule.from) == rule.from_ns && (rule.from_ns == 0) == (rule.predicted_ns(rule.to) == 0));
    if (rule.to != UINT64_MAX) FUZZ_CHECK(rule.predicted_ns(rule.to) == rule.to_ns);
  }
  if (const auto profile = read_profile(file->machine); profile.ok())
    FUZZ_CHECK(profile_lines(*profile, measured_for(file->machine)).size() == file->machine.size());
  const std::string text = format_tuning_file(*file);
  if (text.size() > kLongestTuningFile) return 0;  // written out a rule may be longer than it was given
  const auto again = parse_tuning_file(text, "fuzz");
  FUZZ_CHECK(again.ok() && again->rules.size() == file->rules.size() && again->machine == file->machine && format_tuning_file(*again) == text);
  return 0;
}
