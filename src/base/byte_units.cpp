#include "byte_units.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <optional>

#include "words.h"

namespace tutti {
namespace {

struct Unit {
  std::string_view name;
  uint64_t factor;
};
constexpr uint64_t kKibi = 1024;
constexpr std::array<Unit, 5> kByteUnits{
    {{"T", kKibi* kKibi* kKibi* kKibi}, {"G", kKibi* kKibi* kKibi}, {"M", kKibi* kKibi}, {"K", kKibi}, {"", 1}}};
constexpr std::array<Unit, 6> kTimeUnits{
    {{"h", 3'600'000'000'000}, {"m", 60'000'000'000}, {"s", 1'000'000'000}, {"ms", 1'000'000}, {"us", 1'000}, {"ns", 1}}};

struct NumberAndUnit {
  uint64_t number;
  std::string_view unit;
};

std::optional<NumberAndUnit> split_unit(std::string_view text) {
  text = trim(text);
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = parse_number(text.substr(0, digits));
  if (!number) return std::nullopt;
  return NumberAndUnit{*number, trim(text.substr(digits))};
}

Result<uint64_t> multiply(std::string_view text, uint64_t number, uint64_t factor) {
  uint64_t product = 0;
  if (__builtin_mul_overflow(number, factor, &product))
    return Status(Code::invalid_argument, in_quotes(text) + " is more than 64 bits can hold");
  return product;
}

std::string with_decimals(double value, std::string_view unit) {
  char number[32];
  std::snprintf(number, sizeof number, value < 10 ? "%.1f" : "%.0f", value);
  std::string text = number;
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text + " " + std::string(unit);
}

}  // namespace

Result<uint64_t> parse_bytes(std::string_view text) {
  const auto parts = split_unit(text);
  if (parts) {
    std::string unit;  // "KiB", "kb", "k" → "K"
    for (const char c : parts->unit) unit += static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
    if (unit.ends_with("B")) unit.pop_back();
    if (unit.ends_with("I") && unit.size() == 2 && parts->unit.size() == 3) unit.pop_back();
    for (const Unit& known : kByteUnits)
      if (unit == known.name) return multiply(text, parts->number, known.factor);
  }
  return Status(Code::invalid_argument,
                in_quotes(text) + " is no size; expected bytes, with K, M, G or T for powers of 1024, such as 64K");
}

std::string format_bytes(uint64_t bytes) {
  for (const Unit& unit : kByteUnits)
    if (bytes > 0 && bytes % unit.factor == 0) return std::to_string(bytes / unit.factor) + std::string(unit.name);
  return "0";
}

std::string describe_bytes(uint64_t bytes) {
  for (const Unit& unit : kByteUnits)
    if (bytes >= unit.factor && unit.factor > 1)
      return with_decimals(static_cast<double>(bytes) / static_cast<double>(unit.factor), std::string(unit.name) + "iB");
  return std::to_string(bytes) + " B";
}

Result<uint64_t> parse_duration(std::string_view text) {
  const auto parts = split_unit(text);
  if (parts) {
    const std::string_view unit = parts->unit.empty() ? "s" : parts->unit == "min" ? "m" : parts->unit;
    for (const Unit& known : kTimeUnits)
      if (unit == known.name) return multiply(text, parts->number, known.factor);
  }
  return Status(Code::invalid_argument,
                in_quotes(text) + " is no duration; expected seconds, or a number with us, ms, s, m or h, such as 10m");
}

std::string format_duration(uint64_t nanoseconds) {
  for (const Unit& unit : kTimeUnits)
    if (nanoseconds > 0 && nanoseconds % unit.factor == 0)
      return std::to_string(nanoseconds / unit.factor) + std::string(unit.name);
  return "0s";
}

std::string describe_duration(uint64_t nanoseconds) {
  for (const Unit& unit : kTimeUnits)
    if (nanoseconds >= unit.factor * (unit.name == "h" || unit.name == "m" ? 2 : 1))
      return with_decimals(static_cast<double>(nanoseconds) / static_cast<double>(unit.factor),
                           unit.name == "m" ? "min" : unit.name);
  return "0 s";
}

}  // namespace tutti
