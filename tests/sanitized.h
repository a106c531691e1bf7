// How much of a test runs.  Sanitizers make each step some ten times as slow and find their mistakes in the first cases
// of a kind, so in their builds long loops are short; whether every value is right, the plain build tells.
#pragma once

#include <algorithm>
#include <vector>

namespace tutti::test {

inline constexpr bool kSanitized = TUTTI_TEST_SANITIZED;  // of tests/meson.build

template <class Number>
constexpr Number fewer(Number all, Number few) {
  return kSanitized ? few : all;
}

// 1 … last, or few of them: the Fibonacci numbers up to 34, among which are even and odd ones, primes and powers of
// two.
inline std::vector<int> sizes_up_to(int last) {
  std::vector<int> sizes;
  if (kSanitized) {
    for (int size = 1, next = 2; size <= std::min(last, 34); next += size, size = next - size) sizes.push_back(size);
  } else {
    for (int size = 1; size <= last; ++size) sizes.push_back(size);
  }
  return sizes;
}

}  // namespace tutti::test
