// The arithmetic, dispatched at run time to the best vector instructions of the processor (Highway).  Counts are
// elements.  They may lie at any address; results are the same everywhere, streaming needs the alignment of the
// element.
//
// Semantics.  16-bit floats are widened to float32, and rounded to nearest even once per call.  Integers wrap.
// min/max: a not-a-number on either side gives a not-a-number; -0 equals +0, the right-hand one is taken.  Every
// not-a-number that is written is the positive quiet one without payload, so a result depends on the operands and their
// order only: not on the processor, the addresses, the length, or the floating-point mode of the thread
// (standard_floats.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "vocabulary.h"

namespace tutti::kernels {

enum class Store : uint8_t { cached, streaming };  // streaming: non-temporal stores, for outputs that are in no cache

// For each i < count:  v = left[i] op right[i];  if divisor > 1, v = v / divisor  (floats: in float32/float64, before
// rounding; integers: towards zero);  destination[i] = v;  and if pass is not null, pass[i] = v too.  destination may
// equal left or right, pass may equal left or right (element-wise in place); no other overlap.  `store` concerns
// destination only.  For op avg call with sum semantics: avg is sum with a divisor at the completing step.
using ReduceFn = void (*)(void* destination, void* pass, const void* left, const void* right, size_t count, uint32_t divisor,
                          Store store);
ReduceFn reduce_kernel(DataType type, ReduceOp op);  // null where the operator is not defined

// Each target[i] = (sources[0][i] op sources[1][i] op … op sources[n-1][i]) / divisor, from left to right, widened,
// rounded once.  A target may equal one of the sources.  n ≥ 1, 1 ≤ targets ≤ kMostTargets.
struct Target {
  void* memory;
  Store store;
};
inline constexpr size_t kMostTargets = 16;
using FoldFn = void (*)(const Target* targets, size_t n_targets, const void* const* sources, size_t n, size_t count,
                        uint32_t divisor);
FoldFn fold_kernel(DataType type, ReduceOp op);  // likewise

// destination = from;  if pass is not null, pass = from too.  No overlap.
void copy(void* destination, void* pass, const void* from, size_t bytes, Store store);

// After non-temporal stores of others than these kernels, which do so themselves: what this thread writes next is seen
// after them.
void flush_streams();

// float16, bfloat16 and float32 (copied) at any address as float32 and back, rounded to nearest even; infinities stay,
// and numbers beyond the greatest become infinities.  No overlap.
constexpr bool widens(DataType type) {
  return type == DataType::float16 || type == DataType::bfloat16 || type == DataType::float32;
}
void widen(DataType type, const void* from, float* to, size_t n);
void narrow(DataType type, const float* from, void* to, size_t n);

// to[i] = from[i] × factor, of floats at any address: in float32 (16-bit floats, float32) or float64, rounded once.
// `to` may equal `from`; no other overlap.
void scale(DataType type, const void* from, void* to, size_t n, double factor);

// "AVX3_SPR": the target in use, for logs and tutti-info.
std::string_view target_name();

}  // namespace tutti::kernels
