// Numbers for compressed calls: normally distributed, since what a codec makes of a tensor depends on how its numbers
// are distributed.
//
// They repeat along the tensor with a prime period, which no chunk of a codec is a multiple of; another turn begins
// elsewhere in the period.  Every rank knows what each rank contributes, hence the exact sum.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tutti/tutti.h"

namespace tutti::bench {

class Gradients {
 public:
  // For tensors of `elements` of float32, float16 or bfloat16.
  Gradients(tutti_dtype type, size_t elements, int rank, int ranks);

  void fill(std::byte* memory, size_t elements, uint64_t turn) const;  // of this rank
  double sum(size_t position, uint64_t turn) const { return sums_[(position + start(turn)) % sums_.size()]; }

 private:
  size_t start(uint64_t turn) const;

  tutti_dtype type_;
  std::vector<std::byte> mine_;  // a period, in `type`
  std::vector<double> sums_;
};

// n numbers of `type` as float32.
std::vector<float> widened(tutti_dtype type, const std::byte* from, size_t n);

}  // namespace tutti::bench
