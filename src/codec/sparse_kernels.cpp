#include "sparse_kernels.h"

#include <bit>
#include <cstring>

// Everything up to HWY_ONCE is compiled once per target, by this file including itself.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "sparse_kernels.cpp"
#include <hwy/foreach_target.h>  // before highway.h

#include <hwy/highway.h>

#include "formats-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tutti::sparse::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using kernels::HWY_NAMESPACE::BrainFloat;
using kernels::HWY_NAMESPACE::HalfFloat;
using kernels::HWY_NAMESPACE::LoadFirst;
using kernels::HWY_NAMESPACE::StoreFirst;

using D = hn::CappedTag<float, 16>;  // at most 16 lanes, so that vectors divide words and groups
using DI = hn::RebindToSigned<D>;
using V = hn::Vec<D>;
using VI = hn::Vec<DI>;

HWY_INLINE VI Key(V v) { return hn::And(hn::BitCast(DI(), v), hn::Set(DI(), 0x7FFFFFFF)); }

// value + residual, whole vectors and the first `n` lanes of one (then zeros).
struct Sum {
  const float* value;
  const float* residual;  // or null

  HWY_INLINE V At(size_t i) const {
    const V v = hn::LoadU(D(), value + i);
    return residual != nullptr ? hn::Add(v, hn::LoadU(D(), residual + i)) : v;
  }
  HWY_INLINE V First(size_t i, size_t n) const {
    const V v = LoadFirst(D(), value + i, n);
    return residual != nullptr ? hn::Add(v, LoadFirst(D(), residual + i, n)) : v;
  }
};

HWY_INLINE int32_t Greatest(VI keys) { return hn::GetLane(hn::MaxOfLanes(DI(), keys)); }

int32_t SurveyAll(const Sum& sum, size_t n) {
  const size_t lanes = hn::Lanes(D());
  VI even = hn::Zero(DI()), odd = even;
  size_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    even = hn::Max(even, Key(sum.At(i)));
    odd = hn::Max(odd, Key(sum.At(i + lanes)));
  }
  for (; i < n; i += lanes) even = hn::Max(even, Key(sum.First(i, HWY_MIN(lanes, n - i))));
  return Greatest(hn::Max(even, odd));
}

int32_t Survey(const float* value, const float* residual, size_t n, float* maxima, size_t groups) {
  const D d;
  const size_t lanes = hn::Lanes(d);
  const Sum sum{value, residual};
  if (groups == 0) return SurveyAll(sum, n);
  for (size_t g = 0; g < groups; g += lanes) hn::StoreU(hn::BitCast(d, Key(sum.At(g))), d, maxima + g);
  size_t row = groups;
  for (; row + 2 * groups <= n; row += 2 * groups) {
    for (size_t g = 0; g < groups; g += lanes) {
      const VI two = hn::Max(Key(sum.At(row + g)), Key(sum.At(row + groups + g)));
      hn::StoreU(hn::BitCast(d, hn::Max(two, hn::BitCast(DI(), hn::LoadU(d, maxima + g)))), d, maxima + g);
    }
  }
  for (; row < n; row += groups) {
    for (size_t g = 0; g < groups && row + g < n; g += lanes) {
      const VI keys = Key(sum.First(row + g, HWY_MIN(lanes, n - row - g)));
      hn::StoreU(hn::BitCast(d, hn::Max(keys, hn::BitCast(DI(), hn::LoadU(d, maxima + g)))), d, maxima + g);
    }
  }
  return SurveyAll(Sum{maxima, nullptr}, groups);
}

// The marks of `count` ≤ 64 elements of the sum from i on, which is written back where there is a residual.
HWY_INLINE uint64_t MarkWord(const Sum& sum, float* residual, size_t i, size_t count, VI above) {
  const D d;
  const size_t lanes = hn::Lanes(d);
  uint64_t word = 0;
  for (size_t j = 0; j < count; j += lanes) {
    const size_t n = HWY_MIN(lanes, count - j);
    const V p = sum.First(i + j, n);
    if (residual != nullptr) StoreFirst(p, d, residual + i + j, n);
    uint8_t bits[8] = {};
    hn::StoreMaskBits(DI(), hn::Gt(Key(p), above), bits);
    uint64_t part;
    std::memcpy(&part, bits, sizeof part);
    word |= part << j;
  }
  return word;
}

void AddAndMark(const float* value, float* residual, size_t n, int32_t above, uint64_t* marks) {
  const Sum sum{value, residual};
  const VI limit = hn::Set(DI(), above);
  size_t i = 0;
  for (; i + 64 <= n; i += 64) marks[i / 64] = MarkWord(sum, residual, i, 64, limit);
  if (i < n) marks[i / 64] = MarkWord(sum, residual, i, n - i, limit);
}

// How many of n numbers have a key > above.
HWY_INLINE size_t CountAbove(const float* p, size_t n, int32_t above) {
  const D d;
  const size_t lanes = hn::Lanes(d);
  const VI limit = hn::Set(DI(), above);
  const auto minus_one = [&](V v) HWY_ATTR { return hn::VecFromMask(DI(), hn::Gt(Key(v), limit)); };
  VI c0 = hn::Zero(DI()), c1 = c0, c2 = c0, c3 = c0;
  size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    c0 = hn::Sub(c0, minus_one(hn::LoadU(d, p + i)));
    c1 = hn::Sub(c1, minus_one(hn::LoadU(d, p + i + lanes)));
    c2 = hn::Sub(c2, minus_one(hn::LoadU(d, p + i + 2 * lanes)));
    c3 = hn::Sub(c3, minus_one(hn::LoadU(d, p + i + 3 * lanes)));
  }
  for (; i < n; i += lanes) c0 = hn::Sub(c0, minus_one(LoadFirst(d, p + i, HWY_MIN(lanes, n - i))));
  return static_cast<size_t>(hn::GetLane(hn::SumOfLanes(DI(), hn::Add(hn::Add(c0, c1), hn::Add(c2, c3)))));
}

// Bisection of the bits.  Always: at least k keys are ≥ low, and `beyond` < k of them ≥ high.
Cut FindCut(const float* p, size_t n, int32_t low, int32_t greatest, size_t k, size_t slack) {
  int32_t high = greatest + 1;
  size_t beyond = 0;
  while (high - low > 1) {
    const int32_t middle = low + (high - low) / 2;
    const size_t count = CountAbove(p, n, middle - 1);
    if (count < k) {
      high = middle;
      beyond = count;
    } else if (count <= k + slack) {
      return {middle - 1, 0};
    } else {
      low = middle;
    }
  }
  return {low, k - beyond};
}

size_t List(const uint64_t* marks, size_t words, uint32_t base, uint32_t* index, size_t room) {
  size_t count = 0;
  for (size_t w = 0; w < words && count <= room; ++w, base += 64) {
    uint64_t bits = marks[w];
    const size_t here = hwy::PopCount(bits);
    uint32_t* to = index + count;
    for (int j = 0; j < 4; ++j) {  // whether there are or not: a branch on each would often be mispredicted
      to[j] = base + static_cast<uint32_t>(std::countr_zero(bits));
      bits &= bits - 1;
    }
    if (here > 4) {
      for (size_t j = 4; j < here; ++j) {
        to[j] = base + static_cast<uint32_t>(std::countr_zero(bits));
        bits &= bits - 1;
      }
    }
    count += here;
  }
  return count;
}

// ---- values: how a packet holds them ----

struct AsFloat {
  using Stored = float;
  using DS = D;
  explicit AsFloat(float /*scale*/) {}
  HWY_INLINE hn::Vec<DS> Round(V v) const { return v; }
  HWY_INLINE V Widen(hn::Vec<DS> v) const { return v; }
  HWY_INLINE bool Valid(hn::Vec<DS> v) const { return Greatest(Key(v)) < kNotFinite; }
};

template <class Format, uint32_t kGreatest>  // bits of the greatest finite number of the format, as a float32
struct AsHalf {
  using Stored = uint16_t;
  using DS = hn::Rebind<uint16_t, D>;
  explicit AsHalf(float /*scale*/) {}
  HWY_INLINE hn::Vec<DS> Round(V v) const {
    const V greatest = hn::BitCast(D(), hn::Set(DI(), static_cast<int32_t>(kGreatest)));
    return Format::Round(hn::Min(hn::Max(v, hn::Neg(greatest)), greatest));
  }
  HWY_INLINE V Widen(hn::Vec<DS> v) const { return Format::Widen(v); }
  HWY_INLINE bool Valid(hn::Vec<DS> v) const { return Greatest(Key(Format::Widen(v))) < kNotFinite; }
};

struct AsByte {
  using Stored = int8_t;
  using DS = hn::Rebind<int8_t, D>;
  explicit AsByte(float scale) : scale_(scale) {}
  HWY_INLINE hn::Vec<DS> Round(V v) const {
    if (scale_ == 0) return hn::Zero(DS());
    const D d;
    const V most = hn::Set(d, 127.0f), shift = hn::Set(d, 0x1.8p23f);
    const V q = hn::Min(hn::Max(hn::Div(v, hn::Set(d, scale_)), hn::Neg(most)), most);
    const VI rounded = hn::BitCast(DI(), hn::Add(q, shift));  // to an integer, in the low bits: the spacing there is 1
    return hn::DemoteTo(DS(), hn::Sub(rounded, hn::BitCast(DI(), shift)));
  }
  HWY_INLINE V Widen(hn::Vec<DS> v) const { return hn::Mul(hn::ConvertTo(D(), hn::PromoteTo(DI(), v)), hn::Set(D(), scale_)); }
  HWY_INLINE bool Valid(hn::Vec<DS> v) const { return hn::AllFalse(DI(), hn::Eq(hn::PromoteTo(DI(), v), hn::Set(DI(), -128))); }

 private:
  float scale_;
};

using AsFp16 = AsHalf<HalfFloat, 0x477FE000>;
using AsBf16 = AsHalf<BrainFloat, 0x7F7F0000>;

template <class As>
void Round(float* values, size_t k, float scale, std::byte* to) {
  const As as(scale);
  const size_t lanes = hn::Lanes(D());
  for (size_t i = 0; i < k; i += lanes) {
    const size_t n = HWY_MIN(lanes, k - i);
    const V v = LoadFirst(D(), values + i, n);
    const auto stored = as.Round(v);
    typename As::Stored staged[16];
    hn::StoreU(stored, typename As::DS(), staged);
    std::memcpy(to + i * sizeof staged[0], staged, n * sizeof staged[0]);  // packets are not aligned to what they hold
    StoreFirst(hn::Sub(v, as.Widen(stored)), D(), values + i, n);
  }
}

template <class As>
bool Widen(const std::byte* from, size_t k, float scale, float* values) {
  const As as(scale);
  const size_t lanes = hn::Lanes(D());
  for (size_t i = 0; i < k; i += lanes) {
    const size_t n = HWY_MIN(lanes, k - i);
    typename As::Stored staged[16] = {};
    std::memcpy(staged, from + i * sizeof staged[0], n * sizeof staged[0]);
    const auto stored = hn::LoadU(typename As::DS(), staged);
    if (!as.Valid(stored)) return false;
    StoreFirst(as.Widen(stored), D(), values + i, n);
  }
  return true;
}

void RoundValues(ValueType type, float* values, size_t k, float scale, std::byte* to) {
  switch (type) {
    case ValueType::fp32: return Round<AsFloat>(values, k, scale, to);
    case ValueType::fp16: return Round<AsFp16>(values, k, scale, to);
    case ValueType::bf16: return Round<AsBf16>(values, k, scale, to);
    case ValueType::int8: return Round<AsByte>(values, k, scale, to);
  }
}

bool WidenValues(ValueType type, const std::byte* from, size_t k, float scale, float* values) {
  switch (type) {
    case ValueType::fp32: return Widen<AsFloat>(from, k, scale, values);
    case ValueType::fp16: return Widen<AsFp16>(from, k, scale, values);
    case ValueType::bf16: return Widen<AsBf16>(from, k, scale, values);
    case ValueType::int8: return Widen<AsByte>(from, k, scale, values);
  }
  return false;
}

void Divide(float* out, size_t n, uint32_t divisor) {
  const D d;
  const size_t lanes = hn::Lanes(d);
  const V by = hn::Set(d, static_cast<float>(divisor));
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(hn::Div(hn::LoadU(d, out + i), by), d, out + i);
  if (i < n) StoreFirst(hn::Div(LoadFirst(d, out + i, n - i), by), d, out + i, n - i);
}

}  // namespace tutti::sparse::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tutti::sparse {
HWY_EXPORT(Survey);
HWY_EXPORT(AddAndMark);
HWY_EXPORT(FindCut);
HWY_EXPORT(List);
HWY_EXPORT(RoundValues);
HWY_EXPORT(WidenValues);
HWY_EXPORT(Divide);

int32_t survey(const float* value, const float* residual, size_t n, float* maxima, size_t groups) {
  return HWY_DYNAMIC_DISPATCH(Survey)(value, residual, n, maxima, groups);
}

void add_and_mark(const float* value, float* residual, size_t n, int32_t above, uint64_t* marks) {
  HWY_DYNAMIC_DISPATCH(AddAndMark)(value, residual, n, above, marks);
}

Cut cut(const float* p, size_t n, int32_t low, int32_t greatest, size_t k, size_t slack) {
  return HWY_DYNAMIC_DISPATCH(FindCut)(p, n, low, greatest, k, slack);
}

size_t list(const uint64_t* marks, size_t words, uint32_t base, uint32_t* index, size_t room) {
  return HWY_DYNAMIC_DISPATCH(List)(marks, words, base, index, room);
}

void round_values(ValueType type, float* values, size_t k, float scale, std::byte* to) {
  HWY_DYNAMIC_DISPATCH(RoundValues)(type, values, k, scale, to);
}

bool widen_values(ValueType type, const std::byte* from, size_t k, float scale, float* values) {
  return HWY_DYNAMIC_DISPATCH(WidenValues)(type, from, k, scale, values);
}

void divide(float* out, size_t n, uint32_t divisor) { HWY_DYNAMIC_DISPATCH(Divide)(out, n, divisor); }

}  // namespace tutti::sparse
#endif
