// How elements are stored, widened, reduced, divided and rounded: bit for bit what src/kernels does (kernels.h says
// how).  That needs a compiler which neither contracts a product and a sum, nor flushes denormals, nor approximates
// quotients: nvcc with -fmad=false.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

#include "machine.h"

namespace tutti::cuda {

// ---- formats: Stored is the element in memory, Wide what is computed with ----

template <class T>
struct Plain {
  using Stored = T;
  using Wide = T;
  TUTTI_DEVICE static T widen(T v) { return v; }
  TUTTI_DEVICE static T round(T v) {
    if constexpr (std::is_floating_point_v<T>) {
      return v == v ? v : std::numeric_limits<T>::quiet_NaN();
    } else {
      return v;
    }
  }
};

// Upper half of a float32.
struct BrainFloat {
  using Stored = uint16_t;
  using Wide = float;
  TUTTI_DEVICE static float widen(uint16_t v) {
    const uint32_t bits = static_cast<uint32_t>(v) << 16;
    float f;
    std::memcpy(&f, &bits, sizeof f);
    return f;
  }
  TUTTI_DEVICE static uint16_t round(float v) {
    uint32_t bits;
    std::memcpy(&bits, &v, sizeof bits);
    // To even: a tie moves up only from an odd result.  Of a not-a-number the sum could carry into the sign.
    const uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
    return static_cast<uint16_t>(v == v ? rounded : 0x7FC0);
  }
};

// IEEE 754 binary16.
template <class Machine>
struct HalfFloat {
  using Stored = uint16_t;
  using Wide = float;
  TUTTI_DEVICE static float widen(uint16_t v) { return Machine::from_half(v); }
  TUTTI_DEVICE static uint16_t round(float v) { return v == v ? Machine::to_half(v) : uint16_t{0x7E00}; }
};

// ---- operators; integers wrap ----

struct Sum {
  template <class T>
  TUTTI_DEVICE static T apply(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      using Bits = std::make_unsigned_t<T>;
      return static_cast<T>(static_cast<Bits>(static_cast<Bits>(a) + static_cast<Bits>(b)));
    } else {
      return a + b;
    }
  }
};

// The one operator whose result is divided.
struct Average : Sum {};

struct Product {
  template <class T>
  TUTTI_DEVICE static T apply(T a, T b) {
    if constexpr (std::is_integral_v<T>) {
      // Not as int, which would overflow.
      using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
      return static_cast<T>(static_cast<Bits>(a) * static_cast<Bits>(b));
    } else {
      return a * b;
    }
  }
};

// `a` where it is better or not a number, else `b`, which then may be one itself.
struct Min {
  template <class T>
  TUTTI_DEVICE static T apply(T a, T b) {
    return a < b || a != a ? a : b;
  }
};
struct Max {
  template <class T>
  TUTTI_DEVICE static T apply(T a, T b) {
    return a > b || a != a ? a : b;
  }
};

// These may be taken of whole words.
struct Bitwise {};
struct BitAnd : Bitwise {
  template <class T>
  TUTTI_DEVICE static T apply(T a, T b) {
    return static_cast<T>(a & b);
  }
};
struct BitOr : Bitwise {
  template <class T>
  TUTTI_DEVICE static T apply(T a, T b) {
    return static_cast<T>(a | b);
  }
};
struct BitXor : Bitwise {
  template <class T>
  TUTTI_DEVICE static T apply(T a, T b) {
    return static_cast<T>(a ^ b);
  }
};

// ---- division by the number of contributions, of integers towards zero ----

struct Divisor {
  uint32_t value, inverse;  // 2^32 / value, rounded up; 0 where that is 2^32 or what is divided is less

  TUTTI_DEVICE explicit Divisor(uint32_t divisor)
      : value(divisor), inverse(divisor < 2 || divisor > 0xFFFF ? 0 : 0xFFFFFFFF / divisor + 1) {}

  // Of a number of at most 16 bits by 2 or more: multiplied by the inverse, whose error is too small to show.  To
  // divide each of the elements in 16 bytes would take longer than the memory does.
  TUTTI_DEVICE uint32_t narrow_quotient(uint32_t v) const { return static_cast<uint32_t>(uint64_t{inverse} * v >> 32); }
};

template <class T>
TUTTI_DEVICE T divide(T v, const Divisor& divisor) {
  if constexpr (std::is_floating_point_v<T>) {
    return v / static_cast<T>(divisor.value);
  } else {
    using Magnitude = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
    const auto quotient = [&](Magnitude m) -> Magnitude {
      if constexpr (sizeof(T) <= 2) {
        return divisor.narrow_quotient(m);
      } else {
        return m / divisor.value;
      }
    };
    const auto bits = static_cast<Magnitude>(v);
    if constexpr (std::is_signed_v<T>) {
      if (v < 0) return static_cast<T>(Magnitude{0} - quotient(Magnitude{0} - bits));
    }
    return static_cast<T>(quotient(bits));
  }
}

template <class Format, class Op>
TUTTI_DEVICE typename Format::Stored finish(typename Format::Wide v, const Divisor& divisor) {
  if constexpr (std::is_same_v<Op, Average>) {
    if (divisor.value > 1) v = divide(v, divisor);
  }
  return Format::round(v);
}

}  // namespace tutti::cuda
