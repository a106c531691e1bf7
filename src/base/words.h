// Helpers for reading words that people wrote and for suggesting the word that they meant.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tutti {

std::string_view trim(std::string_view text);                                // spaces and tabs off both ends
std::vector<std::string_view> split(std::string_view text, char separator);  // "a,,b" → "a", "", "b"; "" → ""

// The text between double quotes, cut after 80 bytes, bytes that do not print replaced by '?'.  For values of unknown
// origin.  (Not named quoted: argument-dependent lookup would find std::quoted.)
std::string in_quotes(std::string_view text);

// A whole text that is one decimal number without sign.
std::optional<uint64_t> parse_number(std::string_view text);

// Insertions, deletions, substitutions and swaps of neighbours between two words, not regarding case.
size_t edit_distance(std::string_view a, std::string_view b);
// The nearest of `words` if it is near enough to be what was meant.
std::optional<std::string_view> nearest_word(std::string_view text, std::span<const std::string_view> words);
// "; did you mean "ring"?", or "" if no word is near.
std::string suggestion(std::string_view text, std::span<const std::string_view> words);
// "ring, tree or flat"
std::string listed(std::span<const std::string_view> words);

}  // namespace tutti
