#include "sparse_spec.h"

#include <algorithm>
#include <cmath>

#include "sparse_kernels.h"

namespace tutti::sparse {

size_t chunk_elements(const CodecSpec& spec) {
  if (spec.chunk != 0) return spec.chunk;
  size_t chunk = 4096;
  const auto enough = [&] { return spec.k != 0 || spec.ratio * static_cast<double>(chunk) >= 32; };
  while (chunk < kMostElements && !enough()) chunk *= 2;
  return chunk;
}

size_t elements_sent(const CodecSpec& spec, size_t n, uint32_t step) {
  const auto share = [n](double ratio) {
    return std::clamp<size_t>(static_cast<size_t>(std::floor(ratio * static_cast<double>(n) + 0.5)), 1, n);
  };
  const size_t final = spec.k != 0 ? std::min<size_t>(spec.k, n) : share(spec.ratio);
  if (spec.warmup_steps == 0) return final;
  constexpr double kStages[] = {0.25, 0.0625, 0.015625, 0.004};
  const uint32_t stage = step / spec.warmup_steps;
  return stage < std::size(kStages) ? std::max(share(kStages[stage]), final) : final;
}

double contraction(size_t n, size_t k, ValueType values) {
  const double ratio = static_cast<double>(k) / static_cast<double>(n);
  switch (values) {
    case ValueType::fp32: return ratio;
    // Relative errors up to 2^-9, at the upper end of the range 2^-8.
    case ValueType::bf16: return ratio * (1 - 0x1p-16);
    // The scale is rounded.
    case ValueType::int8: return ratio / (1 + 1e-6 + 1.0001 * static_cast<double>(k - 1) / (254 * 254));
    case ValueType::fp16: return 0;
  }
  return 0;
}

}  // namespace tutti::sparse
