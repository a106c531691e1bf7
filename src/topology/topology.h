// The parts of this machine that matter to communication: shared caches, memory controllers and sockets.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "status.h"

namespace tutti {

struct Topology {
  std::string source;     // "hwloc 2.9.0" or "sysfs"
  std::string processor;  // the model's name; "" if unknown
  int packages = 1;
  int numa_nodes = 1;
  int cores = 1;
  int hardware_threads = 1;
  int l3_groups = 1;                    // cores that share a last-level cache
  size_t l3_bytes = 0;                  // of one such cache; 0: unknown
  std::vector<std::string> l3_threads;  // for each group its hardware threads, "0-3,8"
  int usable_threads = 1;               // those this process may run on
  double cpu_quota = 0;                 // processors' worth of time that the control group grants; 0: no limit

  // "1 package, 2 cores, 1 L3 cache of 32 MiB, 1 NUMA node; 2 of 2 hardware threads usable"
  std::string summary() const;
};

// By hwloc where it was built in, else by sysfs.  Takes milliseconds; never fails, but may know little.
Topology discover_topology();

// Writes "name: value" lines for TUTTI_TOPOLOGY_DUMP.
Status dump_topology(const Topology& topology, const std::string& path);

// The parts, over a file system that begins at `root` ("" for the real one).
Topology topology_by_sysfs(const std::string& root);
double cpu_quota(const std::string& root);

}  // namespace tutti
