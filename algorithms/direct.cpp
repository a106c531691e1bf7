// direct: every rank talks to every other one.  In reductions each rank owns a slice: it folds everyone's
// contribution to it in rank order, widened and rounded once, which makes the result independent of anything but the
// inputs.
//
// Source: the pairwise and linear algorithms in R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of Collective
// Communication Operations in MPICH", International Journal of High Performance Computing Applications 19 (2005).
//
// Everyone starts with the next rank and goes round, so that no two ranks send to the same one at the same time.
#include <vector>

#include "formulas.h"
#include "plans.h"

namespace tutti::direct {
namespace {

std::vector<int> others(int rank, int size) {  // ascending
  std::vector<int> ranks;
  for (int other = 0; other < size; ++other) {
    if (other != rank) ranks.push_back(other);
  }
  return ranks;
}

// Every rank's part of each slice to the owner of the slice.
void reduce_scatter_phase(Plan& plan, int rank, int size) {
  for (int d = 1; d < size; ++d) plan.send(around(rank + d, size), block(rank + d, size));
  if (size > 1) plan.fold(others(rank, size), block(rank, size));
}

// Each owner's slice to every rank.
void all_gather_phase(Plan& plan, int rank, int size) {
  for (int d = 1; d < size; ++d) plan.send(around(rank + d, size), block(rank, size));
  for (int d = 1; d < size; ++d) plan.recv(around(rank - d, size), block(rank - d, size));
}

Plan reduce_scatter_plan(int rank, const Team& team, int /*root*/) {
  const int size = team.size;
  Plan plan(blocks(size));
  reduce_scatter_phase(plan, rank, size);
  return plan;
}

Plan all_gather_plan(int rank, const Team& team, int /*root*/) {
  const int size = team.size;
  Plan plan(blocks(size));
  all_gather_phase(plan, rank, size);
  return plan;
}

Plan all_reduce_plan(int rank, const Team& team, int /*root*/) {
  const int size = team.size;
  Plan plan(blocks(size));
  reduce_scatter_phase(plan, rank, size);
  all_gather_phase(plan, rank, size);
  return plan;
}

Plan broadcast_plan(int rank, const Team& team, int root) {
  const int size = team.size;
  Plan plan(1);
  if (rank != root) plan.recv(root, 0);
  for (int d = 1; rank == root && d < size; ++d) plan.send(around(root + d, size), 0);
  return plan;
}

Plan reduce_plan(int rank, const Team& team, int root) {
  const int size = team.size;
  Plan plan(1);
  if (rank != root) plan.send(root, 0);
  if (rank == root && size > 1) plan.fold(others(root, size), 0);
  return plan;
}

Plan gather_plan(int rank, const Team& team, int root) {
  const int size = team.size;
  Plan plan(blocks(size));
  if (rank != root) plan.send(root, block(rank, size));
  for (int d = 1; rank == root && d < size; ++d) plan.recv(around(root + d, size), block(root + d, size));
  return plan;
}

Plan scatter_plan(int rank, const Team& team, int root) {
  const int size = team.size;
  Plan plan(blocks(size));
  if (rank != root) plan.recv(root, block(rank, size));
  for (int d = 1; rank == root && d < size; ++d) plan.send(around(root + d, size), block(root + d, size));
  return plan;
}

Plan all_to_all_plan(int rank, const Team& team, int /*root*/) {
  const int size = team.size;
  Plan plan(blocks(size) * blocks(size));
  const auto from_to = [size](int source, int target) { return blocks(source) * blocks(size) + blocks(target); };
  for (int d = 1; d < size; ++d) {
    const int target = around(rank + d, size);
    plan.send(target, from_to(rank, target));
  }
  for (int d = 1; d < size; ++d) {
    const int source = around(rank - d, size);
    plan.recv(source, from_to(source, rank));
  }
  return plan;
}

// ---- costs ----

using namespace formulas;
constexpr std::string_view kPairs = "Thakur, Rabenseifner, Gropp 2005";
constexpr std::string_view kStar = "Pješivac-Grbović et al. 2007";

}  // namespace

const Method all_reduce{.plan = all_reduce_plan, .cost = {kTwo, kTwiceOthers, kTwiceShares, kShares}, .source = kPairs};
const Method reduce_scatter{.plan = reduce_scatter_plan, .cost = {kOne, kOthers, kShares, kShares}, .source = kPairs};
const Method all_gather{.plan = all_gather_plan, .cost = {kOne, kOthers, kShares, kNone}, .source = kPairs};
const Method broadcast{.plan = broadcast_plan, .cost = {kOne, kOthers, kCopies, kNone}, .source = kStar};
const Method reduce{.plan = reduce_plan, .cost = {kOne, kOthers, kCopies, kCopies}, .source = kStar};
const Method gather{.plan = gather_plan, .cost = {kOne, kOthers, kShares, kNone}, .source = kStar};
const Method scatter{.plan = scatter_plan, .cost = {kOne, kOthers, kShares, kNone}, .source = kStar};
const Method all_to_all{.plan = all_to_all_plan, .cost = {kOne, kOthers, kShares, kNone}, .source = kPairs};

}  // namespace tutti::direct
