// The ranks that take part in a collective, and which of them are near each other: all that an algorithm knows of the
// world.  Equal on all ranks.
#pragma once

#include <cstddef>
#include <vector>

namespace tutti {

struct Team {
  // All on one host, in order.
  Team(int ranks = 1) : size(ranks) {}  // NOLINT: implicit, so that plan(rank, 5, 0) reads well

  int size;
  std::vector<int> host;   // by rank: 0, 1, … in the order of the hosts' first ranks; empty: all on one host
  // The ranks as rings and trees should line them up, neighbours near each other; empty: 0, 1, 2, …
  std::vector<int> order;

  int hosts() const;
  int host_of(int rank) const { return host.empty() ? 0 : host[static_cast<size_t>(rank)]; }
  std::vector<std::vector<int>> ranks_by_host() const;  // each ascending

  int place_of(int rank) const;  // in `order`
  int at(int place) const {      // the rank there; places stand on a circle, -size ≤ place
    const int around = (place + size) % size;
    return order.empty() ? around : order[static_cast<size_t>(around)];
  }
};

}  // namespace tutti
