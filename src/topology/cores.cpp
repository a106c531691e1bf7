#include "cores.h"

#include <sched.h>

#include <algorithm>
#include <bit>
#include <vector>

#include "bytes.h"

namespace tutti {
namespace {

constexpr size_t kMostThreads = 1 << 16;  // hardware threads of one machine

uint32_t bits_of(char digit) {
  return static_cast<uint32_t>(std::max(hex_value(digit), 0));
}

}  // namespace

std::string allowed_cores() {
  // The kernel refuses a set that is shorter than its own.
  for (size_t threads = 1024; threads <= kMostThreads; threads *= 4) {
    std::vector<cpu_set_t> set(CPU_ALLOC_SIZE(threads) / sizeof(cpu_set_t));
    const size_t bytes = set.size() * sizeof(cpu_set_t);
    if (::sched_getaffinity(0, bytes, set.data()) != 0) continue;
    std::string text(threads / 4, '0');
    for (size_t i = 0; i < threads; ++i)
      if (CPU_ISSET_S(i, bytes, set.data())) text[i / 4] = kHexDigits[bits_of(text[i / 4]) | 1u << i % 4];
    text.resize(text.find_last_not_of('0') + 1);
    return text;
  }
  return "";
}

uint32_t count_cores(std::string_view set) {
  uint32_t count = 0;
  for (const char digit : set) count += static_cast<uint32_t>(std::popcount(bits_of(digit)));
  return count;
}

bool share_a_core(std::string_view a, std::string_view b) {
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    if (bits_of(a[i]) & bits_of(b[i])) return true;
  return false;
}

CoreShare core_share(std::string_view mine, std::span<const std::string> all, double quota) {
  const auto sharers = static_cast<uint32_t>(std::max<std::ptrdiff_t>(
      std::count_if(all.begin(), all.end(), [&](const std::string& set) { return share_a_core(mine, set); }), 1));
  uint32_t cores = count_cores(mine);
  if (cores == 0) return {};  // unknown
  if (quota > 0) cores = std::min(cores, std::max(static_cast<uint32_t>(std::min(quota, 1e6)), 1u));
  return {std::max(cores / sharers, 1u), sharers > cores};
}

}  // namespace tutti
