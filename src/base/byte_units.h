// Sizes and durations as people write them.  Suffixes of sizes are powers of 1024.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "status.h"

namespace tutti {

// "65536", "64K", "64 KiB", "64kb", "1M", "2G", "1T", "0".
Result<uint64_t> parse_bytes(std::string_view text);
// "64K" where exact, as parse_bytes reads it back; for settings and tables.
std::string format_bytes(uint64_t bytes);
// "64 KiB", "1.5 MiB", "17 B"; for sentences.
std::string describe_bytes(uint64_t bytes);

// "600" and "600s" are seconds, "10m" minutes, "500ms", "20us", "1h"; in nanoseconds.
Result<uint64_t> parse_duration(std::string_view text);
// "10m", "1500ms" … the largest unit that is exact, as parse_duration reads it back.
std::string format_duration(uint64_t nanoseconds);
// "0.3 s", "12 ms", "10 min"; for sentences.
std::string describe_duration(uint64_t nanoseconds);

}  // namespace tutti
