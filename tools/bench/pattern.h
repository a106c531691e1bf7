// The numbers that are sent, and the numbers that must come out, in closed form: every rank computes what each rank
// contributes, so a result is checked without any communication.
//
// Contributions are small positive integers that depend on rank, position and turn (a counter of iterations), chosen
// such that every partial result in any order is exact in the data type; so results must be equal, not near.  They
// repeat along the buffer with a prime period, which no block size is a multiple of by accident.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "tutti/tutti.h"

namespace tutti::bench {

class Pattern {
 public:
  // `op`: none where nothing is reduced.
  Pattern(tutti_dtype type, std::optional<tutti_op> op, int ranks) : type_(type), op_(op), ranks_(ranks) {}

  // False if rounding cannot be avoided: 16-bit floats hold integers up to 256 (bfloat16), so sums over more ranks are
  // not checked.
  bool exact() const;
  // Writes the first `elements` of what `rank` contributes in this turn.
  void fill(std::byte* memory, size_t elements, int rank, uint64_t turn) const;
  // How many of `elements` differ from elements [start, start + elements) of `rank`'s contribution; rank -n: of the
  // reduction over the first n ranks.
  uint64_t count_wrong(const std::byte* memory, size_t elements, int rank, size_t start, uint64_t turn) const;

 private:
  int64_t contribution(int rank, size_t position, uint64_t turn) const;
  int64_t reduction(int ranks, size_t position, uint64_t turn) const;
  // The values of positions [0, elements), encoded; rank -n: the reduction's over the first n.
  std::vector<std::byte> encoded(size_t elements, int rank, uint64_t turn) const;

  tutti_dtype type_;
  std::optional<tutti_op> op_;
  int ranks_;
};

}  // namespace tutti::bench
