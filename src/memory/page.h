// Pages of the system.
#pragma once

#include <cstddef>

namespace tutti::memory {

inline constexpr size_t kPage = 4096;

constexpr size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

}  // namespace tutti::memory
