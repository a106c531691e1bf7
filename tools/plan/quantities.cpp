#include "quantities.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <optional>
#include <utility>

#include "words.h"

namespace tutti {
namespace {

struct Quantity {
  double number;
  std::string_view unit;
};

std::optional<Quantity> split_quantity(std::string_view text) {
  text = trim(text);
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc() || !std::isfinite(number) || number < 0) return std::nullopt;
  return Quantity{number, trim(text.substr(static_cast<size_t>(end - text.data())))};
}

std::string three_digits(double value, const char* unit) {
  char text[48];
  std::snprintf(text, sizeof text, value >= 999.5 ? "%.0f %s" : "%.3g %s", value, unit);
  return text;
}

}  // namespace

Result<double> parse_rate(std::string_view text) {
  static constexpr std::array<std::pair<char, double>, 4> kPrefixes{{{'k', 1e3}, {'M', 1e6}, {'G', 1e9}, {'T', 1e12}}};
  if (auto quantity = split_quantity(text)) {
    std::string_view unit = quantity->unit;
    if (quantity->number == 0 && unit.empty()) return 0.0;
    double factor = 1;
    for (const auto& [letter, power] : kPrefixes)
      if (unit.starts_with(letter) || (letter == 'k' && unit.starts_with('K'))) factor = power;
    if (factor > 1) unit.remove_prefix(1);
    const bool bits = unit == "b/s" || unit == "bit/s" || unit == "bps", bytes = unit == "B/s";
    if ((bits || bytes) && quantity->number > 0) return (bits ? 8 : 1) / (quantity->number * factor);
  }
  return Status(Code::invalid_argument,
                in_quotes(text) + " is no rate; expected bits or bytes a second such as 100Gb/s or 12.5GB/s");
}

Result<double> parse_seconds(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, double>, 4> kUnits{{{"s", 1}, {"ms", 1e-3}, {"us", 1e-6}, {"ns", 1e-9}}};
  if (const auto quantity = split_quantity(text)) {
    if (quantity->number == 0 && quantity->unit.empty()) return 0.0;
    for (const auto& [unit, factor] : kUnits)
      if (quantity->unit == unit) return quantity->number * factor;
  }
  return Status(Code::invalid_argument, in_quotes(text) + " is no time; expected a number with ns, us, ms or s, such as 5us");
}

std::string describe_seconds(double seconds) {
  if (seconds < 1e-6) return three_digits(seconds * 1e9, "ns");
  if (seconds < 1e-3) return three_digits(seconds * 1e6, "us");
  return seconds < 1 ? three_digits(seconds * 1e3, "ms") : three_digits(seconds, "s");
}

std::string describe_amount(double bytes) {
  if (bytes < 1e3) return three_digits(bytes, "B");
  if (bytes < 1e6) return three_digits(bytes * 1e-3, "kB");
  return bytes < 1e9 ? three_digits(bytes * 1e-6, "MB") : three_digits(bytes * 1e-9, "GB");
}

std::string describe_rate(double byte_s) { return byte_s == 0 ? "no limit" : describe_amount(1 / byte_s) + "/s"; }

}  // namespace tutti
