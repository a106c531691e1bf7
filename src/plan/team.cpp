#include "team.h"

#include <algorithm>

namespace tutti {

int Team::hosts() const { return host.empty() ? 1 : *std::ranges::max_element(host) + 1; }

std::vector<std::vector<int>> Team::ranks_by_host() const {
  std::vector<std::vector<int>> members(static_cast<size_t>(hosts()));
  for (int rank = 0; rank < size; ++rank) members[static_cast<size_t>(host_of(rank))].push_back(rank);
  return members;
}

int Team::place_of(int rank) const {
  return order.empty() ? rank : static_cast<int>(std::ranges::find(order, rank) - order.begin());
}

}  // namespace tutti
