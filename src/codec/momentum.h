// Momentum correction and local gradient clipping of Deep Gradient Compression: Lin, Han, Mao, Wang, Dally, "Deep
// Gradient Compression: Reducing the Communication Bandwidth for Distributed Training", ICLR 2018, §3.1 and 3.2.  At
// each rank, g its gradient:
//
//   u ← m·u + s·g      momentum before what is sent is chosen, or else the elements that wait would miss it; s clips
//   v ← v + u          the residual: encode() adds u to it, and sends what is greatest of the sum
//   u, v ← 0           for what is sent (momentum factor masking, Chunk::momentum)
//
// The optimizer then applies the sum without a momentum of its own.  topk has the other half, the warm-up of the ratio
// (§3.3).
#pragma once

#include <cstddef>
#include <cstdint>

#include "spec.h"
#include "vocabulary.h"

namespace tutti {

// s: what brings the L2 norm of this rank's whole gradient, n elements of float32, float16 or bfloat16 at any address,
// down to spec.clip_norm / √ranks.  That is the share of a rank if gradients are independent, whose sum then has norm
// clip_norm.  1 where it is below, where nothing is to be clipped, or where it is not finite, as encode() will find.
// Summed in float64 in a fixed order: the same bits on every processor.
float clipping(const CodecSpec& spec, const void* gradient, DataType type, size_t n, uint32_t ranks);

// velocity[i] = spec.momentum · velocity[i] + scale · gradient[i], and value[i] = velocity[i], i < n; `value` may be
// `gradient`.  If one of them is not finite, the velocity stays as it was.
void add_momentum(const CodecSpec& spec, const float* gradient, float* velocity, float scale, size_t n, float* value);

}  // namespace tutti
