#include "findings.h"

#include <cstdio>

namespace tutti::gpu {

void Findings::number(const std::string& fact, double value, const std::string& unit, const std::string& note) {
  std::printf("  %-44s %12.6g %-6s %s\n", fact.c_str(), value, unit.c_str(), note.c_str());
  nlohmann::ordered_json row{{"fact", fact}, {"value", value}, {"unit", unit}};
  if (!note.empty()) row["note"] = note;
  write(row);
}

void Findings::text(const std::string& fact, const std::string& value) {
  std::printf("  %-44s %s\n", fact.c_str(), value.c_str());
  write({{"fact", fact}, {"value", value}});
}

void Findings::failed(const std::string& fact, const std::string& why) {
  ++failures_;
  std::printf("  %-44s FAILED: %s\n", fact.c_str(), why.c_str());
  write({{"fact", fact}, {"error", why}});
}

void Findings::planned(const std::vector<std::string>& ways) { write({{"planned", ways}}); }

void Findings::done(const std::string& way) { write({{"done", way}}); }

void Findings::write(const nlohmann::ordered_json& row) {
  file_ << row.dump() << std::endl;  // whoever is killed leaves all that it has printed
  if (!file_) ++failures_;
  std::fflush(stdout);
}

}  // namespace tutti::gpu
