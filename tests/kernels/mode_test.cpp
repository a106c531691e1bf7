// The same bits in every floating-point mode of the caller, which is as it was afterwards.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "every_target.h"
#include "floating_point_modes.h"
#include "kernels.h"
#include "operands.h"
#include "standard_floats.h"

namespace tutti {
namespace {

using kernels::Store;
using test::floating_point_modes;
using test::UnderMode;

constexpr size_t kCount = 2003;
constexpr DataType kFloats[] = {DataType::float16, DataType::bfloat16, DataType::float32, DataType::float64};
constexpr ReduceOp kOps[] = {ReduceOp::sum, ReduceOp::prod, ReduceOp::min, ReduceOp::max, ReduceOp::avg};

// compute() gives the same bytes in all modes as in this thread's own.
template <class Compute>
void expect_same_in_every_mode(Compute compute) {
  on_every_target([&] {
    const std::vector<uint8_t> expected = compute();
    for (const auto& mode : floating_point_modes()) {
      std::vector<uint8_t> result;
      bool still_set;
      {
        const UnderMode under(mode);
        result = compute();
        still_set = under.still_set();
      }
      EXPECT_EQ(result, expected) << mode.name;
      EXPECT_TRUE(still_set) << mode.name;
    }
  });
}

// A third of all bits patterns are denormal.
std::vector<uint8_t> with_denormals(DataType type, uint64_t seed) {
  std::vector<uint8_t> bytes = operands(type, kCount, seed);
  const size_t element = element_size(type);
  const uint8_t exponent_bits = type == DataType::float16 ? 0x7C : 0x7F;
  for (size_t i = 0; i < kCount; i += 3) {
    bytes[(i + 1) * element - 1] &= static_cast<uint8_t>(~exponent_bits);
    if (type != DataType::float16) bytes[(i + 1) * element - 2] &= type == DataType::float64 ? 0x0F : 0x7F;
  }
  return bytes;
}

TEST(ModeTest, Reduces) {
  for (const DataType type : kFloats)
    for (const ReduceOp op : kOps) {
      SCOPED_TRACE(testing::Message() << name(type) << " " << name(op));
      const auto left = with_denormals(type, 1), right = with_denormals(type, 2);
      expect_same_in_every_mode([&] {
        std::vector<uint8_t> destination(left.size());
        kernels::reduce_kernel(type, op)(destination.data(), nullptr, left.data(), right.data(), kCount, 3, Store::cached);
        return destination;
      });
    }
}

TEST(ModeTest, Folds) {
  for (const DataType type : kFloats)
    for (const ReduceOp op : kOps) {
      SCOPED_TRACE(testing::Message() << name(type) << " " << name(op));
      const auto first = with_denormals(type, 1), second = with_denormals(type, 2), third = with_denormals(type, 3);
      expect_same_in_every_mode([&] {
        std::vector<uint8_t> destination(first.size());
        const void* const sources[] = {first.data(), second.data(), third.data()};
        const kernels::Target target{destination.data(), Store::cached};
        kernels::fold_kernel(type, op)(&target, 1, sources, 3, kCount, 3);
        return destination;
      });
    }
}

TEST(ModeTest, WidensAndNarrows) {
  std::vector<float> numbers(kCount);
  std::memcpy(numbers.data(), with_denormals(DataType::float32, 4).data(), kCount * sizeof(float));
  for (size_t i = 0; i < kCount; i += 2) numbers[i] = static_cast<float>(i + 1) * 0x1.1p-26f;  // denormal as float16
  for (const DataType type : {DataType::float16, DataType::bfloat16}) {
    SCOPED_TRACE(name(type));
    const auto stored = with_denormals(type, 5);
    expect_same_in_every_mode([&] {
      std::vector<uint8_t> result(kCount * (sizeof(float) + 2));
      std::vector<float> wide(kCount);
      kernels::widen(type, stored.data(), wide.data(), kCount);
      std::memcpy(result.data(), wide.data(), kCount * sizeof(float));
      kernels::narrow(type, numbers.data(), result.data() + kCount * sizeof(float), kCount);
      return result;
    });
  }
}

TEST(StandardFloatsTest, MayBeNested) {
  volatile float least = 0x1p-149f, third = 3, one = 1;
  const float nearest = one / third;
  for (const auto& mode : floating_point_modes()) {
    const UnderMode under(mode);
    {
      const kernels::StandardFloats outer;
      {
        const kernels::StandardFloats inner;
      }
      EXPECT_EQ(one / third, nearest) << mode.name;
      EXPECT_GT(least * third, 0) << mode.name;
    }
    EXPECT_TRUE(under.still_set()) << mode.name;
  }
}

}  // namespace
}  // namespace tutti
