// Topology by hwloc, the portable hardware locality library.
#pragma once

#include "topology.h"

namespace tutti {

// False if hwloc was not built in or found nothing.
bool topology_by_hwloc(Topology& topology);

}  // namespace tutti
