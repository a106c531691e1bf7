// The meaning of a specification of topk or randomk for a chunk of n elements.
#pragma once

#include <cstddef>
#include <cstdint>

#include "spec.h"

namespace tutti::sparse {

// Elements of a chunk: what was asked for, or 4096, or for a small ratio more so that 32 of them are sent, but at most
// 65536.
size_t chunk_elements(const CodecSpec& spec);

// How many of n elements are sent, 1 … n.  In the warm-up of Deep Gradient Compression (Lin, Han, Mao, Wang and Dally,
// ICLR 2018, §3.3) the ratio falls in stages of spec.warmup_steps calls, 25 %, 6.25 %, 1.5625 %, 0.4 %, as long as a
// stage keeps more than spec.ratio.
size_t elements_sent(const CodecSpec& spec, size_t n, uint32_t step);

// δ where k of n elements are sent, of the greatest magnitude or at random.  Values that are rounded take some of it;
// for int8, where the greatest sent value sets the scale, up to k - 1 others may be lost in it; fp16 has none, since it
// loses all numbers below 2^-25.  For bf16 and int8 the bound needs numbers that are not all of them denormal.
double contraction(size_t n, size_t k, ValueType values);

}  // namespace tutti::sparse
