// The kernels' arithmetic written down plainly, one element at a time, sharing nothing with src/kernels.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "vocabulary.h"

namespace tutti::reference {

// A 16-bit float of the given shape.  Decoded and encoded by the definition of the format, in float64, which holds
// every value and every midpoint between two values exactly.
template <int kExponentBits, int kMantissaBits>
struct Narrow {
  uint16_t bits;

  static constexpr int kBias = (1 << (kExponentBits - 1)) - 1;
  static constexpr int kSpecial = (1 << kExponentBits) - 1;  // exponent of infinities and not-a-numbers
  static constexpr int kHidden = 1 << kMantissaBits;

  float decode() const {
    const double sign = bits >> 15 ? -1.0 : 1.0;
    const int exponent = bits >> kMantissaBits & kSpecial;
    const int mantissa = bits & (kHidden - 1);
    if (exponent == kSpecial) return mantissa ? std::nanf("") : static_cast<float>(sign) * INFINITY;
    const double magnitude = exponent == 0 ? std::ldexp(mantissa, 1 - kBias - kMantissaBits)
                                           : std::ldexp(kHidden + mantissa, exponent - kBias - kMantissaBits);
    return static_cast<float>(sign * magnitude);
  }

  static Narrow encode(float value) {
    if (std::isnan(value)) return make(0, kSpecial, kHidden / 2);
    const int sign = std::signbit(value) ? 1 : 0;
    if (std::isinf(value)) return make(sign, kSpecial, 0);
    if (value == 0) return make(sign, 0, 0);
    const double magnitude = std::fabs(static_cast<double>(value));
    int exponent = std::max(std::ilogb(magnitude), 1 - kBias);
    // The default mode: to nearest, ties to even.
    long steps = std::lrint(std::ldexp(magnitude, kMantissaBits - exponent));
    if (steps == 2 * kHidden) {
      steps = kHidden;
      ++exponent;
    }
    if (exponent > kBias) return make(sign, kSpecial, 0);
    return steps < kHidden ? make(sign, 0, steps) : make(sign, exponent + kBias, steps - kHidden);
  }

  static Narrow make(int sign, int exponent, long mantissa) {
    return {static_cast<uint16_t>(sign << 15 | exponent << kMantissaBits | static_cast<int>(mantissa))};
  }
};
using Half = Narrow<5, 10>;
using Brain = Narrow<8, 7>;

template <class T>
inline constexpr bool kNarrow = std::is_same_v<T, Half> || std::is_same_v<T, Brain>;

// The type of the arithmetic.
template <class T>
auto widen(T element) {
  if constexpr (kNarrow<T>) {
    return element.decode();
  } else {
    return element;
  }
}

template <class T, class W>
T round(W value) {
  if constexpr (kNarrow<T>) {
    return T::encode(value);
  } else if constexpr (std::is_floating_point_v<T>) {
    return std::isnan(value) ? std::numeric_limits<T>::quiet_NaN() : value;
  } else {
    return value;
  }
}

template <class W>
W apply(ReduceOp op, W a, W b) {
  if constexpr (std::is_floating_point_v<W>) {
    const bool nan = std::isnan(a) || std::isnan(b);
    switch (op) {
      case ReduceOp::sum:
      case ReduceOp::avg: return a + b;
      case ReduceOp::prod: return a * b;
      case ReduceOp::min: return nan ? std::numeric_limits<W>::quiet_NaN() : a < b ? a : b;
      case ReduceOp::max: return nan ? std::numeric_limits<W>::quiet_NaN() : a > b ? a : b;
      default: break;  // not defined
    }
  } else {
    switch (op) {
      case ReduceOp::sum:
      case ReduceOp::avg: return static_cast<W>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
      case ReduceOp::prod: return static_cast<W>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
      case ReduceOp::min: return std::min(a, b);
      case ReduceOp::max: return std::max(a, b);
      case ReduceOp::band: return static_cast<W>(a & b);
      case ReduceOp::bor: return static_cast<W>(a | b);
      case ReduceOp::bxor: return static_cast<W>(a ^ b);
      case ReduceOp::custom: break;  // the caller's
    }
  }
  return a;
}

template <class W>
W divide(W value, uint32_t divisor) {
  if (divisor <= 1) return value;
  if constexpr (std::is_floating_point_v<W>) {
    return value / static_cast<W>(divisor);
  } else if constexpr (std::is_signed_v<W>) {
    return static_cast<W>(int64_t{value} / int64_t{divisor});
  } else {
    return static_cast<W>(uint64_t{value} / uint64_t{divisor});
  }
}

template <class T>
T fold(ReduceOp op, const std::vector<T>& contributions, uint32_t divisor) {
  auto value = widen(contributions[0]);
  for (size_t s = 1; s < contributions.size(); ++s) value = apply(op, value, widen(contributions[s]));
  return round<T>(divide(value, divisor));
}

// Calls `function` with a T{} that stands for `type`.
template <class Function>
void with_type(DataType type, Function function) {
  switch (type) {
    case DataType::int8: return function(int8_t{});
    case DataType::uint8: return function(uint8_t{});
    case DataType::int32: return function(int32_t{});
    case DataType::uint32: return function(uint32_t{});
    case DataType::int64: return function(int64_t{});
    case DataType::uint64: return function(uint64_t{});
    case DataType::float16: return function(Half{});
    case DataType::bfloat16: return function(Brain{});
    case DataType::float32: return function(float{});
    case DataType::float64: return function(double{});
    case DataType::int16: return function(int16_t{});
    case DataType::uint16: return function(uint16_t{});
  }
}

// As with_type, over bytes: element i of each source, folded to element i of the result.
inline std::vector<uint8_t> fold(DataType type, ReduceOp op, const std::vector<const uint8_t*>& sources, size_t count,
                                 uint32_t divisor) {
  std::vector<uint8_t> result(count * element_size(type));
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    std::vector<T> contributions(sources.size());
    for (size_t i = 0; i < count; ++i) {
      for (size_t s = 0; s < sources.size(); ++s) std::memcpy(&contributions[s], sources[s] + i * sizeof(T), sizeof(T));
      const T value = fold(op, contributions, divisor);
      std::memcpy(result.data() + i * sizeof(T), &value, sizeof(T));
    }
  });
  return result;
}

}  // namespace tutti::reference
