// A clock cheap enough to be read between two calls of 100 ns: the time-stamp counter where there is one.
#pragma once

#include <cstdint>

#include "clock.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace tutti::bench {

inline uint64_t ticks() {
#if defined(__x86_64__)
  return __rdtsc();
#elif defined(__aarch64__)
  uint64_t value;
  asm volatile("mrs %0, cntvct_el0" : "=r"(value));
  return value;
#else
  return now_ns();
#endif
}

class Stopwatch {
 public:
  // Compares both clocks for two milliseconds: the rate is right to 0.01 %.
  Stopwatch() {
    const uint64_t start = now_ns(), first = ticks();
    uint64_t end = start;
    while (end - start < 2'000'000) end = now_ns();
    ns_per_tick_ = static_cast<double>(end - start) / static_cast<double>(ticks() - first);
  }
  double ns(uint64_t elapsed_ticks) const { return static_cast<double>(elapsed_ticks) * ns_per_tick_; }

 private:
  double ns_per_tick_ = 1;
};

}  // namespace tutti::bench
