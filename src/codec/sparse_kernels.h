// The passes of the sparse codecs over a chunk, dispatched at run time to the best vector instructions of the processor
// (Highway).
//
// The *key* of a number is its bits without the sign: of finite numbers the one of greater magnitude has the greater
// key, and the keys of infinities and not-a-numbers are kNotFinite or more.  Comparing keys, unlike comparing numbers,
// is exact for denormals in every mode of the processor.
//
// A set of a chunk's elements is written as *marks*: element i is bit i % 64 of word i / 64.  Results do not depend on
// the target.
#pragma once

#include <cstddef>
#include <cstdint>

#include "spec.h"

namespace tutti::sparse {

inline constexpr size_t kMostElements = 65536;  // of a chunk
inline constexpr size_t kMostWords = kMostElements / 64;
inline constexpr int32_t kNotFinite = 0x7F800000;

inline size_t words(size_t n) { return (n + 63) / 64; }

// The greatest key of value + residual (null: zeros).  Where groups > 0 (a multiple of 16, at most n), maxima[g]
// becomes the greatest magnitude of the elements i with i % groups == g.
int32_t survey(const float* value, const float* residual, size_t n, float* maxima, size_t groups);

// residual += value (null: no residual, the sum is the value), and marks the elements of the sum whose key exceeds
// `above` ≥ 0.  All words(n) words of marks are written.
void add_and_mark(const float* value, float* residual, size_t n, int32_t above, uint64_t* marks);

// The elements whose key exceeds `above`, and `equal` of those whose key is `above`.
struct Cut {
  int32_t above;
  size_t equal;
};
// The cut that leaves k elements of p, 1 ≤ k ≤ n; or up to k + slack, then with equal = 0.  At least k keys are ≥ low,
// none is > greatest.
Cut cut(const float* p, size_t n, int32_t low, int32_t greatest, size_t k, size_t slack);

// The places of marks[0 … words) in ascending order, `base` added to each.  Where they are more than `room`, the list
// ends early, but the result is greater than room.  `index` has room for 64 more.
size_t list(const uint64_t* marks, size_t words, uint32_t base, uint32_t* index, size_t room);

// Rounds k numbers to what a packet holds, writes that, and leaves in `values` what was lost.  Nearest, ties to even;
// beyond the range of the type: its greatest number.  int8: q = value / scale, and q · scale is what decodes.
void round_values(ValueType type, float* values, size_t k, float scale, std::byte* to);

// Back.  False: one of them is nothing that round_values writes (not finite; -128).
bool widen_values(ValueType type, const std::byte* from, size_t k, float scale, float* values);

void divide(float* out, size_t n, uint32_t divisor);  // out[i] /= divisor, rounded to nearest

}  // namespace tutti::sparse
