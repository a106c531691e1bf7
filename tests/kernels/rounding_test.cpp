// Numbers: every 16-bit float, roundings known by heart, averages, wrapping, not-a-numbers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "every_target.h"
#include "kernels.h"
#include "operands.h"
#include "reference.h"

namespace tutti {
namespace {

using kernels::Store;
using testing::ElementsAre;

template <class T>
std::vector<T> reduce(DataType type, ReduceOp op, const std::vector<T>& left, const std::vector<T>& right, uint32_t divisor = 1) {
  std::vector<T> destination(left.size());
  kernels::reduce_kernel(type, op)(destination.data(), nullptr, left.data(), right.data(), left.size(), divisor, Store::cached);
  return destination;
}

template <class T>
T fold(DataType type, ReduceOp op, const std::vector<T>& contributions, uint32_t divisor = 1) {
  std::vector<const void*> sources;
  for (const T& contribution : contributions) sources.push_back(&contribution);
  T destination;
  const kernels::Target target{&destination, Store::cached};
  kernels::fold_kernel(type, op)(&target, 1, sources.data(), sources.size(), 1, divisor);
  return destination;
}

template <class Narrow>
void expect_every_value(DataType type) {
  std::vector<uint16_t> all(1 << 16);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  const auto one = Narrow::encode(1).bits;
  // Zero, the least denormal, an odd last place, values whose sums and products fall on and beside ties, the greatest,
  // infinity, and a not-a-number.
  const std::vector<uint16_t> others = {0x0000, 0x8000, 0x0001, one,   uint16_t(one + 1), 0x1234, 0xB3C5, 0x3555,
                                        0x7BFF, 0x7C00, 0xFF80, 0x7FFF};
  for (uint16_t other : others) {
    const std::vector<uint16_t> right(all.size(), other);
    for (ReduceOp op : {ReduceOp::sum, ReduceOp::prod, ReduceOp::min}) {
      const uint32_t divisor = op == ReduceOp::sum ? 3 : 1;
      std::vector<uint16_t> expected(all.size());
      for (size_t i = 0; i < all.size(); ++i) {
        expected[i] = reference::fold(op, std::vector<Narrow>{{all[i]}, {other}}, divisor).bits;
      }
      on_every_target([&] { ASSERT_EQ(reduce(type, op, all, right, divisor), expected) << name(op) << " with " << other; });
    }
  }
}

TEST(RoundingTest, EveryFloat16) { expect_every_value<reference::Half>(DataType::float16); }
TEST(RoundingTest, EveryBFloat16) { expect_every_value<reference::Brain>(DataType::bfloat16); }

TEST(RoundingTest, TiesGoToEvenAndOverflowToInfinity) {
  on_every_target([] {
    // bfloat16 near 1 has steps of 2^-7: adding 2^-8 (0x3B80) to 1, 1 + 2^-7, -1; the greatest plus half its last
    // place.
    EXPECT_THAT(
        reduce<uint16_t>(DataType::bfloat16, ReduceOp::sum, {0x3F80, 0x3F81, 0xBF80, 0x7F7F}, {0x3B80, 0x3B80, 0xBB80, 0x7B00}),
        ElementsAre(0x3F80, 0x3F82, 0xBF80, 0x7F80));
    // float16: 65504 + 8 rounds down, + 16 is the tie at 65520 that rounds to infinity; 2048 + 1 → 2048, 2050 + 1 →
    // 2052; denormals add exactly, into the normals too.
    EXPECT_THAT(reduce<uint16_t>(DataType::float16, ReduceOp::sum, {0x7BFF, 0x7BFF, 0xFBFF, 0x6800, 0x6801, 0x0001, 0x03FF},
                                 {0x4800, 0x4C00, 0xCC00, 0x3C00, 0x3C00, 0x0002, 0x0001}),
                ElementsAre(0x7BFF, 0x7C00, 0xFC00, 0x6800, 0x6802, 0x0003, 0x0400));
    // Products below the least denormal 2^-24: 2^-24 · 0.5 is a tie that goes to zero, · 0.75 goes up, with the sign
    // kept.
    EXPECT_THAT(reduce<uint16_t>(DataType::float16, ReduceOp::prod, {0x0001, 0x8001, 0x0001}, {0x3800, 0x3800, 0x3A00}),
                ElementsAre(0x0000, 0x8000, 0x0001));
  });
}

TEST(RoundingTest, FoldRoundsOnce) {
  on_every_target([] {
    // Two at a time 256 + 1 rounds back to 256 in bfloat16, and so does the next one.
    EXPECT_EQ(fold<uint16_t>(DataType::bfloat16, ReduceOp::sum, {0x4380, 0x3F80, 0x3F80}), 0x4381);
    // The sum 2 · 65504 leaves float16; its half does not.
    EXPECT_EQ(fold<uint16_t>(DataType::float16, ReduceOp::avg, {0x7BFF, 0x7BFF}, 2), 0x7BFF);
    EXPECT_EQ(reduce<uint16_t>(DataType::float16, ReduceOp::avg, {0x7BFF}, {0x7BFF}, 2).front(), 0x7BFF);
  });
}

// Every 16-bit float widens as the reference does and comes back with the same bits; but for not-a-numbers, of which
// there is one.
template <class Format>
void expect_there_and_back(DataType type) {
  std::vector<uint16_t> all(1 << 16), back(all.size()), expected(all.size());
  std::vector<float> wide(all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    all[i] = static_cast<uint16_t>(i);
    expected[i] = std::isnan(Format{all[i]}.decode()) ? Format::encode(NAN).bits : all[i];
  }
  kernels::widen(type, all.data(), wide.data(), all.size());
  for (size_t i = 0; i < all.size(); ++i) {
    const float value = Format{all[i]}.decode();
    const float written = std::isnan(value) ? std::numeric_limits<float>::quiet_NaN() : value;
    ASSERT_EQ(std::bit_cast<uint32_t>(wide[i]), std::bit_cast<uint32_t>(written)) << i;
  }
  kernels::narrow(type, wide.data(), back.data(), back.size());
  EXPECT_EQ(back, expected);
}

// Bits of float32 around every kind of tie and edge, at every length and offset up to a few vectors; memory behind the
// end stays.
template <class Format>
void expect_narrowing(DataType type) {
  std::mt19937_64 random(5);
  std::vector<float> from(3000);
  for (float& value : from)
    value = std::bit_cast<float>(static_cast<uint32_t>(random()) & (random() % 2 ? 0xFFFFFFFF : 0xFFFFF000));
  for (size_t i = 0; i < from.size(); i += 3)
    from[i] = std::ldexp(static_cast<float>(random() % 4096), static_cast<int>(random() % 40) - 30);
  for (size_t n : {0u, 1u, 2u, 3u, 7u, 8u, 15u, 16u, 17u, 31u, 33u, 65u, 2990u}) {
    for (size_t offset : {0u, 1u, 3u}) {
      std::vector<uint16_t> to(n + 1, 0xA5A5), expected(n + 1, 0xA5A5);
      for (size_t i = 0; i < n; ++i) expected[i] = Format::encode(from[offset + i]).bits;
      kernels::narrow(type, from.data() + offset, to.data(), n);
      ASSERT_EQ(to, expected) << n;
    }
  }
}

TEST(WidenTest, SixteenBitsThereAndBack) {
  on_every_target([] {
    expect_there_and_back<reference::Half>(DataType::float16);
    expect_there_and_back<reference::Brain>(DataType::bfloat16);
  });
}

TEST(WidenTest, NarrowingRoundsToNearestEven) {
  on_every_target([] {
    expect_narrowing<reference::Half>(DataType::float16);
    expect_narrowing<reference::Brain>(DataType::bfloat16);
  });
}

TEST(WidenTest, SixteenBitsAtAnyAddress) {
  std::vector<uint16_t> halves(1001);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i * 31);
  const size_t bytes = halves.size() * sizeof halves[0];
  on_every_target([&] {
    for (const DataType type : {DataType::float16, DataType::bfloat16}) {
      std::vector<float> aligned(halves.size()), odd(halves.size());
      kernels::widen(type, halves.data(), aligned.data(), halves.size());
      std::vector<uint8_t> room(bytes + 1), back(bytes + 1);
      std::memcpy(room.data() + 1, halves.data(), bytes);
      kernels::widen(type, room.data() + 1, odd.data(), halves.size());
      EXPECT_EQ(std::memcmp(aligned.data(), odd.data(), aligned.size() * sizeof(float)), 0) << name(type);
      kernels::narrow(type, odd.data(), back.data() + 1, halves.size());
      EXPECT_EQ(back, room) << name(type);
    }
  });
}

TEST(WidenTest, Float32IsCopied) {
  const uint32_t from[] = {0x7F800001, 0xFFFFFFFF, 0x80000000, 1, 0x3F800000};  // payloads of not-a-numbers too
  float wide[5];
  uint32_t back[5];
  kernels::widen(DataType::float32, from, wide, 5);
  kernels::narrow(DataType::float32, wide, back, 5);
  EXPECT_THAT(back, testing::ElementsAreArray(from));
}

TEST(AverageTest, FloatsAreDividedNotScaled) {
  on_every_target([] {
    // 1/49 is not a float32, and 49 times its nearest neighbour is not 1.
    EXPECT_THAT(reduce<float>(DataType::float32, ReduceOp::avg, {48, 40, -20}, {1, 9, -29}, 49), ElementsAre(1, 1, -1));
    EXPECT_THAT(reduce<double>(DataType::float64, ReduceOp::avg, {48, 97}, {1, 1}, 49), ElementsAre(1, 2));
  });
}

TEST(AverageTest, IntegersTowardsZero) {
  on_every_target([] {
    EXPECT_THAT(reduce<int32_t>(DataType::int32, ReduceOp::avg, {-4, 4, -1, 7}, {-3, 3, 0, 7}, 2), ElementsAre(-3, 3, 0, 7));
    EXPECT_THAT(reduce<int8_t>(DataType::int8, ReduceOp::avg, {-100, 100}, {0, 27}, 300), ElementsAre(0, 0));
    const int64_t least = std::numeric_limits<int64_t>::min();
    EXPECT_THAT(reduce<int64_t>(DataType::int64, ReduceOp::avg, {least, -1}, {0, 0}, 3), ElementsAre(least / 3, 0));
    const uint64_t greatest = std::numeric_limits<uint64_t>::max();
    EXPECT_THAT(reduce<uint64_t>(DataType::uint64, ReduceOp::avg, {greatest}, {0}, 3), ElementsAre(greatest / 3));
  });
}

TEST(IntegerTest, SumsAndProductsWrap) {
  on_every_target([] {
    EXPECT_THAT(reduce<int8_t>(DataType::int8, ReduceOp::sum, {127, -128}, {1, -1}), ElementsAre(-128, 127));
    EXPECT_THAT(reduce<uint8_t>(DataType::uint8, ReduceOp::prod, {16, 255}, {17, 255}), ElementsAre(16, 1));
    EXPECT_THAT(reduce<int32_t>(DataType::int32, ReduceOp::sum, {2147483647}, {1}), ElementsAre(-2147483647 - 1));
    EXPECT_THAT(reduce<uint64_t>(DataType::uint64, ReduceOp::prod, {1ull << 63, 0xFFFFFFFFFFFFFFFF}, {2, 0xFFFFFFFFFFFFFFFF}),
                ElementsAre(0, 1));
  });
}

// Which of two not-a-numbers an addition hands on depends on the order in which the compiler puts the operands, so the
// kernels write always the same one: ranks that reduce the same data at different addresses, or on different
// processors, agree bit for bit.
template <class Float, class Bits>
void expect_one_not_a_number(DataType type) {
  const Float nan = std::numeric_limits<Float>::quiet_NaN();
  const Float other_nan = -std::bit_cast<Float>(static_cast<Bits>(std::bit_cast<Bits>(nan) | 5));
  const Float infinity = std::numeric_limits<Float>::infinity();
  const size_t count = 1001;
  for (ReduceOp op : {ReduceOp::sum, ReduceOp::prod, ReduceOp::min, ReduceOp::max}) {
    for (auto [left, right] : {std::pair{nan, other_nan}, {other_nan, nan}, {other_nan, Float{1}}, {Float{1}, other_nan}}) {
      for (Float value : reduce<Float>(type, op, std::vector<Float>(count, left), std::vector<Float>(count, right))) {
        ASSERT_EQ(std::bit_cast<Bits>(value), std::bit_cast<Bits>(nan)) << name(op);
      }
    }
  }
  const Float difference = reduce<Float>(type, ReduceOp::sum, {infinity}, {-infinity}).front();
  EXPECT_EQ(std::bit_cast<Bits>(difference), std::bit_cast<Bits>(nan));
}

TEST(NotANumberTest, HasOnePattern) {
  on_every_target([] {
    expect_one_not_a_number<float, uint32_t>(DataType::float32);
    expect_one_not_a_number<double, uint64_t>(DataType::float64);
  });
}

template <class T>
void expect_scaling(DataType type) {
  for (const size_t n : {0u, 1u, 3u, 16u, 17u, 333u}) {
    for (const double factor : {1.0, -0.3, 1.0 / 3, 1e30, 0.0}) {
      const auto content = operands(type, n, n + 1);
      std::vector<uint8_t> wanted(content.size());
      for (size_t i = 0; i < n; ++i) {
        T value;
        std::memcpy(&value, content.data() + i * sizeof(T), sizeof(T));
        const auto wide = reference::widen(value);
        value = reference::round<T>(wide * static_cast<decltype(wide)>(factor));
        std::memcpy(wanted.data() + i * sizeof(T), &value, sizeof(T));
      }
      on_every_target([&] {
        std::vector<uint8_t> from(content.size() + 1), to(content.size() + 1, 0x5A);
        std::copy(content.begin(), content.end(), from.begin() + 1);
        kernels::scale(type, from.data() + 1, to.data(), n, factor);
        ASSERT_TRUE(std::equal(wanted.begin(), wanted.end(), to.begin())) << n << " times " << factor;
        ASSERT_EQ(to.back(), 0x5A);
        kernels::scale(type, from.data() + 1, from.data() + 1, n, factor);
        ASSERT_TRUE(std::equal(wanted.begin(), wanted.end(), from.begin() + 1));
      });
    }
  }
}

TEST(ScaleTest, RoundsEachProductOnce) {
  expect_scaling<reference::Half>(DataType::float16);
  expect_scaling<reference::Brain>(DataType::bfloat16);
  expect_scaling<float>(DataType::float32);
  expect_scaling<double>(DataType::float64);
}

}  // namespace
}  // namespace tutti
