// Buffers at addresses that are no multiples of the element's size give what aligned ones give, whatever the call and
// its size.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "local_world.h"

namespace tutti::test {
namespace {

struct Type {
  tutti_dtype dtype;
  size_t bytes;
};
constexpr Type kTypes[] = {{TUTTI_FLOAT32, 4}, {TUTTI_FLOAT64, 8}, {TUTTI_FLOAT16, 2}, {TUTTI_BFLOAT16, 2},
                           {TUTTI_INT32, 4},   {TUTTI_INT64, 8},   {TUTTI_INT8, 1}};

// One on all ranks, in each type.
std::vector<std::byte> ones(const Type& type, size_t count, size_t off) {
  const float f = 1;
  const double d = 1;
  const uint16_t half = 0x3C00, brain = 0x3F80;
  const int64_t whole = 1;
  const void* one = &whole;  // little endian: the lower bytes are the shorter integers
  if (type.dtype == TUTTI_FLOAT32) one = &f;
  if (type.dtype == TUTTI_FLOAT64) one = &d;
  if (type.dtype == TUTTI_FLOAT16) one = &half;
  if (type.dtype == TUTTI_BFLOAT16) one = &brain;
  std::vector<std::byte> bytes(off + count * type.bytes);
  for (size_t i = 0; i < count; ++i) std::memcpy(bytes.data() + off + i * type.bytes, one, type.bytes);
  return bytes;
}

// `call` from input to output, aligned and off by some bytes: the same bytes in the output, and none before it.
template <class Call>
void expect_same_bytes(const LocalWorld& world, const Type& type, size_t in_count, size_t out_count, Call call) {
  world.run([&](int rank, tutti_comm* comm) {
    std::vector<std::byte> expected(out_count * type.bytes);
    const auto aligned = ones(type, in_count, 0);
    ASSERT_TRUE(succeeded(call(comm, aligned.data(), expected.data()), comm));
    for (const size_t off : {size_t{1}, size_t{3}, 64 - type.bytes / 2}) {
      const auto input = ones(type, in_count, off);
      std::vector<std::byte> output(off + expected.size());
      for (int turn = 0; turn < 2; ++turn) {
        ASSERT_TRUE(succeeded(call(comm, input.data() + off, output.data() + off), comm));
        ASSERT_EQ(std::memcmp(output.data() + off, expected.data(), expected.size()), 0)
            << "rank " << rank << ", dtype " << type.dtype << ", " << in_count << " elements, " << off << " bytes off";
      }
      for (size_t i = 0; i < off; ++i) ASSERT_EQ(output[i], std::byte{0});
    }
  });
}

class AddressTest : public testing::TestWithParam<int> {
 protected:
  const LocalWorld world_{GetParam()};
};

TEST_P(AddressTest, AllReduce) {
  const char* const names[] = {nullptr, "ring", "direct", "recursive", "tree", "doubling"};
  for (const Type& type : kTypes)
    for (const size_t count : {1000u, 20'000u, 100'000u})
      for (const char* name : names) {
        if (name && type.dtype != TUTTI_FLOAT32) continue;
        tutti_call_options options;
        tutti_call_options_init(&options);
        options.algorithm = name;
        expect_same_bytes(world_, type, count, count, [&](tutti_comm* comm, const void* in, void* out) {
          return tutti_all_reduce(comm, in, out, count, type.dtype, TUTTI_SUM, &options);
        });
      }
}

TEST_P(AddressTest, TheOthers) {
  const auto p = static_cast<size_t>(GetParam());
  for (const Type& type : kTypes)
    for (const size_t count : {1000u, 30'000u}) {
      expect_same_bytes(world_, type, p * count, count, [&](tutti_comm* comm, const void* in, void* out) {
        return tutti_reduce_scatter(comm, in, out, count, type.dtype, TUTTI_AVG, nullptr);
      });
      expect_same_bytes(world_, type, count, count, [&](tutti_comm* comm, const void* in, void* out) {
        return tutti_reduce(comm, in, out, count, type.dtype, TUTTI_MAX, 0, nullptr);
      });
      expect_same_bytes(world_, type, count, p * count, [&](tutti_comm* comm, const void* in, void* out) {
        return tutti_all_gather(comm, in, out, count, type.dtype, nullptr);
      });
      expect_same_bytes(world_, type, count, count, [&](tutti_comm* comm, const void* in, void* out) {
        return tutti_broadcast(comm, in, out, count, type.dtype, 0, nullptr);
      });
      expect_same_bytes(world_, type, p * count, p * count, [&](tutti_comm* comm, const void* in, void* out) {
        return tutti_all_to_all(comm, in, out, count, type.dtype, nullptr);
      });
    }
}

TEST_P(AddressTest, LentMemory) {
  constexpr size_t kCount = 100'000;
  world_.run([&](int rank, tutti_comm* comm) {
    void *in = nullptr, *out = nullptr;
    ASSERT_TRUE(succeeded(tutti_alloc(comm, 4 * kCount + 8, &in), comm));
    ASSERT_TRUE(succeeded(tutti_alloc(comm, 4 * kCount + 8, &out), comm));
    const auto values = ones(kTypes[0], kCount, 0);
    auto* const from = static_cast<std::byte*>(in) + 1 + rank % 3;
    auto* const to = static_cast<std::byte*>(out) + 3;
    for (const char* name : {"ring", "direct"}) {
      tutti_call_options options;
      tutti_call_options_init(&options);
      options.algorithm = name;
      std::memcpy(from, values.data(), values.size());
      ASSERT_TRUE(succeeded(tutti_all_reduce(comm, from, to, kCount, TUTTI_FLOAT32, TUTTI_SUM, &options), comm));
      for (size_t i = 0; i < kCount; ++i) {
        float value;
        std::memcpy(&value, to + 4 * i, 4);
        ASSERT_EQ(value, static_cast<float>(GetParam())) << name << ", element " << i;
      }
    }
    ASSERT_TRUE(succeeded(tutti_barrier(comm, nullptr), comm));
    EXPECT_TRUE(succeeded(tutti_free(comm, in), comm));
    EXPECT_TRUE(succeeded(tutti_free(comm, out), comm));
  });
}

TEST_P(AddressTest, Codecs) {
  for (const Type& type : {Type{TUTTI_FLOAT32, 4}, Type{TUTTI_FLOAT16, 2}})
    for (const char* spec : {"fp16", "int8", "fp8_e4m3", "sign", "topk:ratio=0.1,momentum=0.9", "randomk:ratio=0.5"})
      for (const size_t count : {1000u, 50'001u})
        expect_same_bytes(world_, type, count, count, [&](tutti_comm* comm, const void* in, void* out) {
          tutti_codec* codec = nullptr;
          tutti_status status = tutti_codec_create(&codec, spec, count, type.dtype);
          if (status != TUTTI_SUCCESS) return status;
          tutti_call_options options;
          tutti_call_options_init(&options);
          options.codec = codec;
          status = tutti_all_reduce(comm, in, out, count, type.dtype, TUTTI_SUM, &options);
          tutti_codec_destroy(codec);
          return status;
        });
}

INSTANTIATE_TEST_SUITE_P(Ranks, AddressTest, testing::Values(2, 3, 4));

}  // namespace
}  // namespace tutti::test
