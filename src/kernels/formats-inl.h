// How a stored element becomes a lane of arithmetic and back, and the operators on lanes.  Compiled once per
// target: included by kernels.cpp and the codecs through Highway's foreach_target, never by anything else.
#if defined(TUTTI_FORMATS_INL_H) == defined(HWY_TARGET_TOGGLE)  // Highway's per-target include guard
#ifdef TUTTI_FORMATS_INL_H
#undef TUTTI_FORMATS_INL_H
#else
#define TUTTI_FORMATS_INL_H
#endif

#include <hwy/highway.h>

#include <cstring>
#include <limits>
#include <type_traits>

// Highway 1.0.3 converts 16-bit floats by truncation and loses infinities where the processor has no instruction for
// it.
#undef TUTTI_HARDWARE_HALF
#if (HWY_TARGET <= HWY_AVX2 && HWY_ARCH_X86 && !defined(HWY_DISABLE_F16C)) || (HWY_ARCH_ARM_A64 && HWY_TARGET <= HWY_NEON)
#define TUTTI_HARDWARE_HALF 1
#else
#define TUTTI_HARDWARE_HALF 0
#endif

HWY_BEFORE_NAMESPACE();
namespace tutti::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// ---- vectors of elements at any address, which are read and written as bytes; and the first n ≤ Lanes(d) elements of
// one ----

#if HWY_TARGET == HWY_SCALAR  // one lane

template <class D>
HWY_INLINE hn::Vec<D> LoadAny(D d, const void* from) {
  hn::TFromD<D> lane;
  std::memcpy(&lane, from, sizeof lane);
  return hn::Set(d, lane);
}

template <class D>
HWY_INLINE void StoreAny(hn::Vec<D> v, D, void* to) {
  const hn::TFromD<D> lane = hn::GetLane(v);
  std::memcpy(to, &lane, sizeof lane);
}

template <class D>
HWY_INLINE hn::Vec<D> LoadFirst(D d, const void* from, size_t) {
  return LoadAny(d, from);
}

template <class D>
HWY_INLINE void StoreFirst(hn::Vec<D> v, D d, void* to, size_t) {
  StoreAny(v, d, to);
}

#else

template <class D>
using BytesOf = hn::Repartition<uint8_t, D>;

template <class D>
HWY_INLINE hn::Vec<D> LoadAny(D d, const void* from) {
  return hn::BitCast(d, hn::LoadU(BytesOf<D>(), static_cast<const uint8_t*>(from)));
}

template <class D>
HWY_INLINE void StoreAny(hn::Vec<D> v, D, void* to) {
  hn::StoreU(hn::BitCast(BytesOf<D>(), v), BytesOf<D>(), static_cast<uint8_t*>(to));
}

template <class D, class T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> LoadFirst(D d, const void* from, size_t n) {
  if (n == hn::Lanes(d)) return LoadAny(d, from);
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN T lanes[hn::MaxLanes(d)] = {};
  std::memcpy(lanes, from, n * sizeof(T));
  return hn::Load(d, lanes);
#else
  const BytesOf<D> d8;
  return hn::BitCast(d, hn::MaskedLoad(hn::FirstN(d8, n * sizeof(T)), d8, static_cast<const uint8_t*>(from)));
#endif
}

template <class D, class T = hn::TFromD<D>>
HWY_INLINE void StoreFirst(hn::Vec<D> v, D d, void* to, size_t n) {
  if (n == hn::Lanes(d)) return StoreAny(v, d, to);
#if HWY_MEM_OPS_MIGHT_FAULT
  HWY_ALIGN T lanes[hn::MaxLanes(d)];
  hn::Store(v, d, lanes);
  std::memcpy(to, lanes, n * sizeof(T));
#else
  const BytesOf<D> d8;
  hn::BlendedStore(hn::BitCast(d8, v), hn::FirstN(d8, n * sizeof(T)), d8, static_cast<uint8_t*>(to));
#endif
}

#endif

// ---- formats: Stored is the element in memory, D the lanes of arithmetic, as many as a vector DS of Stored ----

template <class T>
struct Plain {
  using Stored = T;
  using D = hn::ScalableTag<T>;
  using DS = D;
  static HWY_INLINE hn::Vec<D> Widen(hn::Vec<DS> v) { return v; }
  static HWY_INLINE hn::Vec<DS> Round(hn::Vec<D> v) {
    if constexpr (std::is_floating_point_v<T>) {
      return hn::IfThenElse(hn::IsNaN(v), hn::Set(D(), std::numeric_limits<T>::quiet_NaN()), v);
    } else {
      return v;
    }
  }
};

using Widened = hn::ScalableTag<float>;
using Packed = hn::Rebind<uint16_t, Widened>;
// Signed: compared and narrowed by one instruction each on every target.
using WidenedBits = hn::RebindToSigned<Widened>;

// Upper half of a float32.
struct BrainFloat {
  using Stored = uint16_t;
  using D = Widened;
  using DS = Packed;
  static HWY_INLINE hn::Vec<D> Widen(hn::Vec<DS> v) {
    return hn::BitCast(D(), hn::ShiftLeft<16>(hn::PromoteTo(hn::RebindToUnsigned<D>(), v)));
  }
  static HWY_INLINE hn::Vec<DS> Round(hn::Vec<D> v) {
    const hn::RebindToUnsigned<D> du;
    const auto bits = hn::BitCast(du, v);
    // To even: a tie moves up only from an odd result.
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
    const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7FFFu))));
    const auto nan = hn::RebindMask(du, hn::IsNaN(v));  // adding could carry a not-a-number into the sign
    return hn::DemoteTo(DS(), hn::BitCast(WidenedBits(), hn::IfThenElse(nan, hn::Set(du, 0x7FC0u), rounded)));
  }
};

// IEEE 754 binary16.
struct HalfFloat {
  using Stored = uint16_t;
  using D = Widened;
  using DS = Packed;
#if TUTTI_HARDWARE_HALF
  using Half = hn::Rebind<hwy::float16_t, D>;
  static HWY_INLINE hn::Vec<D> Widen(hn::Vec<DS> v) { return hn::PromoteTo(D(), hn::BitCast(Half(), v)); }
  static HWY_INLINE hn::Vec<DS> Round(hn::Vec<D> v) {
    const hn::RebindToSigned<DS> di;
    const auto half = hn::BitCast(di, hn::DemoteTo(Half(), v));
    const auto nan = hn::Gt(hn::And(half, hn::Set(di, int16_t{0x7FFF})), hn::Set(di, int16_t{0x7C00}));
    return hn::BitCast(DS(), hn::IfThenElse(nan, hn::Set(di, int16_t{0x7E00}), half));
  }
#else
  static HWY_INLINE hn::Vec<D> Widen(hn::Vec<DS> v) {
    const D d;
    const WidenedBits di;
    const auto bits = hn::BitCast(di, hn::PromoteTo(hn::RebindToUnsigned<D>(), v));
    const auto magnitude = hn::And(bits, hn::Set(di, 0x7FFF));
    const auto sign = hn::ShiftLeft<16>(hn::Sub(bits, magnitude));
    const auto rebias = hn::Set(di, (127 - 15) << 23);
    const auto normal = hn::Add(hn::ShiftLeft<13>(magnitude), rebias);
    const auto special = hn::Add(normal, rebias);  // infinities and not-a-numbers: the exponent's other end, 31 → 255
    const auto tiny = hn::BitCast(di, hn::Mul(hn::ConvertTo(d, magnitude), hn::Set(d, 0x1p-24f)));
    const auto finite = hn::IfThenElse(hn::Lt(magnitude, hn::Set(di, 0x0400)), tiny, normal);
    return hn::BitCast(d, hn::Or(sign, hn::IfThenElse(hn::Gt(magnitude, hn::Set(di, 0x7BFF)), special, finite)));
  }
  static HWY_INLINE hn::Vec<DS> Round(hn::Vec<D> v) {
    const D d;
    const WidenedBits di;
    const auto bits = hn::BitCast(di, v);
    const auto magnitude = hn::And(bits, hn::Set(di, 0x7FFFFFFF));
    const auto sign =
        hn::And(hn::BitCast(di, hn::ShiftRight<16>(hn::BitCast(hn::RebindToUnsigned<D>(), bits))), hn::Set(di, 0x8000));
    const auto odd = hn::And(hn::ShiftRight<13>(magnitude), hn::Set(di, 1));
    const auto rebased = hn::Add(magnitude, hn::Set(di, 0xFFF - ((127 - 15) << 23)));
    // Carries into the exponent, at 65520 up to infinity.
    const auto normal = hn::ShiftRight<13>(hn::Add(rebased, odd));
    // Below 2^-14 the format is fixed-point with step 2^-24, which is the spacing of float32 between 0.5 and 1.
    const auto half = hn::Set(d, 0.5f);
    const auto tiny = hn::Sub(hn::BitCast(di, hn::Add(hn::BitCast(d, magnitude), half)), hn::BitCast(di, half));
    const auto finite = hn::IfThenElse(hn::Lt(magnitude, hn::Set(di, 0x38800000)), tiny, hn::Min(normal, hn::Set(di, 0x7C00)));
    const auto nan = hn::Gt(magnitude, hn::Set(di, 0x7F800000));
    return hn::DemoteTo(DS(), hn::IfThenElse(nan, hn::Set(di, 0x7E00), hn::Or(sign, finite)));
  }
#endif
};

// ---- operators ----

struct Sum {
  template <class D, class V>
  static HWY_INLINE V Apply(D, V a, V b) {
    return hn::Add(a, b);
  }
};

struct Prod {
  template <class D, class V>
  static HWY_INLINE V Apply(D d, V a, V b) {
    using T = hn::TFromD<D>;
    if constexpr (sizeof(T) <= 2 && HWY_TARGET == HWY_SCALAR) {
      // Not as int, which would overflow.
      return hn::Set(d, static_cast<T>(static_cast<uint32_t>(hn::GetLane(a)) * static_cast<uint32_t>(hn::GetLane(b))));
    } else if constexpr (sizeof(T) > 1) {
      return hn::Mul(a, b);
    } else {
#if HWY_TARGET != HWY_SCALAR
      // There is no 8-bit multiplication: the low byte of a 16-bit product is the product of the low bytes.
      const hn::Repartition<uint16_t, D> d16;
      const auto a16 = hn::BitCast(d16, a);
      const auto b16 = hn::BitCast(d16, b);
      const auto odd = hn::ShiftLeft<8>(hn::Mul(hn::ShiftRight<8>(a16), hn::ShiftRight<8>(b16)));
      return hn::BitCast(d, hn::Or(odd, hn::And(hn::Mul(a16, b16), hn::Set(d16, uint16_t{0x00FF}))));
#endif
    }
  }
};

struct BitAnd {
  template <class D, class V>
  static HWY_INLINE V Apply(D, V a, V b) {
    return hn::And(a, b);
  }
};

struct BitOr {
  template <class D, class V>
  static HWY_INLINE V Apply(D, V a, V b) {
    return hn::Or(a, b);
  }
};

struct BitXor {
  template <class D, class V>
  static HWY_INLINE V Apply(D, V a, V b) {
    return hn::Xor(a, b);
  }
};

// Comparisons instead of Highway's Min and Max, whose answers for not-a-numbers and zeros depend on the target: `a`
// where it is better or not a number, else `b`, which then may be one itself.
struct Min {
  template <class D, class V>
  static HWY_INLINE V Apply(D, V a, V b) {
    if constexpr (std::is_floating_point_v<hn::TFromD<D>>) {
      return hn::IfThenElse(hn::Or(hn::Lt(a, b), hn::IsNaN(a)), a, b);
    } else {
      return hn::Min(a, b);
    }
  }
};

struct Max {
  template <class D, class V>
  static HWY_INLINE V Apply(D, V a, V b) {
    if constexpr (std::is_floating_point_v<hn::TFromD<D>>) {
      return hn::IfThenElse(hn::Or(hn::Gt(a, b), hn::IsNaN(a)), a, b);
    } else {
      return hn::Max(a, b);
    }
  }
};

// ---- division by the number of contributions ----

template <class T>
HWY_NOINLINE void DivideEach(T* lanes, size_t n, uint32_t divisor) {
  using Wide = std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>;  // holds every T and every divisor
  for (size_t i = 0; i < n; ++i) lanes[i] = static_cast<T>(static_cast<Wide>(lanes[i]) / static_cast<Wide>(divisor));
}

template <class D, class V>
HWY_INLINE V Divide(D d, V v, uint32_t divisor) {
  using T = hn::TFromD<D>;
  if constexpr (std::is_floating_point_v<T>) {
    // Not times the reciprocal: averages of exact sums are exact.
    return hn::Div(v, hn::Set(d, static_cast<T>(divisor)));
  } else {
    HWY_ALIGN T lanes[hn::MaxLanes(d)];
    hn::Store(v, d, lanes);
    DivideEach(lanes, hn::Lanes(d), divisor);
    return hn::Load(d, lanes);
  }
}

}  // namespace tutti::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
