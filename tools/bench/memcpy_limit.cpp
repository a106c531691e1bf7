#include "memcpy_limit.h"

#include <algorithm>
#include <cstring>
#include <vector>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace tutti::bench {
namespace {

constexpr uint64_t kUnit = 4096;  // copies are whole pages

using Copy = Status (*)(const Rotation& rotation, std::byte* to, const std::byte* from, size_t bytes);

Status plain(const Rotation& rotation, std::byte* to, const std::byte* from, size_t bytes) {
  if (rotation.device()) return rotation.device()->copy(to, from, bytes);
  std::memcpy(to, from, bytes);
  return {};
}

Status fill(const Rotation& rotation, std::byte* memory, unsigned char value, size_t bytes) {
  if (rotation.device()) return rotation.device()->fill(memory, value, bytes);
  std::memset(memory, value, bytes);
  return {};
}

#if defined(__x86_64__)
Status streamed(const Rotation&, std::byte* to, const std::byte* from, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 64) {
    for (size_t j = 0; j < 64; j += 16) {
      const __m128i value = _mm_load_si128(reinterpret_cast<const __m128i*>(from + i + j));
      _mm_stream_si128(reinterpret_cast<__m128i*>(to + i + j), value);
    }
  }
  _mm_sfence();
  return {};
}
#endif

// Gigabytes per second of the slowest rank: the median over repetitions of which each copies another slot.
Result<double> rate(const Job& job, const Rotation& rotation, const Stopwatch& watch, uint64_t bytes, Copy copy) {
  constexpr size_t kRepeats = 5;
  const size_t slots = rotation.slots(2 * bytes);
  std::vector<double> times;
  for (size_t i = 0; i < kRepeats; ++i) {
    std::byte* from = rotation.slot(i % slots, 2 * bytes);
    if (Status s = fill(rotation, from, static_cast<unsigned char>(i + 1), 2 * bytes); !s.ok()) return s;
    if (Status s = job.barrier(); !s.ok()) return s;
    const uint64_t start = ticks();
    if (Status s = copy(rotation, from + bytes, from, bytes); !s.ok()) return s;
    times.push_back(watch.ns(ticks() - start));
  }
  std::ranges::nth_element(times, times.begin() + kRepeats / 2);
  const auto all = job.gather(times[kRepeats / 2]);
  if (!all.ok()) return all.status();
  return static_cast<double>(bytes) / std::ranges::max(*all);
}

}  // namespace

Result<MemcpyLimit> measure_memcpy(const Job& job, const Rotation& rotation, const Stopwatch& watch, uint64_t bytes) {
  MemcpyLimit limit;
  limit.bytes = std::max(std::min(bytes, rotation.bytes() / 2) / kUnit * kUnit, kUnit);
  if (rotation.bytes() < 2 * kUnit) return limit;
  const auto plain_rate = rate(job, rotation, watch, limit.bytes, plain);
  if (!plain_rate.ok()) return plain_rate.status();
  limit.plain_gbps = *plain_rate;
#if defined(__x86_64__)
  if (rotation.device()) return limit;
  const auto streamed_rate = rate(job, rotation, watch, limit.bytes, streamed);
  if (!streamed_rate.ok()) return streamed_rate.status();
  limit.streamed_gbps = *streamed_rate;
#endif
  return limit;
}

}  // namespace tutti::bench
