// The plan functions of every family, one namespace per algorithm name.  The registry lists them; each is pure and takes time
// proportional to the steps of its one rank, and to the ranks where the team has an order or hosts.
#pragma once

#include "plan.h"

namespace tutti {

// Ranks, and blocks that are counted like ranks, stand on a circle of `size`.  -size ≤ i.
inline int around(int i, int size) { return (i + size) % size; }
inline uint32_t block(int i, int size) { return static_cast<uint32_t>(around(i, size)); }
inline uint32_t blocks(int n) { return static_cast<uint32_t>(n); }

namespace ring {
Plan all_reduce(int rank, const Team& team, int root);
Plan reduce_scatter(int rank, const Team& team, int root);
Plan all_gather(int rank, const Team& team, int root);
Plan broadcast(int rank, const Team& team, int root);
Plan reduce(int rank, const Team& team, int root);
}  // namespace ring

namespace tree {
Plan all_reduce(int rank, const Team& team, int root);
Plan broadcast(int rank, const Team& team, int root);
Plan reduce(int rank, const Team& team, int root);
Plan gather(int rank, const Team& team, int root);
Plan scatter(int rank, const Team& team, int root);
Plan barrier(int rank, const Team& team, int root);
}  // namespace tree

namespace recursive {
Plan all_reduce(int rank, const Team& team, int root);
Plan reduce_scatter(int rank, const Team& team, int root);
Plan all_gather(int rank, const Team& team, int root);
Plan broadcast(int rank, const Team& team, int root);
Plan reduce(int rank, const Team& team, int root);
}  // namespace recursive

namespace doubling {
Plan all_reduce(int rank, const Team& team, int root);
Plan barrier(int rank, const Team& team, int root);
}  // namespace doubling

namespace direct {
Plan all_reduce(int rank, const Team& team, int root);
Plan reduce_scatter(int rank, const Team& team, int root);
Plan all_gather(int rank, const Team& team, int root);
Plan broadcast(int rank, const Team& team, int root);
Plan reduce(int rank, const Team& team, int root);
Plan gather(int rank, const Team& team, int root);
Plan scatter(int rank, const Team& team, int root);
Plan all_to_all(int rank, const Team& team, int root);
}  // namespace direct

namespace hierarchical {
Plan all_reduce(int rank, const Team& team, int root);
Plan reduce_scatter(int rank, const Team& team, int root);
Plan all_gather(int rank, const Team& team, int root);
Plan broadcast(int rank, const Team& team, int root);
Plan reduce(int rank, const Team& team, int root);
}  // namespace hierarchical

}  // namespace tutti
