// Bytes at a chosen misalignment between guard bytes that must not change.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace tutti {

class Guarded {
 public:
  // `offset` bytes behind a cache line.
  Guarded(size_t bytes, size_t offset) : bytes_(bytes), memory_(bytes + offset + kLine + 2 * kGuard, kPattern) {
    const auto address = reinterpret_cast<uintptr_t>(memory_.data()) + kGuard;
    begin_ = kGuard + (kLine - address % kLine) % kLine + offset;
  }
  Guarded(const std::vector<uint8_t>& content, size_t offset) : Guarded(content.size(), offset) { assign(content); }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  uint8_t* data() { return memory_.data() + begin_; }
  void assign(const std::vector<uint8_t>& content) { std::copy(content.begin(), content.end(), data()); }
  std::vector<uint8_t> content() const { return {memory_.begin() + at(0), memory_.begin() + at(bytes_)}; }
  bool guards_intact() const {
    const auto is_pattern = [](uint8_t byte) { return byte == kPattern; };
    return std::all_of(memory_.begin(), memory_.begin() + at(0), is_pattern) &&
           std::all_of(memory_.begin() + at(bytes_), memory_.end(), is_pattern);
  }

 private:
  static constexpr size_t kLine = 64, kGuard = 128;
  static constexpr uint8_t kPattern = 0xA5;
  std::ptrdiff_t at(size_t i) const { return static_cast<std::ptrdiff_t>(begin_ + i); }

  size_t bytes_;
  std::vector<uint8_t> memory_;
  size_t begin_;
};

}  // namespace tutti
