#include "spaces.h"

namespace tutti {

bool has_input(Collective collective, int rank, int size, int root, uint32_t block) {
  switch (collective) {
    case Collective::all_reduce:
    case Collective::reduce_scatter:
    case Collective::reduce:
    case Collective::barrier: return true;
    case Collective::all_gather:
    case Collective::gather: return block == static_cast<uint32_t>(rank);
    case Collective::broadcast:
    case Collective::scatter: return rank == root;
    case Collective::all_to_all: return block / static_cast<uint32_t>(size) == static_cast<uint32_t>(rank);
    case Collective::point_to_point: return true;  // each message is a block of its own, known to its two ends only
  }
  return false;
}

bool has_output(Collective collective, int rank, int size, int root, uint32_t block) {
  switch (collective) {
    case Collective::all_reduce:
    case Collective::all_gather:
    case Collective::broadcast:
    case Collective::barrier: return true;
    case Collective::reduce_scatter:
    case Collective::scatter: return block == static_cast<uint32_t>(rank);
    case Collective::reduce:
    case Collective::gather: return rank == root;
    case Collective::all_to_all: return block % static_cast<uint32_t>(size) == static_cast<uint32_t>(rank);
    case Collective::point_to_point: return true;  // each message is a block of its own, known to its two ends only
  }
  return false;
}

bool contributes(Collective collective, int rank, int size, int root, uint32_t block) {
  return has_input(collective, rank, size, root, block);
}

bool is_reduction(Collective collective) {
  switch (collective) {
    case Collective::all_reduce:
    case Collective::reduce_scatter:
    case Collective::reduce:
    case Collective::barrier: return true;
    default: return false;
  }
}

bool has_root(Collective collective) {
  switch (collective) {
    case Collective::broadcast:
    case Collective::reduce:
    case Collective::gather:
    case Collective::scatter: return true;
    default: return false;
  }
}

}  // namespace tutti
