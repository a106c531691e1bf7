#include "topology_hwloc.h"

#include <hwloc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

namespace tutti {
namespace {

struct Destroy {
  void operator()(hwloc_topology_t topology) const { hwloc_topology_destroy(topology); }
};

int count_of(hwloc_topology_t machine, hwloc_obj_type_t type) { return std::max(1, hwloc_get_nbobjs_by_type(machine, type)); }

std::string info(hwloc_obj_t object, const char* name) {
  const char* text = object != nullptr ? hwloc_obj_get_info_by_name(object, name) : nullptr;
  return text != nullptr ? text : "";
}

std::string listed(hwloc_const_bitmap_t set) {
  char* text = nullptr;
  if (hwloc_bitmap_list_asprintf(&text, set) < 0) return "";
  const std::unique_ptr<char, decltype(&std::free)> owner(text, &std::free);
  return text;
}

}  // namespace

bool topology_by_hwloc(Topology& topology) {
  hwloc_topology_t loaded = nullptr;
  if (hwloc_topology_init(&loaded) != 0) return false;
  const std::unique_ptr<hwloc_topology, Destroy> owner(loaded);
  if (hwloc_topology_load(loaded) != 0) return false;

  topology.source = "hwloc " + info(hwloc_get_root_obj(loaded), "hwlocVersion");
  topology.packages = count_of(loaded, HWLOC_OBJ_PACKAGE);
  topology.numa_nodes = count_of(loaded, HWLOC_OBJ_NUMANODE);
  topology.cores = count_of(loaded, HWLOC_OBJ_CORE);
  topology.hardware_threads = topology.usable_threads = count_of(loaded, HWLOC_OBJ_PU);
  topology.l3_groups = count_of(loaded, HWLOC_OBJ_L3CACHE);
  for (hwloc_obj_t cache = nullptr; (cache = hwloc_get_next_obj_by_type(loaded, HWLOC_OBJ_L3CACHE, cache)) != nullptr;) {
    topology.l3_bytes = std::max<size_t>(topology.l3_bytes, cache->attr->cache.size);
    topology.l3_threads.push_back(listed(cache->cpuset));
  }
  topology.processor = info(hwloc_get_obj_by_type(loaded, HWLOC_OBJ_PACKAGE, 0), "CPUModel");
  return true;
}

}  // namespace tutti
