// Handles of device memory as processes tell each other.
#pragma once

#include <cstdio>
#include <stdexcept>
#include <string>

#include "driver_abi.h"

namespace tutti::cuda::test {

inline std::string text_of(const CUipcMemHandle& handle) {
  std::string text;
  for (const unsigned char byte : handle.reserved) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", byte);
    text += digits;
  }
  return text;
}

// Throws what it is given where that is none.
inline CUipcMemHandle handle_of(const std::string& text) {
  CUipcMemHandle handle{};
  if (text.size() != 2 * sizeof(handle.reserved)) throw std::runtime_error(text);
  for (size_t i = 0; i < sizeof(handle.reserved); ++i)
    handle.reserved[i] = static_cast<unsigned char>(std::stoi(text.substr(2 * i, 2), nullptr, 16));
  return handle;
}

}  // namespace tutti::cuda::test
