// Kernel calls done by a team give the bits that one thread gives, whatever their size, alignment and the number of
// threads; teams come and go without a trace.
#include "workers.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "sanitized.h"

namespace tutti {
namespace {

using kernels::Store;
using Bytes = std::vector<std::byte>;

// Values of every magnitude, so that any other order of operations would show.
Bytes numbers(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  Bytes bytes(count * sizeof(float));
  for (size_t i = 0; i < count; ++i) {
    const auto word = static_cast<uint32_t>(random());
    const uint32_t exponent = 107 + (word >> 23) % 40;  // 2^-20 … 2^19; sign and mantissa are as they come
    const uint32_t value = (word & 0x807fffff) | exponent << 23;
    std::memcpy(bytes.data() + i * sizeof value, &value, sizeof value);
  }
  return bytes;
}

// Elements: too few to share, about the least that is, odd ones, many.
const size_t kCounts[] = {1,
                          1000,
                          Workers::kLeastBytes / 4 - 1,
                          Workers::kLeastBytes / 4,
                          Workers::kLeastBytes / 4 + 1,
                          99'991,
                          test::fewer<size_t>(524'309, 30'011)};

class WorkersTest : public testing::TestWithParam<uint32_t> {
 protected:
  Workers workers_{GetParam()};
};

TEST_P(WorkersTest, ReduceGivesTheSameBits) {
  const auto kernel = kernels::reduce_kernel(DataType::float32, ReduceOp::sum);
  for (const size_t count : kCounts)
    for (const size_t shift : {0u, 1u, 7u}) {  // elements past a line
      const Bytes left = numbers(count + shift, 1), right = numbers(count + shift, 2);
      Bytes expected(left.size()), destination(left.size()), pass = right;
      const size_t at = shift * sizeof(float);
      kernel(expected.data() + at, nullptr, left.data() + at, right.data() + at, count, 3, Store::cached);
      workers_.reduce(kernel, sizeof(float), destination.data() + at, pass.data() + at, left.data() + at, pass.data() + at, count,
                      3, shift == 1 ? Store::streaming : Store::cached);
      EXPECT_EQ(std::memcmp(destination.data() + at, expected.data() + at, count * sizeof(float)), 0) << count << " " << shift;
      EXPECT_EQ(std::memcmp(pass.data() + at, expected.data() + at, count * sizeof(float)), 0) << count << " " << shift;
      EXPECT_EQ(std::memcmp(pass.data(), right.data(), at), 0) << "wrote before the beginning";
    }
}

TEST_P(WorkersTest, FoldGivesTheSameBits) {
  for (const auto& [type, element] : {std::pair{DataType::bfloat16, size_t{2}}, {DataType::float64, size_t{8}}}) {
    const auto kernel = kernels::fold_kernel(type, ReduceOp::sum);
    for (const size_t floats : kCounts) {
      const size_t count = floats * sizeof(float) / element;
      std::vector<Bytes> operands;
      std::vector<const void*> sources;
      for (uint32_t i = 0; i < 5; ++i) operands.push_back(numbers(floats, i + 1));
      for (const Bytes& operand : operands) sources.push_back(operand.data());
      Bytes expected(operands[0].size());
      const kernels::Target wanted{expected.data(), Store::cached};
      kernel(&wanted, 1, sources.data(), sources.size(), count, 5);
      Bytes apart(operands[0].size());
      const kernels::Target targets[] = {{operands[2].data(), Store::cached},
                                         {apart.data(), Store::streaming}};  // the first in place
      workers_.fold(kernel, element, targets, 2, sources.data(), sources.size(), count, 5);
      EXPECT_EQ(std::memcmp(operands[2].data(), expected.data(), count * element), 0) << name(type) << " " << count;
      EXPECT_EQ(std::memcmp(apart.data(), expected.data(), count * element), 0) << name(type) << " " << count;
    }
  }
}

// Lines begin within elements there, pieces may not.
TEST_P(WorkersTest, AnyAddressGivesTheSameBits) {
  const auto kernel = kernels::reduce_kernel(DataType::float32, ReduceOp::sum);
  for (const size_t count : kCounts) {
    const Bytes aligned_left = numbers(count, 1), aligned_right = numbers(count, 2);
    Bytes expected(aligned_left.size());
    kernel(expected.data(), nullptr, aligned_left.data(), aligned_right.data(), count, 3, Store::cached);
    for (const size_t off : {1u, 2u, 3u, 61u, 62u, 63u}) {
      Bytes left(off), right(off), destination(expected.size() + off);
      left.insert(left.end(), aligned_left.begin(), aligned_left.end());
      right.insert(right.end(), aligned_right.begin(), aligned_right.end());
      const Store store = off % 2 == 1 ? Store::streaming : Store::cached;
      workers_.reduce(kernel, sizeof(float), destination.data() + off, nullptr, left.data() + off, right.data() + off, count, 3,
                      store);
      EXPECT_EQ(std::memcmp(destination.data() + off, expected.data(), expected.size()), 0) << count << " " << off;
      const void* const sources[] = {left.data() + off, right.data() + off};
      const kernels::Target target{destination.data() + off, store};
      workers_.fold(kernels::fold_kernel(DataType::float32, ReduceOp::sum), sizeof(float), &target, 1, sources, 2, count, 3);
      EXPECT_EQ(std::memcmp(destination.data() + off, expected.data(), expected.size()), 0) << count << " " << off;
    }
  }
}

TEST_P(WorkersTest, CopyCopiesEveryByte) {
  for (const size_t floats : kCounts) {
    const size_t bytes = floats * sizeof(float) - 3;
    const Bytes from = numbers(floats, 9);
    Bytes destination(bytes + 1), pass(bytes);
    workers_.copy(destination.data() + 1, pass.data(), from.data(), bytes, Store::streaming);
    EXPECT_EQ(std::memcmp(destination.data() + 1, from.data(), bytes), 0) << bytes;
    EXPECT_EQ(std::memcmp(pass.data(), from.data(), bytes), 0) << bytes;
  }
}

TEST_P(WorkersTest, ThreadsBeginWithTheFirstLargeCall) {
  Bytes from = numbers(100'000, 1), to(from.size());
  EXPECT_EQ(workers_.running(), 0u);
  workers_.copy(to.data(), nullptr, from.data(), Workers::kLeastBytes - 1, Store::cached);
  EXPECT_EQ(workers_.running(), 0u);
  workers_.copy(to.data(), nullptr, from.data(), from.size(), Store::cached);
  EXPECT_EQ(workers_.running(), GetParam() - 1);
}

// Long pauses let the workers sleep, short ones catch them on their way to bed.
TEST_P(WorkersTest, CallsFindWorkersAwakeAndAsleep) {
  const Bytes from = numbers(60'000, 4);
  for (int i = 0; i < 80; ++i) {
    Bytes to(from.size());
    workers_.copy(to.data(), nullptr, from.data(), from.size(), Store::cached);
    ASSERT_EQ(std::memcmp(to.data(), from.data(), from.size()), 0) << i;
    std::this_thread::sleep_for(std::chrono::microseconds(i % 4 * 30));
  }
}

// Communicators that were split off share their parent's team and may be used by another thread.
TEST_P(WorkersTest, CallersMayMeet) {
  std::vector<std::thread> callers;
  std::vector<int> wrong(3);
  for (uint32_t caller = 0; caller < 3; ++caller)
    callers.emplace_back([&, caller] {
      const Bytes from = numbers(70'000, caller);
      for (int i = 0; i < 20; ++i) {
        Bytes to(from.size());
        workers_.copy(to.data(), nullptr, from.data(), from.size(), Store::cached);
        wrong[caller] += std::memcmp(to.data(), from.data(), from.size()) != 0;
      }
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, std::vector<int>(3));
}

INSTANTIATE_TEST_SUITE_P(Threads, WorkersTest, testing::Values(1, 2, 3, 5));

TEST(Workers, TeamsComeAndGo) {
  const Bytes from = numbers(50'000, 4);
  for (uint32_t i = 0; i < 50; ++i) {
    Workers workers(1 + i % 5);
    Bytes to(from.size());
    for (uint32_t call = 0; call < i % 3; ++call) workers.copy(to.data(), nullptr, from.data(), from.size(), Store::cached);
  }
}

}  // namespace
}  // namespace tutti
