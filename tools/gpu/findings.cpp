#include "findings.h"

#include <cstdio>
#include <fstream>

namespace tutti::gpu {

void Findings::number(const std::string& fact, double value, const std::string& unit, const std::string& note) {
  std::printf("  %-44s %12.6g %-6s %s\n", fact.c_str(), value, unit.c_str(), note.c_str());
  std::fflush(stdout);
  nlohmann::ordered_json row{{"fact", fact}, {"value", value}, {"unit", unit}};
  if (!note.empty()) row["note"] = note;
  facts_.push_back(std::move(row));
}

void Findings::text(const std::string& fact, const std::string& value) {
  std::printf("  %-44s %s\n", fact.c_str(), value.c_str());
  std::fflush(stdout);
  facts_.push_back({{"fact", fact}, {"value", value}});
}

void Findings::failed(const std::string& fact, const std::string& why) {
  ++failures_;
  std::printf("  %-44s FAILED: %s\n", fact.c_str(), why.c_str());
  std::fflush(stdout);
  facts_.push_back({{"fact", fact}, {"error", why}});
}

void Findings::write(const std::string& path) const { std::ofstream(path) << facts_.dump(1) << '\n'; }

}  // namespace tutti::gpu
