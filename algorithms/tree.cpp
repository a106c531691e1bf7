// tree: two binary trees over all ranks, each carrying one half of the data; an inner node of one tree is a leaf of the other, so
// all ranks send and receive alike although half of each tree's nodes are leaves.
//
// Source: P. Sanders, J. Speck, J. L. Träff, "Two-tree algorithms for full bandwidth broadcast, reduction and scan", Parallel
// Computing 35 (2009).
//
// broadcast and reduce use two trees as well, not a binomial one: there the root sends n·⌈log₂ p⌉ bytes, here n, for about the same
// depth.
#include <array>
#include <bit>

#include "plans.h"

namespace tutti::tree {
namespace {

// One rank in one tree, and the block that the tree carries.
struct Place {
  uint32_t block;
  int parent;  // -1: none
  std::array<int, 2> children{-1, -1};

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

// The binary tree over nodes 1 … n in in-order numbering: a node's height is its number of trailing zeros, the root is the greatest
// power of two, and nodes above n are left out, their left children moving up.  `rank_of` turns a node into a rank; `above` is the
// parent of the root.
template <class RankOf>
Place in_order_tree(uint32_t block, int v, int n, int above, RankOf rank_of) {
  Place place{block, above};
  const int height = v & -v;
  if (v != static_cast<int>(std::bit_floor(blocks(n)))) {
    int parent = v;
    do {
      const int low = parent & -parent;
      parent = (parent ^ low) | (low << 1);
    } while (parent > n);
    place.parent = rank_of(parent);
  }
  if (height > 1) place.children[0] = rank_of(v - height / 2);
  for (int d = height / 2; d > 0 && place.children[1] < 0; d /= 2) {
    if (v + d <= n) place.children[1] = rank_of(v + d);
  }
  return place;
}

// The second tree is the first one mirrored (n even) or turned by one place (n odd): who stands there at place `u`, and where `v` does.
int second_at(int u, int n) { return n % 2 == 0 ? n + 1 - u : u == 1 ? n : u - 1; }
int place_in_second(int v, int n) { return n % 2 == 0 ? n + 1 - v : v % n + 1; }

struct TwoPlaces {
  Place outer, inner;  // where the node is a leaf, and where it may have children
};

template <class RankOf>
TwoPlaces two_trees(int v, int n, int above, RankOf rank_of) {
  const Place first = in_order_tree(0, v, n, above, rank_of);
  const Place second =
      in_order_tree(1, place_in_second(v, n), n, above, [=](int u) { return rank_of(second_at(u, n)); });
  return second.inner() ? TwoPlaces{first, second} : TwoPlaces{second, first};
}

// With a root: the trees stand over the other ranks, counted from the root, and the root feeds both tops.
TwoPlaces below_root(int rank, int size, int root) {
  return two_trees(around(rank - root, size), size - 1, root, [=](int u) { return around(root + u, size); });
}
std::array<int, 2> tops(int size, int root) {
  const int n = size - 1, top = static_cast<int>(std::bit_floor(blocks(n)));
  return {around(root + top, size), around(root + second_at(top, n), size)};
}

}  // namespace

Plan all_reduce(int rank, int size, int /*root*/) {
  Plan plan(2);
  const TwoPlaces place = two_trees(rank + 1, size, -1, [](int u) { return u - 1; });
  place.outer.up(plan);  // others wait for it; what comes down to a leaf can wait
  place.inner.up(plan);
  place.inner.down(plan);
  place.outer.down(plan);
  return plan;
}

Plan broadcast(int rank, int size, int root) {
  Plan plan(2);
  if (size == 1) return plan;
  if (rank == root) {
    const auto [first, second] = tops(size, root);
    plan.send(first, 0);
    plan.send(second, 1);
    return plan;
  }
  const TwoPlaces place = below_root(rank, size, root);
  place.inner.down(plan);
  place.outer.down(plan);
  return plan;
}

// The broadcast backwards.
Plan reduce(int rank, int size, int root) {
  Plan plan(2);
  if (size == 1) return plan;
  if (rank == root) {
    const auto [first, second] = tops(size, root);
    plan.recv_reduce(second, 1, 1, true);
    plan.recv_reduce(first, 0, 1, true);
    return plan;
  }
  const TwoPlaces place = below_root(rank, size, root);
  place.outer.up(plan);
  place.inner.up(plan);
  return plan;
}

Plan barrier(int rank, int size, int /*root*/) {
  Plan plan(1);
  const Place place = in_order_tree(0, rank + 1, size, -1, [](int u) { return u - 1; });
  place.up(plan);
  place.down(plan);
  return plan;
}

}  // namespace tutti::tree
