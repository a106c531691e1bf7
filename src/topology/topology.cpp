#include "topology.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <sstream>

#include "byte_units.h"
#include "host_identity.h"
#include "owned_fd.h"
#include "resource_limits.h"
#include "topology_hwloc.h"
#include "words.h"

namespace tutti {
namespace {

std::string counted(int n, const std::string& what) { return std::to_string(n) + " " + what + (n == 1 ? "" : "s"); }

std::string decimal(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

int threads_this_process_may_use() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));  // more than CPU_SETSIZE processors
}

// "50000 100000" of version 2; two files in version 1.  0: no limit.
double quota_in(const std::string& folder) {
  double microseconds = 0, period = 0;
  std::ifstream v2(folder + "/cpu.max");  // "max 100000" where there is no limit: no number, nothing read
  if (v2 >> microseconds >> period && microseconds > 0 && period > 0) return microseconds / period;
  std::ifstream v1_quota(folder + "/cpu.cfs_quota_us"), v1_period(folder + "/cpu.cfs_period_us");
  if (v1_quota >> microseconds && v1_period >> period && microseconds > 0 && period > 0) return microseconds / period;
  return 0;
}

}  // namespace

std::string Topology::summary() const {
  std::string text = counted(packages, "package") + ", " + counted(cores, "core") + ", " + counted(l3_groups, "L3 cache");
  if (l3_bytes > 0) text += " of " + describe_bytes(l3_bytes);
  text += ", " + counted(numa_nodes, "NUMA node") + "; " + std::to_string(usable_threads) + " of " +
          counted(hardware_threads, "hardware thread") + " usable";
  if (cpu_quota > 0) text += ", CPU quota " + decimal(cpu_quota);
  return text;
}

// Groups nest, and each of them may limit: the least quota on the way up counts.
double cpu_quota(const std::string& root) {
  double least = 0;
  std::ifstream membership(root + "/proc/self/cgroup");  // lines "number:controllers:path"
  for (std::string line; std::getline(membership, line);) {
    const auto parts = split(line, ':');
    if (parts.size() < 3) continue;
    const bool v2 = parts[1].empty();
    const std::string mount = root + "/sys/fs/cgroup" + (v2 ? "" : "/" + std::string(parts[1]));
    if (!v2 && parts[1].find("cpu") == std::string_view::npos) continue;
    for (std::string path(parts[2]);;) {
      const double quota = quota_in(mount + path);
      if (quota > 0 && (least == 0 || quota < least)) least = quota;
      const size_t slash = path.rfind('/');
      if (path.size() <= 1 || slash == std::string::npos) break;
      path.resize(slash);
    }
  }
  return least;
}

Topology discover_topology() {
  Topology topology;
  if (!topology_by_hwloc(topology)) topology = topology_by_sysfs("");
  topology.usable_threads = threads_this_process_may_use();
  topology.cpu_quota = cpu_quota("");
  return topology;
}

Status dump_topology(const Topology& topology, const std::string& path) {
  std::ostringstream text;
  text << "host: " << host_name() << "\nsource: " << topology.source << "\nprocessor: " << topology.processor
       << "\npackages: " << topology.packages << "\nNUMA nodes: " << topology.numa_nodes << "\ncores: " << topology.cores
       << "\nhardware threads: " << topology.hardware_threads << "\nusable hardware threads: " << topology.usable_threads
       << "\nCPU quota: " << (topology.cpu_quota > 0 ? decimal(topology.cpu_quota) : "none") << "\nL3 cache: " << topology.l3_groups
       << " of " << topology.l3_bytes << " bytes\n";
  for (size_t i = 0; i < topology.l3_threads.size(); ++i)
    text << "L3 cache " << i << ": hardware threads " << topology.l3_threads[i] << "\n";
  const std::string content = text.str();
  if (Status fits = within_file_size_limit(content.size(), "writing the topology to " + in_quotes(path)); !fits.ok()) return fits;
  const OwnedFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file || ::write(file.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size()))
    return system_error("writing the topology to " + in_quotes(path));
  return {};
}

}  // namespace tutti
