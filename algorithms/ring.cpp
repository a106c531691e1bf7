// ring: every rank sends to the next one and receives from the one before.
//
// Source: P. Patarasuk, X. Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", Journal of Parallel and
// Distributed Computing 69 (2009).  broadcast and reduce are the ring cut open: the pipelined chain of J. Pješivac-Grbović et al.,
// "Performance analysis of MPI collective operations", Cluster Computing 10 (2007); the lanes of the engine are its segments.
//
// Each receive stands directly before the send of the same block, so its slot travels on around the ring.
#include "plans.h"

namespace tutti::ring {
namespace {

// Partial sums travel once around; block `rank` ends here.
void reduce_scatter_phase(Plan& plan, int rank, int size) {
  const int next = around(rank + 1, size), prev = around(rank - 1, size);
  for (int step = 1; step < size; ++step) {
    plan.send(next, block(rank - step, size));
    plan.recv_reduce(prev, block(rank - step - 1, size), 1, step == size - 1);
  }
}

// Finished blocks travel once around; this rank's own is block `rank`.
void all_gather_phase(Plan& plan, int rank, int size) {
  const int next = around(rank + 1, size), prev = around(rank - 1, size);
  for (int step = 0; step < size - 1; ++step) {
    plan.send(next, block(rank - step, size));
    plan.recv(prev, block(rank - step - 1, size));
  }
}

}  // namespace

Plan reduce_scatter(int rank, int size, int /*root*/) {
  Plan plan(blocks(size));
  reduce_scatter_phase(plan, rank, size);
  return plan;
}

Plan all_gather(int rank, int size, int /*root*/) {
  Plan plan(blocks(size));
  all_gather_phase(plan, rank, size);
  return plan;
}

Plan all_reduce(int rank, int size, int /*root*/) {
  Plan plan(blocks(size));
  reduce_scatter_phase(plan, rank, size);
  all_gather_phase(plan, rank, size);
  return plan;
}

// From the root onwards; the rank before the root is the chain's end.
Plan broadcast(int rank, int size, int root) {
  Plan plan(1);
  const int next = around(rank + 1, size), prev = around(rank - 1, size);
  if (rank != root) plan.recv(prev, 0);
  if (next != root) plan.send(next, 0);
  return plan;
}

// From the rank after the root, all the way round to the root.
Plan reduce(int rank, int size, int root) {
  Plan plan(1);
  const int next = around(rank + 1, size), prev = around(rank - 1, size);
  if (prev != root) plan.recv_reduce(prev, 0, 1, rank == root);
  if (rank != root) plan.send(next, 0);
  return plan;
}

}  // namespace tutti::ring
