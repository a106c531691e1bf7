// How the elements of a call are reduced.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels.h"
#include "vocabulary.h"

namespace tutti {

class CustomReduction;

struct Arithmetic {
  DataType type = DataType::uint8;
  ReduceOp op = ReduceOp::sum;
  uint32_t divisor = 1;  // at the completing step
  kernels::Store output_store = kernels::Store::cached;
  // Of the type and operator, for the host; none: nothing is reduced.
  size_t element_bytes = 1;
  kernels::ReduceFn reduce = nullptr;
  kernels::FoldFn fold = nullptr;
  CustomReduction* custom = nullptr;  // instead of these, for op custom

  // An average divides by the number of ranks.
  static Arithmetic of(DataType type, ReduceOp op, uint32_t ranks) {
    Arithmetic arithmetic{type, op};
    if (op == ReduceOp::avg) arithmetic.divisor = ranks;
    arithmetic.element_bytes = element_size(type);
    arithmetic.reduce = kernels::reduce_kernel(type, op);
    arithmetic.fold = kernels::fold_kernel(type, op);
    return arithmetic;
  }
};

}  // namespace tutti
