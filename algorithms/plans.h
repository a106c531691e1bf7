// The methods of every algorithm, one namespace per algorithm name.  The registry lists them.  Each plan function is
// pure and takes time proportional to the steps of its one rank, and to the ranks where the team has an order or
// hosts.
#pragma once

#include "algorithm.h"

namespace tutti {

// Ranks, and blocks that are counted like ranks, stand on a circle of `size`.  -size ≤ i.
inline int around(int i, int size) { return (i + size) % size; }
inline uint32_t block(int i, int size) { return static_cast<uint32_t>(around(i, size)); }
inline uint32_t blocks(int n) { return static_cast<uint32_t>(n); }

namespace ring {
extern const Method all_reduce, reduce_scatter, all_gather, broadcast, reduce, scan, exscan;
}

namespace tree {
extern const Method all_reduce, broadcast, reduce, gather, scatter, barrier;
}

namespace recursive {
extern const Method all_reduce, reduce_scatter, all_gather, broadcast, reduce;
}

namespace doubling {
extern const Method all_reduce, barrier, scan, exscan;
}

namespace direct {
extern const Method all_reduce, reduce_scatter, all_gather, broadcast, reduce, gather, scatter, all_to_all, scan, exscan;
}

namespace exchange {
extern const Method all_reduce;
}

namespace hierarchical {
extern const Method all_reduce, reduce_scatter, all_gather, broadcast, reduce;
}

}  // namespace tutti
