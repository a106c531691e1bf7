// The values with which tutti-bench proves results.
#include "pattern.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>
#include <vector>

#include "bench_types.h"

namespace tutti::bench {
namespace {

constexpr size_t kElements = 1000;

std::vector<std::byte> contribution(const Pattern& pattern, tutti_dtype type, int rank, uint64_t turn) {
  std::vector<std::byte> memory(kElements * type_size(type));
  pattern.fill(memory.data(), kElements, rank, turn);
  return memory;
}

template <class T>
std::vector<T> numbers(const Pattern& pattern, tutti_dtype type, int rank, uint64_t turn) {
  const auto memory = contribution(pattern, type, rank, turn);
  std::vector<T> values(kElements);
  std::memcpy(values.data(), memory.data(), memory.size());
  return values;
}

// The result of a plain loop in the type itself over the contributions.
template <class T>
std::vector<T> reduced(const Pattern& pattern, tutti_dtype type, tutti_op op, int ranks, uint64_t turn) {
  auto result = numbers<T>(pattern, type, 0, turn);
  for (int rank = 1; rank < ranks; ++rank) {
    const auto next = numbers<T>(pattern, type, rank, turn);
    for (size_t i = 0; i < kElements; ++i) {
      if (op == TUTTI_SUM || op == TUTTI_AVG) result[i] = static_cast<T>(result[i] + next[i]);
      if (op == TUTTI_PROD) result[i] = static_cast<T>(result[i] * next[i]);
      if (op == TUTTI_MIN) result[i] = std::min(result[i], next[i]);
      if (op == TUTTI_MAX) result[i] = std::max(result[i], next[i]);
      if constexpr (std::is_integral_v<T>) {
        if (op == TUTTI_BAND) result[i] = static_cast<T>(result[i] & next[i]);
        if (op == TUTTI_BOR) result[i] = static_cast<T>(result[i] | next[i]);
        if (op == TUTTI_BXOR) result[i] = static_cast<T>(result[i] ^ next[i]);
      }
    }
  }
  if (op == TUTTI_AVG)
    for (T& value : result) value = static_cast<T>(value / static_cast<T>(ranks));
  return result;
}

template <class T>
void expect_reductions(tutti_dtype type) {
  for (const int ranks : {1, 2, 3, 8, 100}) {
    for (const tutti_op op : kAllOps) {
      if (!is_defined(op, type)) continue;
      const Pattern pattern(type, op, ranks);
      ASSERT_TRUE(pattern.exact());
      const auto right = reduced<T>(pattern, type, op, ranks, 7);
      const auto* memory = reinterpret_cast<const std::byte*>(right.data());
      EXPECT_EQ(pattern.count_wrong(memory, kElements, -ranks, 0, 7), 0u) << type_name(type) << op_name(op) << ranks;
      EXPECT_EQ(pattern.count_wrong(memory + 300 * sizeof(T), kElements - 300, -ranks, 300, 7), 0u);
      if (op != TUTTI_AVG) {
        const auto first = reduced<T>(pattern, type, op, (ranks + 1) / 2, 7);
        EXPECT_EQ(pattern.count_wrong(reinterpret_cast<const std::byte*>(first.data()), kElements, -((ranks + 1) / 2), 0, 7), 0u);
      }
      if (ranks < 100 || op == TUTTI_PROD) {  // values vary less, the more ranks have to add up exactly
        EXPECT_GT(pattern.count_wrong(memory, kElements, -ranks, 0, 8), 0u) << "another turn has other values";
      }
    }
  }
}

TEST(Pattern, ReductionsAreThoseOfAPlainLoop) {
  expect_reductions<int8_t>(TUTTI_INT8);
  expect_reductions<uint8_t>(TUTTI_UINT8);
  expect_reductions<int16_t>(TUTTI_INT16);
  expect_reductions<uint16_t>(TUTTI_UINT16);
  expect_reductions<int32_t>(TUTTI_INT32);
  expect_reductions<uint64_t>(TUTTI_UINT64);
  expect_reductions<float>(TUTTI_FLOAT32);
  expect_reductions<double>(TUTTI_FLOAT64);
}

TEST(Pattern, ContributionsAreNeverZeroAndDifferByRankAndTurn) {
  for (const tutti_op op : kAllOps) {
    const Pattern pattern(TUTTI_FLOAT32, op, 4);
    for (const float value : numbers<float>(pattern, TUTTI_FLOAT32, 1, 3)) EXPECT_GE(value, 1);
    EXPECT_NE(contribution(pattern, TUTTI_FLOAT32, 1, 3), contribution(pattern, TUTTI_FLOAT32, 2, 3)) << op_name(op);
    EXPECT_NE(contribution(pattern, TUTTI_FLOAT32, 1, 3), contribution(pattern, TUTTI_FLOAT32, 1, 4)) << op_name(op);
  }
}

TEST(Pattern, SixteenBitFloatsHoldSmallIntegers) {
  const Pattern half(TUTTI_FLOAT16, std::nullopt, 2), brain(TUTTI_BFLOAT16, std::nullopt, 2), whole(TUTTI_INT32, std::nullopt, 2);
  const auto halves = numbers<uint16_t>(half, TUTTI_FLOAT16, 1, 5), brains = numbers<uint16_t>(brain, TUTTI_BFLOAT16, 1, 5);
  const auto integers = numbers<int32_t>(whole, TUTTI_INT32, 1, 5);
  for (size_t i = 0; i < kElements; ++i) {
    const uint16_t bits = halves[i];
    EXPECT_EQ(std::ldexp(1024 + (bits & 1023), (bits >> 10) - 25), integers[i]);
    float wide = 0;
    const uint32_t high = static_cast<uint32_t>(brains[i]) << 16;
    std::memcpy(&wide, &high, sizeof wide);
    EXPECT_EQ(wide, static_cast<float>(integers[i]));
  }
}

TEST(Pattern, EveryWrongElementIsCounted) {
  const Pattern pattern(TUTTI_INT32, std::nullopt, 3);
  auto memory = contribution(pattern, TUTTI_INT32, 2, 1);
  EXPECT_EQ(pattern.count_wrong(memory.data(), kElements, 2, 0, 1), 0u);
  for (const size_t i : {size_t{0}, size_t{250}, size_t{251}, kElements - 1}) memory[i * 4 + 3] ^= std::byte{1};
  EXPECT_EQ(pattern.count_wrong(memory.data(), kElements, 2, 0, 1), 4u);
  EXPECT_GT(pattern.count_wrong(memory.data(), kElements, 1, 0, 1), 4u) << "another rank's";
  EXPECT_GT(pattern.count_wrong(memory.data(), kElements, 2, 1, 1), 4u) << "shifted by one";
  EXPECT_EQ(pattern.count_wrong(memory.data(), 0, 2, 0, 1), 0u);
}

TEST(Pattern, TellsWhenRoundingCannotBeAvoided) {
  EXPECT_TRUE(Pattern(TUTTI_BFLOAT16, TUTTI_SUM, 256).exact());
  EXPECT_FALSE(Pattern(TUTTI_BFLOAT16, TUTTI_SUM, 257).exact());
  EXPECT_FALSE(Pattern(TUTTI_FLOAT16, TUTTI_AVG, 257).exact());
  EXPECT_TRUE(Pattern(TUTTI_BFLOAT16, TUTTI_MAX, 5000).exact());
  EXPECT_TRUE(Pattern(TUTTI_FLOAT32, TUTTI_SUM, 5000).exact());
}

}  // namespace
}  // namespace tutti::bench
