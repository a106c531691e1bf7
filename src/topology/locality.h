// Where in its machine a rank runs, in a form that ranks exchange, and the team that follows from it.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "team.h"

namespace tutti {

// The parts of the machine that hold all hardware threads a rank may run on, by the system's numbers (caches and cores
// by that of their first hardware thread).  -1: it may run in several of them, or the system does not say.
struct Locality {
  int numa = -1, l3 = -1, core = -1, thread = -1;
  bool operator==(const Locality&) const = default;
};

// `cores`: a set as allowed_cores() gives it (cores.h).  Reads a few small files of a file system that begins at
// `root`: hwloc, which would look at the whole machine, takes milliseconds, and this is done at every bootstrap.
Locality locality_of(std::string_view cores, const std::string& root = "");

// "0 8 8 -", in the order above.  Unreadable text means unknown: places only order ranks, and all read the same text.
std::string encode(const Locality& locality);
Locality decode_locality(std::string_view text);

struct RankPlace {
  std::string_view host_id;
  Locality locality;
};

// Hosts are numbered as their first ranks come.  The order goes from host to host, within one from NUMA node to NUMA
// node, from cache to cache, from core to core, and from rank to rank; ranks that may run anywhere come first.
Team team_of(std::span<const RankPlace> ranks);

// "2 hosts: a (ranks 0, 2), b (ranks 1, 3); order 0, 2, 1, 3; ranks 0, 2 share an L3 cache".  `hosts`: names, by rank.
std::string describe(const Team& team, std::span<const std::string_view> hosts, std::span<const RankPlace> ranks);
// "NUMA node 0, L3 cache 0, core 3", or "" if nothing is known.
std::string describe(const Locality& locality);

}  // namespace tutti
