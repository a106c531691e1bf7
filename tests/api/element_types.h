// The element types as C++ types, with 16-bit floats converted by arithmetic instead of by the library's own code.
#pragma once

#include <tutti/tutti.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace tutti::test {

// An IEEE-like 16-bit float of `Digits` significant bits (the hidden one included) whose smallest normal number is
// 2^MinExponent.
template <int Digits, int MinExponent>
struct Float16 {
  uint16_t bits;
  static constexpr int kMantissaBits = Digits - 1;
  static constexpr int kExponentMask = (1 << (15 - kMantissaBits)) - 1;

  static Float16 narrow(double value) {  // to nearest, ties to even
    const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
    const double size = std::fabs(value);
    if (std::isnan(value)) return {static_cast<uint16_t>(sign | kExponentMask << kMantissaBits | 1 << (kMantissaBits - 1))};
    if (size == 0) return {sign};
    if (std::isinf(value)) return {static_cast<uint16_t>(sign | kExponentMask << kMantissaBits)};
    const int exponent = std::max(std::ilogb(size), MinExponent);
    const auto units = static_cast<int>(std::nearbyint(std::ldexp(size, kMantissaBits - exponent)));
    // Units carry into the exponent by themselves: 2^kMantissaBits of them are exponent field 1, twice as many the next
    // one.
    const int field = units + ((exponent - MinExponent) << kMantissaBits);
    const int infinity = kExponentMask << kMantissaBits;
    return {static_cast<uint16_t>(sign | (field < infinity ? field : infinity))};
  }

  double widen() const {
    const int exponent = bits >> kMantissaBits & kExponentMask;
    const int mantissa = bits & ((1 << kMantissaBits) - 1);
    double size = 0;
    if (exponent == kExponentMask) {
      size = mantissa != 0 ? std::nan("") : HUGE_VAL;
    } else if (exponent == 0) {
      size = std::ldexp(mantissa, MinExponent - kMantissaBits);
    } else {
      size = std::ldexp(mantissa + (1 << kMantissaBits), exponent - 1 + MinExponent - kMantissaBits);
    }
    return (bits & 0x8000) != 0 ? -size : size;
  }
};

using Half = Float16<11, -14>;
using BFloat16 = Float16<8, -126>;

template <class T>
inline constexpr bool is_float16 = std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;
template <class T>
inline constexpr bool is_real = is_float16<T> || std::is_floating_point_v<T>;

template <class T>
double widen(T value) {
  if constexpr (is_float16<T>) {
    return value.widen();
  } else {
    return static_cast<double>(value);
  }
}

template <class T>
T narrow(double value) {
  if constexpr (is_float16<T>) {
    return T::narrow(value);
  } else {
    return static_cast<T>(value);
  }
}

// Half the distance between 1 and the next number: what one rounding can cost, relatively.
template <class T>
double unit_roundoff() {
  if constexpr (is_float16<T>) {
    return std::ldexp(1, -T::kMantissaBits - 1);
  } else {
    return std::is_same_v<T, float> ? 0x1p-24 : 0x1p-53;
  }
}

template <class T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <class T>
void store(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

// Calls visitor(T{}) with the C++ type of `dtype`.
template <class Visitor>
auto visit_dtype(tutti_dtype dtype, Visitor&& visitor) {
  switch (dtype) {
    case TUTTI_INT8: return visitor(int8_t{});
    case TUTTI_UINT8: return visitor(uint8_t{});
    case TUTTI_INT32: return visitor(int32_t{});
    case TUTTI_UINT32: return visitor(uint32_t{});
    case TUTTI_INT64: return visitor(int64_t{});
    case TUTTI_UINT64: return visitor(uint64_t{});
    case TUTTI_FLOAT16: return visitor(Half{});
    case TUTTI_BFLOAT16: return visitor(BFloat16{});
    case TUTTI_FLOAT32: return visitor(float{});
    case TUTTI_FLOAT64: break;
    case TUTTI_INT16: return visitor(int16_t{});
    case TUTTI_UINT16: return visitor(uint16_t{});
  }
  return visitor(double{});
}

inline size_t element_bytes(tutti_dtype dtype) {
  return visit_dtype(dtype, [](auto tag) { return sizeof tag; });
}

inline bool is_real_dtype(tutti_dtype dtype) {
  return visit_dtype(dtype, [](auto tag) { return is_real<decltype(tag)>; });
}

}  // namespace tutti::test
