// What tests of calls on device memory have in common.
#pragma once

#include <gtest/gtest.h>
#include <tutti/tutti.h>

#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "device_bytes.h"

namespace tutti::test {

inline constexpr size_t kCount = 100'000;  // floats: seven pieces of 64 KiB

template <class T>
Bytes bytes_of(const std::vector<T>& values) {
  Bytes bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}
inline std::vector<float> floats_in(const DeviceBytes& memory) {
  const Bytes bytes = memory.content();
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}
inline std::vector<float> ramp(int rank, size_t count = kCount) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = static_cast<float>((i + static_cast<size_t>(rank) * 7) % 100);
  return values;
}

inline tutti_call_options on_stream(void* stream) {
  tutti_call_options options;
  tutti_call_options_init(&options);
  options.stream = stream;
  return options;
}

// Otherwise kernels carry out what they can.
inline bool is_staged() {
  const char* use = std::getenv("TUTTI_CUDA");
  return use && std::string_view(use) == "staged";
}

class OnDevice : public testing::Test {
 protected:
  void SetUp() override {
    if (!DeviceBytes::wanted()) GTEST_SKIP() << "API_TEST_DEVICE=1 runs it";
  }
};

}  // namespace tutti::test
