#include "expressions.h"

#include <algorithm>

namespace tutti {
namespace {

constexpr uint32_t kNone = (uint32_t{1} << 31) - 1;  // operands have 31 bits in a key
constexpr uint64_t kMany = uint64_t{1} << 62;

}  // namespace

Expressions::Expressions(uint32_t ranks) : ranks_(ranks), nodes_(ranks, Node{kNone, kNone, 1, false}) {}

// Equal operands give the same number.
uint32_t Expressions::node(uint32_t left, uint32_t right, bool folding) {
  const uint64_t key = uint64_t{folding} << 62 | uint64_t{left} << 31 | right;
  const auto [place, fresh] = numbers_.try_emplace(key, static_cast<uint32_t>(nodes_.size()));
  if (fresh) {
    const uint64_t sum = nodes_[left].inputs + (right == kNone ? 0 : nodes_[right].inputs);
    nodes_.push_back({left, right, std::min(sum, kMany), false});
  }
  return place->second;
}

uint32_t Expressions::reduce(uint32_t left, uint32_t right) { return node(left, right, false); }

// A list of the operands, closed by a node of its own so that it is not the prefix of a longer one.
uint32_t Expressions::fold(std::span<const uint32_t> operands) {
  uint32_t list = operands[0];
  for (const uint32_t operand : operands.subspan(1)) list = node(list, operand, true);
  return node(list, kNone, true);
}

bool Expressions::holds_each_rank_once(uint32_t value) {
  if (nodes_[value].inputs != ranks_) return false;
  if (nodes_[value].proved) return true;
  std::vector<bool> seen(ranks_);
  std::vector<uint32_t> open{value};
  while (!open.empty()) {
    const uint32_t top = open.back();
    open.pop_back();
    if (is_input(top)) {
      if (seen[top]) return false;
      seen[top] = true;
      continue;
    }
    open.push_back(nodes_[top].left);
    if (nodes_[top].right != kNone) open.push_back(nodes_[top].right);
  }
  nodes_[value].proved = true;
  return true;
}

bool Expressions::holds_first_in_order(uint32_t value, uint32_t ranks) const {
  if (nodes_[value].inputs != ranks) return false;
  uint32_t next = 0;
  std::vector<uint32_t> open{value};
  while (!open.empty()) {
    const uint32_t top = open.back();
    open.pop_back();
    if (is_input(top)) {
      if (top != next++) return false;
      continue;
    }
    if (nodes_[top].right != kNone) open.push_back(nodes_[top].right);
    open.push_back(nodes_[top].left);
  }
  return true;
}

}  // namespace tutti
