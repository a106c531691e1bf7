// Bytes that processes send each other: hexadecimal digits, a hash, secrets, and the fields of frames.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "status.h"

namespace tutti {

inline constexpr std::string_view kHexDigits = "0123456789abcdef";
int hex_value(char digit);  // -1: it is none of kHexDigits
std::string to_hex(std::span<const unsigned char> bytes);

// A peer's sentence, which will end up on a terminal: control characters become question marks.
std::string printable(std::string_view text);

Status fill_with_random(std::span<unsigned char> bytes);

// FNV-1a with 64 bits.
class Hash {
 public:
  explicit Hash(uint64_t seed = 14695981039346656037u) : value_(seed) {}
  Hash& add(uint64_t word) {
    value_ = (value_ ^ word) * 1099511628211u;
    return *this;
  }
  Hash& add(std::string_view bytes) {
    for (const char byte : bytes) add(uint64_t{static_cast<unsigned char>(byte)});
    return *this;
  }
  uint64_t value() const { return value_; }
  uint16_t folded() const { return static_cast<uint16_t>(value_ ^ value_ >> 16 ^ value_ >> 32 ^ value_ >> 48); }

 private:
  uint64_t value_;
};

// By which a listener knows the ranks of its communicator.  All zero where ranks cannot know one.
struct Secret {
  std::array<unsigned char, 16> bytes{};

  static Result<Secret> random();
  static std::optional<Secret> from_hex(std::string_view digits);
  std::string hex() const { return to_hex(bytes); }
  bool operator==(const Secret& other) const;  // takes the same time wherever the first difference is
};

// ---- frames ----
//
// A frame's fields are stated once for both directions:
//
//   template <class Bytes, class Frame>  // a ByteWriter and a const frame, or a ByteReader and a frame
//   void fields(Bytes& bytes, Frame& frame) { bytes(frame.kind, frame.rank, frame.secret); }
//
// Numbers are little endian; bounds of what a peer sent are checked where the frame is decoded.

// The state of the bytes that have come so far.
enum class Decoding : uint8_t { incomplete, complete, malformed };

class ByteWriter {
 public:
  template <class... Fields>
  void operator()(const Fields&... fields) {
    (put(fields), ...);
  }
  template <std::unsigned_integral T>
  void number(T value) {
    for (size_t i = 0; i < sizeof(T); ++i) bytes_.push_back(static_cast<char>(static_cast<uint64_t>(value) >> (8 * i)));
  }
  void constant(std::unsigned_integral auto value) { number(value); }
  void text(std::string_view text) { bytes_.append(text); }
  void sentence(std::string_view text, size_t longest) { bytes_.append(text.substr(0, longest)); }
  std::string take() { return std::move(bytes_); }

 private:
  void put(std::unsigned_integral auto value) { number(value); }
  void put(std::signed_integral auto value) { number(static_cast<std::make_unsigned_t<decltype(value)>>(value)); }
  template <class Enum>
    requires std::is_enum_v<Enum>
  void put(Enum value) {
    put(static_cast<std::underlying_type_t<Enum>>(value));
  }
  void put(const Secret& secret) {
    for (const unsigned char byte : secret.bytes) number(byte);
  }

  std::string bytes_;
};

// Reads what a peer sent.  After a read past the end, or of another constant than expected, ok() is false; every value
// past the end is zero or empty.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  template <class... Fields>
  void operator()(Fields&... fields) {
    (take(fields), ...);
  }
  template <std::unsigned_integral T>
  T number() {
    uint64_t value = 0;
    const std::string_view bytes = text(sizeof(T));
    for (size_t i = 0; i < bytes.size(); ++i) value |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
    return static_cast<T>(value);
  }
  void constant(std::unsigned_integral auto expected) { ok_ &= number<decltype(expected)>() == expected; }
  std::string_view text(size_t length);
  // All that is left, made printable.
  void sentence(std::string& text, size_t longest);
  bool ok() const { return ok_; }
  std::string_view rest() const { return rest_; }
  bool at_end() const { return ok_ && rest_.empty(); }  // and nothing was wrong

 private:
  template <std::unsigned_integral T>
  void take(T& value) {
    value = number<T>();
  }
  template <std::signed_integral T>
  void take(T& value) {
    value = static_cast<T>(number<std::make_unsigned_t<T>>());
  }
  template <class Enum>
    requires std::is_enum_v<Enum>
  void take(Enum& value) {
    std::underlying_type_t<Enum> number;
    take(number);
    value = static_cast<Enum>(number);
  }
  void take(Secret& secret) {
    for (unsigned char& byte : secret.bytes) byte = number<unsigned char>();
  }

  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace tutti
