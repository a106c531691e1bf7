// tree for gather and scatter: a binomial tree.  A rank that holds the blocks of a range of ranks gives the upper
// half of them to the first rank of the upper half, until each range is one rank: ⌈log₂ p⌉ messages at the root, any
// number of ranks.
//
// Source: E. Chan, M. Heimlich, A. Purkayastha, R. van de Geijn, "Collective communication: theory, practice, and
// experience", Concurrency and Computation: Practice and Experience 19 (2007), minimum spanning tree scatter and
// gather.
#include "halving.h"

#include <algorithm>
#include <vector>

#include "formulas.h"
#include "plans.h"

namespace tutti {
namespace {

// One message of the scatter at this rank: a run of blocks, from the peer if it gives this rank its range, else to
// the peer.
struct Move {
  bool receives;
  int peer;
  int first, count;  // the run of blocks
};

std::vector<Move> moves(int rank, int size, int root) {
  std::vector<Move> list;
  const int place = around(rank - root, size);  // ranges are counted from the root
  for (int first = 0, count = size; count > 1;) {
    const int lower = (count + 1) / 2, upper = count - lower, middle = first + lower;
    if (place == first) list.push_back({false, around(root + middle, size), around(root + middle, size), upper});
    if (place == middle) list.push_back({true, around(root + first, size), rank, upper});
    first = place < middle ? first : middle;
    count = place < middle ? lower : upper;
  }
  return list;
}

uint32_t widest_run(int size) { return size < 2 ? 1 : blocks(size) / 2; }

}  // namespace

void scatter_phase(Plan& plan, int rank, int size, int root) {
  for (const Move& move : moves(rank, size, root)) {
    if (move.receives) plan.recv(move.peer, block(move.first, size), blocks(move.count));
    if (!move.receives) plan.send(move.peer, block(move.first, size), blocks(move.count));
  }
}

int scattered_blocks(int rank, int size, int root) {
  if (rank == root) return size;
  const std::vector<Move> list = moves(rank, size, root);
  return std::ranges::find_if(list, &Move::receives)->count;
}

void gather_phase(Plan& plan, int rank, int size, int root) {
  const std::vector<Move> list = moves(rank, size, root);
  for (auto move = list.rbegin(); move != list.rend(); ++move) {
    if (move->receives) plan.send(move->peer, block(move->first, size), blocks(move->count));
    if (!move->receives) plan.recv(move->peer, block(move->first, size), blocks(move->count));
  }
}

namespace {

Plan scatter_plan(int rank, const Team& team, int root) {
  const int size = team.size;
  Plan plan(blocks(size), widest_run(size));
  scatter_phase(plan, rank, size, root);
  return plan;
}

Plan gather_plan(int rank, const Team& team, int root) {
  const int size = team.size;
  Plan plan(blocks(size), widest_run(size));
  gather_phase(plan, rank, size, root);
  return plan;
}

constexpr std::string_view kSource = "Chan, Heimlich, Purkayastha, van de Geijn 2007";
constexpr Formula kLogDown{"⌊log₂ p⌋", formulas::log_down};
constexpr CostModel kCost{kLogDown, formulas::kLog, formulas::kShares, formulas::kNone};

}  // namespace

const Method tree::gather{.plan = gather_plan, .cost = kCost, .source = kSource};
const Method tree::scatter{.plan = scatter_plan, .cost = kCost, .source = kSource};

}  // namespace tutti
