#include "bytes.h"

#include <sys/random.h>

namespace tutti {

int hex_value(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

std::string to_hex(std::span<const unsigned char> bytes) {
  std::string text;
  for (const unsigned char byte : bytes) (text += kHexDigits[byte >> 4]) += kHexDigits[byte & 15];
  return text;
}

std::string printable(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return result;
}

Status fill_with_random(std::span<unsigned char> bytes) {
  if (::getrandom(bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size())) return {};
  return system_error("asking the system for random bytes");
}

Result<Secret> Secret::random() {
  Secret secret;
  if (Status filled = fill_with_random(secret.bytes); !filled.ok()) return filled;
  return secret;
}

std::optional<Secret> Secret::from_hex(std::string_view digits) {
  Secret secret;
  if (digits.size() != 2 * secret.bytes.size()) return std::nullopt;
  for (size_t i = 0; i < secret.bytes.size(); ++i) {
    const int high = hex_value(digits[2 * i]), low = hex_value(digits[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    secret.bytes[i] = static_cast<unsigned char>(high << 4 | low);
  }
  return secret;
}

bool Secret::operator==(const Secret& other) const {
  unsigned difference = 0;
  for (size_t i = 0; i < bytes.size(); ++i) difference |= static_cast<unsigned>(bytes[i] ^ other.bytes[i]);
  return difference == 0;
}

std::string_view ByteReader::text(size_t length) {
  if (length > rest_.size()) {
    ok_ = false;
    rest_ = {};
    return {};
  }
  const std::string_view result = rest_.substr(0, length);
  rest_.remove_prefix(length);
  return result;
}

void ByteReader::sentence(std::string& text, size_t longest) {
  ok_ &= rest_.size() <= longest;
  text = printable(this->text(rest_.size()));
}

}  // namespace tutti
