// Operands for the tests: ordinary values, extreme ones and special ones, from a seed.
#pragma once

#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>
#include <random>
#include <vector>

#include "reference.h"
#include "vocabulary.h"

namespace tutti {

// Bit patterns at the edges of a float of `exponent_bits` and `mantissa_bits`: zero, the denormals' ends, one, the
// greatest, infinity, a quiet and a signalling not-a-number; each may get a sign.
template <class Bits>
Bits special_float(int exponent_bits, int mantissa_bits, std::mt19937_64& random) {
  const Bits one_step = 1;
  const Bits least_normal = static_cast<Bits>(one_step << mantissa_bits);
  const Bits infinity = static_cast<Bits>(((one_step << exponent_bits) - 1) << mantissa_bits);
  const Bits one = static_cast<Bits>(((one_step << (exponent_bits - 1)) - 1) << mantissa_bits);
  const Bits patterns[] = {0,
                           one_step,
                           static_cast<Bits>(least_normal - 1),
                           least_normal,
                           one,
                           static_cast<Bits>(one + 1),
                           static_cast<Bits>(infinity - 1),
                           infinity,
                           static_cast<Bits>(infinity | least_normal >> 1),
                           static_cast<Bits>(infinity | 1)};
  const Bits sign = static_cast<Bits>((random() & 1) << (exponent_bits + mantissa_bits));
  return static_cast<Bits>(patterns[random() % std::size(patterns)] | sign);
}

// An ordinary value: small integers and fractions, so that sums are often exact and ties happen; or any bits at all.
template <class T>
T ordinary(std::mt19937_64& random) {
  T value{};
  if (random() % 2 == 0) {
    const uint64_t bits = random();
    std::memcpy(&value, &bits, sizeof value);
  } else {
    const int small = static_cast<int>(random() % 400) - 200;
    if constexpr (reference::kNarrow<T>) {
      value = T::encode(static_cast<float>(small) / 16);
    } else if constexpr (std::is_floating_point_v<T>) {
      value = static_cast<T>(small) / 16;
    } else {
      value = static_cast<T>(small);
    }
  }
  return value;
}

template <class T>
T operand(std::mt19937_64& random) {
  T value = ordinary<T>(random);
  if (random() % 8 != 0) return value;
  if constexpr (std::is_integral_v<T>) {
    return random() % 2 == 0 ? std::numeric_limits<T>::max() : std::numeric_limits<T>::min();
  } else if constexpr (std::is_same_v<T, double>) {
    const auto bits = special_float<uint64_t>(11, 52, random);
    std::memcpy(&value, &bits, sizeof value);
  } else if constexpr (std::is_same_v<T, float>) {
    const auto bits = special_float<uint32_t>(8, 23, random);
    std::memcpy(&value, &bits, sizeof value);
  } else {
    value.bits =
        std::is_same_v<T, reference::Half> ? special_float<uint16_t>(5, 10, random) : special_float<uint16_t>(8, 7, random);
  }
  return value;
}

inline std::vector<uint8_t> operands(DataType type, size_t count, uint64_t seed) {
  std::vector<uint8_t> bytes(count * element_size(type));
  std::mt19937_64 random(seed);
  reference::with_type(type, [&](auto zero) {
    using T = decltype(zero);
    for (size_t i = 0; i < count; ++i) {
      const T value = operand<T>(random);
      std::memcpy(bytes.data() + i * sizeof(T), &value, sizeof(T));
    }
  });
  return bytes;
}

}  // namespace tutti
