// Two binary trees over the same nodes 1 … n in which an inner node of one is a leaf of the other.
//
// Source: P. Sanders, J. Speck, J. L. Träff, "Two-tree algorithms for full bandwidth broadcast, reduction and scan",
// Parallel Computing 35 (2009).
#pragma once

#include <array>

namespace tutti {

// A node's neighbours in one tree; 0: none.
struct TreeNode {
  int parent = 0;
  std::array<int, 2> children{};
};

// The first tree numbers its nodes in in-order: a node's height is its number of trailing zeros, the root is the
// greatest power of two; nodes above n are left out and their left children move up.
TreeNode first_tree(int v, int n);
int first_root(int n);

// The second tree is the first one mirrored (n even) or turned by one place (n odd).
TreeNode second_tree(int v, int n);
int second_root(int n);

}  // namespace tutti
