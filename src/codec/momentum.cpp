#include "momentum.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "standard_floats.h"

// Everything up to HWY_ONCE is compiled once per target, by this file including itself.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "momentum.cpp"
#include <hwy/foreach_target.h>  // before highway.h

#include <hwy/highway.h>

#include "formats-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tutti::momentum::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
namespace formats = kernels::HWY_NAMESPACE;

constexpr size_t kSums = 64;  // element i goes to sum i % 64, whatever the vectors' length

// sums[i % kSums] += x[i]².  The square of a float32 is exact in float64, so that a fused multiply-add would give the
// same.
HWY_INLINE void AddSquares(const float* x, size_t n, double* sums) {
  const hn::CappedTag<double, 8> d;
  const hn::Rebind<float, decltype(d)> df;
  const size_t lanes = hn::Lanes(d);
  for (size_t i = 0; i < n; i += kSums) {
    for (size_t j = 0; j < kSums; j += lanes) {
      const auto v = hn::PromoteTo(d, hn::LoadU(df, x + i + j));
      hn::StoreU(hn::Add(hn::LoadU(d, sums + j), hn::Mul(v, v)), d, sums + j);
    }
  }
}

template <class F>
double SquareNorm(const void* elements, size_t n) {
  const typename F::D d;
  constexpr size_t kBlock = 1024;
  const auto* from = static_cast<const std::byte*>(elements);  // of the user, at any address
  double sums[kSums] = {};
  float block[kBlock];
  for (size_t begin = 0; begin < n; begin += kBlock) {
    const size_t count = HWY_MIN(kBlock, n - begin);
    std::fill(block + count, block + (count + kSums - 1) / kSums * kSums, 0.0f);
    for (size_t i = 0; i < count; i += hn::Lanes(d)) {
      const size_t k = HWY_MIN(hn::Lanes(d), count - i);
      const auto stored = formats::LoadFirst(typename F::DS(), from + (begin + i) * sizeof(typename F::Stored), k);
      formats::StoreFirst(F::Widen(stored), d, block + i, k);
    }
    AddSquares(block, (count + kSums - 1) / kSums * kSums, sums);
  }
  double sum = 0;
  for (const double part : sums) sum += part;
  return sum;
}

double SquareNormOf(DataType type, const void* elements, size_t n) {
  if (type == DataType::float16) return SquareNorm<formats::HalfFloat>(elements, n);
  if (type == DataType::bfloat16) return SquareNorm<formats::BrainFloat>(elements, n);
  return SquareNorm<formats::Plain<float>>(elements, n);
}

// Whether all are finite.
bool Accumulate(const float* gradient, const float* velocity, float momentum, float scale, size_t n, float* value) {
  const hn::ScalableTag<float> d;
  const hn::RebindToSigned<decltype(d)> di;
  const size_t lanes = hn::Lanes(d);
  const auto m = hn::Set(d, momentum), s = hn::Set(d, scale);
  auto greatest = hn::Zero(di);
  for (size_t i = 0; i < n; i += lanes) {
    const size_t k = HWY_MIN(lanes, n - i);
    const auto u = hn::Add(hn::Mul(m, formats::LoadFirst(d, velocity + i, k)), hn::Mul(s, formats::LoadFirst(d, gradient + i, k)));
    greatest = hn::Max(greatest, hn::And(hn::BitCast(di, u), hn::Set(di, 0x7FFFFFFF)));
    formats::StoreFirst(u, d, value + i, k);
  }
  return hn::GetLane(hn::MaxOfLanes(di, greatest)) < 0x7F800000;
}

}  // namespace tutti::momentum::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tutti {
namespace momentum {
HWY_EXPORT(SquareNormOf);
HWY_EXPORT(Accumulate);
}  // namespace momentum

float clipping(const CodecSpec& spec, const void* gradient, DataType type, size_t n, uint32_t ranks) {
  using namespace momentum;
  if (spec.clip_norm == 0) return 1;
  const kernels::StandardFloats mode;
  const double norm = std::sqrt(HWY_DYNAMIC_DISPATCH(SquareNormOf)(type, gradient, n));
  const double most = spec.clip_norm / std::sqrt(static_cast<double>(ranks));
  return std::isfinite(norm) && norm > most ? static_cast<float>(most / norm) : 1;
}

void add_momentum(const CodecSpec& spec, const float* gradient, float* velocity, float scale, size_t n, float* value) {
  using namespace momentum;
  const kernels::StandardFloats mode;
  const auto m = static_cast<float>(spec.momentum);
  if (HWY_DYNAMIC_DISPATCH(Accumulate)(gradient, velocity, m, scale, n, value)) std::memcpy(velocity, value, n * sizeof *value);
}

}  // namespace tutti
#endif
