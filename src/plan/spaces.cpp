#include "spaces.h"

namespace tutti {

bool has_input(Collective collective, int rank, int size, int root, uint32_t block) {
  switch (collective) {
    case Collective::all_reduce:
    case Collective::reduce_scatter:
    case Collective::reduce:
    case Collective::scan:
    case Collective::exscan:
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
    case Collective::scan:
    case Collective::barrier: return true;
    case Collective::exscan: return rank > 0;
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
  if (collective == Collective::exscan) return rank + 1 < size;
  return has_input(collective, rank, size, root, block);
}

bool is_reduction(Collective collective) {
  switch (collective) {
    case Collective::all_reduce:
    case Collective::reduce_scatter:
    case Collective::reduce:
    case Collective::scan:
    case Collective::exscan:
    case Collective::barrier: return true;
    default: return false;
  }
}

bool is_scan(Collective collective) { return collective == Collective::scan || collective == Collective::exscan; }

uint32_t inputs_of_result(Collective collective, int rank, int size) {
  if (collective == Collective::scan) return static_cast<uint32_t>(rank) + 1;
  if (collective == Collective::exscan) return static_cast<uint32_t>(rank);
  return static_cast<uint32_t>(size);
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
