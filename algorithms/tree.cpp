// tree: two binary trees over all ranks, each carrying one half of the data; a rank that is an inner node of one tree
// is a leaf of the other, so all ranks send and receive alike although half of each tree's nodes are leaves.
//
// Source: P. Sanders, J. Speck, J. L. Träff, "Two-tree algorithms for full bandwidth broadcast, reduction and scan",
// Parallel Computing 35 (2009).
//
// broadcast and reduce use the two trees as well, not a binomial one: there the root sends n·⌈log₂ p⌉ bytes, here n,
// for the same order of latency.  They stand over the other ranks, counted from the root, and the root feeds both.
#include <algorithm>
#include <utility>

#include "formulas.h"
#include "plans.h"
#include "two_trees.h"

namespace tutti::tree {
namespace {

// One rank in one tree, and the block that the tree carries.
struct Place {
  uint32_t block;
  int parent;  // -1: none, as for children
  std::array<int, 2> children;

  bool inner() const { return children[0] >= 0 || children[1] >= 0; }

  void up(Plan& plan) const {  // towards the root
    const int last = children[1] >= 0 ? children[1] : children[0];
    for (const int child : children) {
      if (child >= 0) plan.recv_reduce(child, block, 1, parent < 0 && child == last);
    }
    if (parent >= 0) plan.send(parent, block);
  }
  void down(Plan& plan) const {  // from the root
    if (parent >= 0) plan.recv(parent, block);
    for (const int child : children) {
      if (child >= 0) plan.send(child, block);
    }
  }
};

// Node v stands for the rank at v + shift in the team's order: a subtree of the in-order trees is a run of neighbours
// there. `above` is the parent of the tree's root.
Place place(uint32_t block, const TreeNode& node, int shift, const Team& team, int above) {
  const auto rank = [&team, shift](int v, int none) { return v == 0 ? none : team.at(v + shift); };
  return {block, rank(node.parent, above), {rank(node.children[0], -1), rank(node.children[1], -1)}};
}

struct TwoPlaces {
  Place outer, inner;  // where the rank is a leaf, and where it may have children
  TwoPlaces(int v, int n, int shift, const Team& team, int above)
      : outer(place(0, first_tree(v, n), shift, team, above)), inner(place(1, second_tree(v, n), shift, team, above)) {
    if (!inner.inner()) std::swap(outer, inner);
  }
};

// The trees of broadcast and reduce, in which `rank` is not the root: they stand over all others, counted from the
// root.
TwoPlaces under(int root, int rank, const Team& team) {
  const int shift = team.place_of(root);
  return {around(team.place_of(rank) - shift, team.size), team.size - 1, shift, team, root};
}

Plan all_reduce_plan(int rank, const Team& team, int /*root*/) {
  Plan plan(2);
  const TwoPlaces places(team.place_of(rank) + 1, team.size, -1, team, -1);
  places.outer.up(plan);  // first, because others wait for it; nobody waits for what comes down to a leaf
  places.inner.up(plan);
  places.inner.down(plan);
  places.outer.down(plan);
  return plan;
}

Plan broadcast_plan(int rank, const Team& team, int root) {
  Plan plan(2);
  if (team.size == 1) return plan;
  if (rank == root) {
    plan.send(team.at(team.place_of(root) + first_root(team.size - 1)), 0);
    plan.send(team.at(team.place_of(root) + second_root(team.size - 1)), 1);
    return plan;
  }
  const TwoPlaces places = under(root, rank, team);
  places.inner.down(plan);
  places.outer.down(plan);
  return plan;
}

// The broadcast backwards.
Plan reduce_plan(int rank, const Team& team, int root) {
  Plan plan(2);
  if (team.size == 1) return plan;
  if (rank == root) {
    plan.recv_reduce(team.at(team.place_of(root) + second_root(team.size - 1)), 1, 1, true);
    plan.recv_reduce(team.at(team.place_of(root) + first_root(team.size - 1)), 0, 1, true);
    return plan;
  }
  const TwoPlaces places = under(root, rank, team);
  places.outer.up(plan);
  places.inner.up(plan);
  return plan;
}

// One tree suffices for no data.
Plan barrier_plan(int rank, const Team& team, int /*root*/) {
  Plan plan(1);
  const Place only = place(0, first_tree(team.place_of(rank) + 1, team.size), -1, team, -1);
  only.up(plan);
  only.down(plan);
  return plan;
}

// ---- costs ----

using namespace formulas;
constexpr std::string_view kSource = "Sanders, Speck, Träff 2009";
constexpr Formula kDepth{"1 + ⌊log₂(p−1)⌋", [](P p, P) -> P { return 1 + log_down(p - 1); }};
constexpr Formula kTwiceDepth{"2⌊log₂ p⌋", [](P p, P) -> P { return 2 * log_down(p); }};
constexpr Formula kFour{"min(p, 4)", [](P p, P) -> P { return std::min<P>(p, 4); }};
constexpr Formula kThree{"min(p−1, 3)", [](P p, P) -> P { return std::min<P>(p - 1, 3); }};
// Data of two blocks,
constexpr Formula kHalves{"n", kTwo.value};
constexpr Formula kFourHalves{"min(p, 4)/2·n", kFour.value};
constexpr Formula kTwoHalves{"min(p−1, 2)/2·n", [](P p, P) -> P { return std::min<P>(p - 1, 2); }};
// and of one block without bytes.
constexpr Formula kThreeEmpty{"0", kThree.value};
constexpr Formula kTwoEmpty{"0", kTwoHalves.value};

}  // namespace

const Method all_reduce{.plan = all_reduce_plan, .cost = {kTwiceDepth, kFour, kFourHalves, kTwoHalves},
                        .source = kSource, .makes_partial_sums = beyond_two_ranks};
const Method broadcast{.plan = broadcast_plan, .cost = {kDepth, kTwo, kHalves, kNone}, .source = kSource};
const Method reduce{.plan = reduce_plan, .cost = {kDepth, kTwo, kHalves, kHalves},
                    .source = kSource, .makes_partial_sums = beyond_two_ranks};
const Method barrier{.plan = barrier_plan, .cost = {kTwiceDepth, kThree, kThreeEmpty, kTwoEmpty},
                     .source = kSource, .makes_partial_sums = beyond_two_ranks};

}  // namespace tutti::tree
