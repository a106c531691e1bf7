// Helpers that the tests of calls with codecs share.
#pragma once

#include <gtest/gtest.h>
#include <tutti/tutti.h>

#include <cmath>
#include <cstddef>
#include <memory>
#include <vector>

namespace tutti::test {

struct Destroy {
  void operator()(tutti_codec* codec) const { EXPECT_EQ(tutti_codec_destroy(codec), TUTTI_SUCCESS) << tutti_last_error(nullptr); }
};
using CodecPointer = std::unique_ptr<tutti_codec, Destroy>;

inline CodecPointer made(const char* spec, size_t count, tutti_dtype dtype = TUTTI_FLOAT32) {
  tutti_codec* codec = nullptr;
  EXPECT_EQ(tutti_codec_create(&codec, spec, count, dtype), TUTTI_SUCCESS) << tutti_last_error(nullptr);
  return CodecPointer(codec);
}

inline tutti_call_options with(const CodecPointer& codec, const char* algorithm = nullptr) {
  tutti_call_options options;
  tutti_call_options_init(&options);
  options.codec = codec.get();
  options.algorithm = algorithm;
  return options;
}

inline std::vector<float> gradient(int rank, size_t count, int step = 0) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i)
    values[i] = std::sin(static_cast<float>(i) * 0.37f + static_cast<float>(rank) + static_cast<float>(step) * 0.1f);
  return values;
}

inline std::vector<std::byte> exported(const CodecPointer& codec) {
  size_t bytes = 0;
  EXPECT_EQ(tutti_codec_export(codec.get(), nullptr, &bytes), TUTTI_SUCCESS);
  std::vector<std::byte> memory(bytes);
  EXPECT_EQ(tutti_codec_export(codec.get(), memory.data(), &bytes), TUTTI_SUCCESS) << tutti_last_error(nullptr);
  EXPECT_EQ(bytes, memory.size());
  return memory;
}

}  // namespace tutti::test
