// The codecs that send every number written down plainly, one number at a time: what the vectors are compared with, bit for bit.
// It shares nothing with src/codec but the specification.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "codec.h"
#include "spec.h"

namespace tutti::reference {

using Packet = std::vector<uint32_t>;

inline uint32_t group_size(const CodecSpec& spec, uint32_t small) { return spec.group ? spec.group : small; }

// Code i of n: 16 words hold 32/bits rows of 16 neighbours; behind the last whole block code follows code.
inline void put_code(Packet& packet, size_t at, uint32_t bits, size_t i, size_t n, uint32_t code) {
  const size_t block = 512 / bits;
  if (i < n / block * block) {
    packet[at + i / block * 16 + i % 16] |= code << bits * (i % block / 16);
  } else {
    packet[at + i * bits / 32] |= code << i * bits % 32;
  }
}

inline float greatest(const std::vector<float>& sums, size_t first, size_t end) {
  float m = 0;
  for (size_t i = first; i < end; ++i) m = std::max(m, std::fabs(sums[i]));
  return m;
}

// f of each number added up in 32 sums, which a tree joins.
template <class Function>
float fixed_sum(const std::vector<float>& sums, size_t first, size_t end, Function f) {
  float partial[32] = {};
  for (size_t i = first; i < end; ++i) partial[(i - first) % 32] += f(sums[i]);
  for (int half = 16; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) partial[i] += partial[i + half];
  return partial[0];
}

inline uint64_t split_mix(uint64_t z) {
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

// In (0, 1).
inline float uniform(const Occasion& occasion, size_t i) {
  uint64_t key = split_mix(occasion.seed + 0x9E3779B97F4A7C15u);
  key = split_mix(key + ((uint64_t{occasion.step} << 32) + occasion.rank) + 0x9E3779B97F4A7C15u);
  key = split_mix(key + occasion.element + 0x9E3779B97F4A7C15u);
  uint32_t x = static_cast<uint32_t>(key) + static_cast<uint32_t>(i);
  x = (x ^ x >> 16) * 0x21F0AAADu;
  x = (x ^ x >> 15 ^ static_cast<uint32_t>(key >> 32)) * 0x735A2D97u;
  x ^= x >> 15;
  return (static_cast<float>(x >> 9) + 0.5f) / 8388608;
}

struct Step {
  float size = 0, up = 1, inverse = 0;
};
// That of a scale on which `half` is `reach` steps from the middle.
inline Step step_of(float half, float middle, float reach) {
  Step step{.size = half / reach};
  if (step.size < 0x1p-126f) {
    step.up = 0x1p64f;
    step.size = static_cast<float>(std::ldexp(std::ceil(std::ldexp(static_cast<double>(half) / reach, 149)), -149));
  }
  while (std::isinf(std::fabs(middle) + step.size * reach)) step.size = std::nextafter(step.size, 0.0f);
  if (step.size > 0) step.inverse = 1 / (step.size * step.up);
  return step;
}

// The packet of finite sums, and in `decoded` what it decodes to.
inline Packet quantize(const CodecSpec& spec, const std::vector<float>& sums, bool feedback, const Occasion& occasion,
                       std::vector<float>& decoded) {
  const bool minmax = spec.range == Range::minmax, stochastic = spec.rounding == Rounding::stochastic;
  const size_t n = sums.size(), group = group_size(spec, spec.bits == 8 ? 1024 : 512), groups = (n + group - 1) / group;
  const size_t codes = 1 + groups * (minmax ? 2 : 1);
  Packet packet(codes + (n * spec.bits + 31) / 32);
  decoded.assign(n, 0);
  const float reach = static_cast<float>(spec.levels) + (minmax ? 0.5f : 0);
  const double d = static_cast<double>(std::min(n, group));
  const double omega = minmax ? std::max(0.0, d - 2) / (8 * reach * reach) : (std::sqrt(1 + (d - 1) / (reach * reach)) - 1) / 2;
  const float damping = feedback && stochastic ? static_cast<float>(1 / (1 + omega)) : 1;
  for (size_t g = 0; g < groups; ++g) {
    const size_t first = g * group, end = std::min(n, first + group);
    float half = greatest(sums, first, end), center = 0;
    if (minmax) {
      const double low = *std::min_element(&sums[first], &sums[end - 1] + 1),
                   high = *std::max_element(&sums[first], &sums[end - 1] + 1);
      center = static_cast<float>((low + high) / 2 + 0.0);
      half = static_cast<float>(std::max(high - center, center - low));
    }
    if (spec.clip_sigma > 0 && half > 0) {
      const int exponent = std::clamp(-std::ilogb(half), -126, 126);
      const float sum = fixed_sum(sums, first, end, [&](float v) {
        const float scaled = v * std::ldexp(1.0f, exponent);
        return scaled * scaled;
      });
      const double deviation = std::ldexp(std::sqrt(sum / static_cast<double>(end - first)), -exponent);
      half = static_cast<float>(std::min<double>(half, spec.clip_sigma * deviation));
    }
    const Step step = step_of(half, center, reach);
    const float scale = step.size * damping, middle = center * damping;
    packet[1 + g * (minmax ? 2 : 1)] = std::bit_cast<uint32_t>(scale);
    if (minmax) packet[2 + g * 2] = std::bit_cast<uint32_t>(middle);
    for (size_t i = first; i < end; ++i) {
      float y = std::clamp((sums[i] - center) * step.up * step.inverse, -reach, reach);
      if (minmax) y += reach;
      y = stochastic ? std::floor(y) + (uniform(occasion, i) < y - std::floor(y) ? 1.0f : 0.0f) : std::nearbyint(y);
      const int code = static_cast<int>(y) + (minmax ? 0 : 1 << (spec.bits - 1));
      put_code(packet, codes, spec.bits, i, n, static_cast<uint32_t>(code));
      decoded[i] = middle + (minmax ? y - reach : y) * scale;
    }
  }
  return packet;
}

}  // namespace tutti::reference
