// Values as expressions over the ranks' inputs: two values that have the same number here are equal bit for bit,
// whatever the inputs are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace tutti {

class Expressions {
 public:
  explicit Expressions(uint32_t ranks);

  uint32_t input(uint32_t rank) const { return rank; }
  uint32_t reduce(uint32_t left, uint32_t right);
  uint32_t fold(std::span<const uint32_t> operands);  // one n-ary reduction, rounded once

  bool is_input(uint32_t value) const { return value < ranks_; }
  // Counted with repetition; stops counting at 2^62.
  uint64_t inputs(uint32_t value) const { return nodes_[value].inputs; }
  bool holds_each_rank_once(uint32_t value);
  // The inputs of the first ranks, from left to right.
  bool holds_first_in_order(uint32_t value, uint32_t ranks) const;

 private:
  struct Node {
    uint32_t left, right;  // kNone: no operand
    uint64_t inputs;
    bool proved;  // holds each rank once
  };
  uint32_t node(uint32_t left, uint32_t right, bool folding);

  uint32_t ranks_;
  std::vector<Node> nodes_;
  std::unordered_map<uint64_t, uint32_t> numbers_;
};

}  // namespace tutti
