#include "two_trees.h"

#include <bit>

namespace tutti {
namespace {

// The node that stands in the second tree where `place` stands in the first, and the reverse.
int at_place(int place, int n) {
  if (place == 0) return 0;
  return n % 2 == 0 ? n + 1 - place : place == 1 ? n : place - 1;
}
int place_of(int v, int n) { return n % 2 == 0 ? n + 1 - v : v % n + 1; }

}  // namespace

int first_root(int n) { return static_cast<int>(std::bit_floor(static_cast<unsigned>(n))); }
int second_root(int n) { return at_place(first_root(n), n); }

TreeNode first_tree(int v, int n) {
  TreeNode node;
  if (v != first_root(n)) {
    node.parent = v;
    do {  // one level up, clear the lowest bit and set the one above it; again while such a node was left out
      const int low = node.parent & -node.parent;
      node.parent = (node.parent ^ low) | (low << 1);
    } while (node.parent > n);
  }
  const int reach = (v & -v) / 2;
  if (reach > 0) node.children[0] = v - reach;
  for (int d = reach; d > 0 && node.children[1] == 0; d /= 2) {
    if (v + d <= n) node.children[1] = v + d;
  }
  return node;
}

TreeNode second_tree(int v, int n) {
  const TreeNode node = first_tree(place_of(v, n), n);
  return {at_place(node.parent, n), {at_place(node.children[0], n), at_place(node.children[1], n)}};
}

}  // namespace tutti
