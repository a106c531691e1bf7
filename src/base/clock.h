// Monotonic time in nanoseconds.
#pragma once

#include <cstdint>
#include <ctime>

namespace tutti {

inline constexpr uint64_t kMillisecond = 1'000'000, kSecond = 1'000'000'000;

inline uint64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * kSecond + static_cast<uint64_t>(t.tv_nsec);
}

}  // namespace tutti
