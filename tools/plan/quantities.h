// Rates and times with fractions, as people write them for machines.
#pragma once

#include <string>
#include <string_view>

#include "status.h"

namespace tutti {

// "100Gb/s", "12.5GB/s", "25 Gbit/s": powers of 1000; in seconds per byte.  "0": no cost, as of something infinitely
// fast.
Result<double> parse_rate(std::string_view text);
// "5us", "0.3us", "300ns", "1ms", "0"; in seconds.
Result<double> parse_seconds(std::string_view text);

std::string describe_seconds(double seconds);  // "12.3 us"
std::string describe_rate(double byte_s);      // "12.5 GB/s"; "no limit" for 0
std::string describe_amount(double bytes);     // "16.4 MB", powers of 1000

}  // namespace tutti
