// The codecs that send every number written down plainly, one number at a time: what the vectors are compared with, bit
// for bit.  It shares nothing with src/codec but the specification.
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
inline float uniform(const EncodeContext& context, size_t i) {
  uint64_t key = split_mix(context.seed + 0x9E3779B97F4A7C15u);
  key = split_mix(key + ((uint64_t{context.step} << 32) + context.rank) + 0x9E3779B97F4A7C15u);
  key = split_mix(key + context.element + 0x9E3779B97F4A7C15u);
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
inline Packet quantize(const CodecSpec& spec, const std::vector<float>& sums, bool feedback, const EncodeContext& context,
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
      const auto [least, most] = std::minmax_element(&sums[first], &sums[end - 1] + 1);
      const double low = *least + 0.0, high = *most + 0.0;  // zeros without sign
      center = static_cast<float>((low + high) / 2);
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
      y = stochastic ? std::floor(y) + (uniform(context, i) < y - std::floor(y) ? 1.0f : 0.0f) : std::nearbyint(y);
      const int code = static_cast<int>(y) + (minmax ? 0 : 1 << (spec.bits - 1));
      put_code(packet, codes, spec.bits, i, n, static_cast<uint32_t>(code));
      decoded[i] = middle + (minmax ? y - reach : y) * scale;
    }
  }
  return packet;
}

inline Packet sign(const CodecSpec& spec, const std::vector<float>& sums, std::vector<float>& decoded) {
  const size_t n = sums.size(), group = group_size(spec, 1024), groups = (n + group - 1) / group;
  Packet packet(1 + groups + (n + 31) / 32);
  decoded.assign(n, 0);
  for (size_t g = 0; g < groups; ++g) {
    const size_t first = g * group, end = std::min(n, first + group);
    const float size = static_cast<float>(end - first);
    float mean = fixed_sum(sums, first, end, [](float v) { return std::fabs(v); }) / size;
    if (std::isinf(mean)) {
      const double reduced = fixed_sum(sums, first, end, [](float v) { return std::fabs(v) / 1048576; });
      mean = static_cast<float>(std::min<double>(std::ldexp(reduced, 20) / size, std::numeric_limits<float>::max()));
    }
    packet[1 + g] = std::bit_cast<uint32_t>(mean);
    for (size_t i = first; i < end; ++i) {
      put_code(packet, 1 + groups, 1, i, n, std::signbit(sums[i]) ? 1 : 0);
      decoded[i] = std::signbit(sums[i]) ? -mean : mean;
    }
  }
  return packet;
}

// The magnitude of an 8-bit float, by the definition of the format.
inline float eight(uint32_t code, int mantissa, int bias) {
  const int exponent = static_cast<int>(code >> mantissa), fraction = static_cast<int>(code) & ((1 << mantissa) - 1);
  return exponent == 0 ? std::ldexp(static_cast<float>(fraction), 1 - bias - mantissa)
                       : std::ldexp(static_cast<float>(fraction + (1 << mantissa)), exponent - bias - mantissa);
}

inline Packet fp8(const CodecSpec& spec, const std::vector<float>& sums, bool feedback, const EncodeContext& context,
                  std::vector<float>& decoded) {
  const bool stochastic = spec.rounding == Rounding::stochastic, e4m3 = spec.type == CastType::fp8_e4m3;
  const int mantissa = e4m3 ? 3 : 2, bias = e4m3 ? 7 : 15;
  const uint32_t last = e4m3 ? 0x7E : 0x7B;
  const float most = eight(last, mantissa, bias);
  const size_t n = sums.size(), group = group_size(spec, 1024), groups = (n + group - 1) / group;
  Packet packet(1 + groups + (n + 3) / 4);
  decoded.assign(n, 0);
  const double d = static_cast<double>(std::min(n, group));
  const double omega =
      1.0 / (4 * (1 << mantissa) * ((1 << mantissa) + 1)) + (d - 1) * std::pow(eight(1, mantissa, bias) / 2.0 / most, 2);
  const float damping = feedback && stochastic ? static_cast<float>(1 / (1 + omega)) : 1;
  for (size_t g = 0; g < groups; ++g) {
    const size_t first = g * group, end = std::min(n, first + group);
    const Step step = step_of(greatest(sums, first, end), 0, most);
    const float scale = step.size * damping;
    packet[1 + g] = std::bit_cast<uint32_t>(scale);
    for (size_t i = first; i < end; ++i) {
      const float y = std::min(std::fabs(sums[i] * step.up * step.inverse), most);
      uint32_t code = 0;
      while (code < last && eight(code + 1, mantissa, bias) <= y) ++code;
      if (code < last) {
        const float below = eight(code, mantissa, bias), part = (y - below) / (eight(code + 1, mantissa, bias) - below);
        const float random = uniform(context, i) - 0x1p-24f;  // the hash's 23 bits
        const bool normal = code >= 1u << mantissa;            // there the lowest of them do not count
        const float dropped = std::ldexp(1.0f, 23 - mantissa);
        if (stochastic) {
          code += normal ? std::floor(random * 8388608 / static_cast<float>(1 << mantissa)) + part * dropped >= dropped
                         : uniform(context, i) < part;
        } else {
          code += part > 0.5f || (part == 0.5f && code % 2 == 1);
        }
      }
      const bool negative = std::signbit(sums[i] * step.up * step.inverse);
      put_code(packet, 1 + groups, 8, i, n, code | (negative ? 0x80u : 0));
      decoded[i] = (negative ? -1.0f : 1.0f) * eight(code, mantissa, bias) * scale;
    }
  }
  return packet;
}

}  // namespace tutti::reference
