// Monotonic time in nanoseconds.
#pragma once

#include <algorithm>
#include <cstdint>
#include <ctime>

namespace tutti {

inline constexpr uint64_t kMillisecond = 1'000'000, kSecond = 1'000'000'000;

inline uint64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * kSecond + static_cast<uint64_t>(t.tv_nsec);
}

// The timeout of poll() and epoll_wait(): until `until` in whole milliseconds, rounded up, a minute at most.  -1 for
// UINT64_MAX: no timeout.
inline int wait_ms(uint64_t now, uint64_t until) {
  if (until == UINT64_MAX) return -1;
  return until <= now ? 0 : static_cast<int>(std::min<uint64_t>((until - now - 1) / kMillisecond + 1, 60'000));
}

inline void pause_for(uint64_t ns) {
  const timespec time{static_cast<time_t>(ns / kSecond), static_cast<long>(ns % kSecond)};
  ::nanosleep(&time, nullptr);
}

}  // namespace tutti
