// ring: every rank sends to the next one and receives from the one before.
//
// Source: P. Patarasuk, X. Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations", Journal of
// Parallel and Distributed Computing 69 (2009).  broadcast and reduce are the ring cut open: the pipelined chain of
// J. Pješivac-Grbović et al., "Performance analysis of MPI collective operations", Cluster Computing 10 (2007); the
// lanes of the engine are its segments.
//
// Each receive stands directly before the send of the same block, so its slot travels on around the ring.  The ranks
// stand in the order of the team, so that few of the steps leave a host.
#include "formulas.h"
#include "plans.h"

namespace tutti::ring {
namespace {

// The circle, seen from a rank: ranks and the blocks that belong to them, at a distance.
struct Circle {
  Circle(int rank, const Team& ranks) : team(ranks), place(ranks.place_of(rank)) {}
  int rank(int distance) const { return team.at(place + distance); }
  uint32_t block(int distance) const { return static_cast<uint32_t>(rank(distance)); }

  const Team& team;
  int place;
};

// Partial sums travel once around; block `rank` ends here.
void reduce_scatter_phase(Plan& plan, const Circle& circle) {
  for (int step = 1; step < circle.team.size; ++step) {
    plan.send(circle.rank(1), circle.block(-step));
    plan.recv_reduce(circle.rank(-1), circle.block(-step - 1), 1, step == circle.team.size - 1);
  }
}

// Finished blocks travel once around; this rank's own is block `rank`.
void all_gather_phase(Plan& plan, const Circle& circle) {
  for (int step = 0; step < circle.team.size - 1; ++step) {
    plan.send(circle.rank(1), circle.block(-step));
    plan.recv(circle.rank(-1), circle.block(-step - 1));
  }
}

Plan reduce_scatter_plan(int rank, const Team& team, int /*root*/) {
  Plan plan(blocks(team.size));
  reduce_scatter_phase(plan, {rank, team});
  return plan;
}

Plan all_gather_plan(int rank, const Team& team, int /*root*/) {
  Plan plan(blocks(team.size));
  all_gather_phase(plan, {rank, team});
  return plan;
}

Plan all_reduce_plan(int rank, const Team& team, int /*root*/) {
  Plan plan(blocks(team.size));
  reduce_scatter_phase(plan, {rank, team});
  all_gather_phase(plan, {rank, team});
  return plan;
}

// From the root onwards; the rank before the root is the chain's end.
Plan broadcast_plan(int rank, const Team& team, int root) {
  Plan plan(1);
  const Circle circle(rank, team);
  const int next = circle.rank(1), prev = circle.rank(-1);
  if (rank != root) plan.recv(prev, 0);
  if (next != root) plan.send(next, 0);
  return plan;
}

// From the rank after the root, all the way round to the root.
Plan reduce_plan(int rank, const Team& team, int root) {
  Plan plan(1);
  const Circle circle(rank, team);
  const int next = circle.rank(1), prev = circle.rank(-1);
  if (prev != root) plan.recv_reduce(prev, 0, 1, rank == root);
  if (rank != root) plan.send(next, 0);
  return plan;
}

// ---- costs ----

using namespace formulas;
constexpr std::string_view kRing = "Patarasuk, Yuan 2009";
constexpr std::string_view kChain = "Pješivac-Grbović et al. 2007";

}  // namespace

const Method all_reduce{.plan = all_reduce_plan, .cost = {kTwiceOthers, kTwiceOthers, kTwiceShares, kShares},
                        .source = kRing, .makes_partial_sums = beyond_two_ranks};
const Method reduce_scatter{.plan = reduce_scatter_plan, .cost = {kOthers, kOthers, kShares, kShares},
                            .source = kRing, .makes_partial_sums = beyond_two_ranks};
const Method all_gather{.plan = all_gather_plan, .cost = {kOthers, kOthers, kShares, kNone}, .source = kRing};
const Method broadcast{.plan = broadcast_plan, .cost = {kOthers, kOne, kAll, kNone}, .source = kChain};
const Method reduce{.plan = reduce_plan, .cost = {kOthers, kOne, kAll, kAll},
                    .source = kChain, .makes_partial_sums = beyond_two_ranks};

}  // namespace tutti::ring
