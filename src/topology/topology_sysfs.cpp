// The little that Linux itself reports, for builds without hwloc.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "byte_units.h"
#include "topology.h"
#include "words.h"

namespace tutti {
namespace {

namespace fs = std::filesystem;

std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The entries of `folder` that are called `prefix` and a number.
std::vector<fs::path> numbered(const fs::path& folder, std::string_view prefix) {
  std::vector<fs::path> found;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(folder, none)) {
    const std::string name = entry.path().filename();
    if (name.starts_with(prefix) && parse_number(std::string_view(name).substr(prefix.size()))) found.push_back(entry.path());
  }
  return found;
}

std::string processor_model(const std::string& root) {
  std::ifstream file(root + "/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return std::string(trim(line.substr(std::min(line.find(':') + 1, line.size()))));
  return "";
}

int count_or_one(size_t n) { return n > 0 ? static_cast<int>(n) : 1; }

}  // namespace

Topology topology_by_sysfs(const std::string& root) {
  Topology topology;
  topology.source = "sysfs";
  topology.processor = processor_model(root);
  const auto processors = numbered(root + "/sys/devices/system/cpu", "cpu");
  std::set<std::string> packages, caches;
  std::set<std::pair<std::string, std::string>> cores;  // numbered within their package
  for (const fs::path& processor : processors) {
    const std::string package = first_line(processor / "topology/physical_package_id");
    const std::string core = first_line(processor / "topology/core_id");
    const std::string cache = first_line(processor / "cache/index3/shared_cpu_list");
    if (!package.empty()) packages.insert(package);
    if (!core.empty()) cores.emplace(package, core);
    if (!cache.empty()) caches.insert(cache);
    if (const auto bytes = parse_bytes(first_line(processor / "cache/index3/size")); bytes.ok())
      topology.l3_bytes = std::max<size_t>(topology.l3_bytes, *bytes);
  }
  topology.hardware_threads = topology.usable_threads = count_or_one(processors.size());
  topology.packages = count_or_one(packages.size());
  topology.cores = cores.empty() ? topology.hardware_threads : count_or_one(cores.size());
  topology.l3_groups = count_or_one(caches.size());
  topology.l3_threads.assign(caches.begin(), caches.end());
  topology.numa_nodes = count_or_one(numbered(root + "/sys/devices/system/node", "node").size());
  return topology;
}

}  // namespace tutti
