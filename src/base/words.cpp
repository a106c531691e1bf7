#include "words.h"

#include <algorithm>
#include <charconv>

namespace tutti {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

constexpr size_t kLongestQuote = 80;
constexpr size_t kLongestCompared = 64;  // no word of ours is longer; keeps hostile input cheap

}  // namespace

std::string_view trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t start = 0;;) {
    const size_t end = text.find(separator, start);
    parts.push_back(text.substr(start, end - start));
    if (end == std::string_view::npos) return parts;
    start = end + 1;
  }
}

std::string in_quotes(std::string_view text) {
  std::string result = "\"";
  for (const char c : text.substr(0, kLongestQuote)) result += c >= ' ' && c <= '~' ? c : '?';
  return result + (text.size() > kLongestQuote ? "…\"" : "\"");
}

std::optional<uint64_t> parse_number(std::string_view text) {
  uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}

// Damerau's distance, restricted to swaps of neighbours, with three rows of the table.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before_last, last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const bool same = lower(a[i - 1]) == lower(b[j - 1]);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (same ? 0 : 1)});
      const bool swapped = i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) && lower(a[i - 2]) == lower(b[j - 1]);
      if (swapped) row[j] = std::min(row[j], before_last[j - 2] + 1);
    }
    before_last = std::move(last);
    last = row;
  }
  return last[b.size()];
}

std::optional<std::string_view> nearest_word(std::string_view text, std::span<const std::string_view> words) {
  if (text.empty() || text.size() > kLongestCompared) return std::nullopt;
  std::optional<std::string_view> nearest;
  size_t least = std::max<size_t>(1, std::min<size_t>(4, text.size() / 3)) + 1;  // a third of the letters may be wrong
  for (const std::string_view word : words) {
    const size_t distance = edit_distance(text, word);
    if (distance < least) least = distance, nearest = word;
  }
  return nearest;
}

std::string suggestion(std::string_view text, std::span<const std::string_view> words) {
  const auto word = nearest_word(text, words);
  return word ? "; did you mean " + in_quotes(*word) + "?" : "";
}

std::string listed(std::span<const std::string_view> words) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) text += i + 1 < words.size() ? ", " : " or ";
    text += words[i];
  }
  return text;
}

}  // namespace tutti
