// Every kernel against the scalar reference: lengths around the vector widths, misaligned operands, all ways of working
// in place, both kinds of stores, with and without division; the same bits on every target.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "every_target.h"
#include "guarded.h"
#include "kernels.h"
#include "operands.h"
#include "reference.h"

namespace tutti {
namespace {

using kernels::Store;

// Around 1, 2, 4 and 8 vectors (where blocks begin) of 16, 32 and 64 bytes for elements of 1 to 8 bytes; and two long
// ones.
const std::vector<size_t>& lengths() {
  static const std::vector<size_t> lengths = [] {
    std::vector<size_t> result = {0, 1, 2, 3, 5, 1000, 4999};
    for (size_t power = 4; power <= 512; power *= 2) result.insert(result.end(), {power - 1, power, power + 1});
    return result;
  }();
  return lengths;
}

constexpr uint32_t kDivisors[] = {1, 2, 3, 7};

class KernelTest : public testing::TestWithParam<std::tuple<DataType, ReduceOp>> {
 protected:
  DataType type() const { return std::get<0>(GetParam()); }
  ReduceOp op() const { return std::get<1>(GetParam()); }
  size_t bytes(size_t count) const { return count * element_size(type()); }
};

enum class InPlace { none, destination_is_left, destination_is_right, pass_is_left, pass_is_right, destination_is_both };
constexpr InPlace kInPlace[] = {InPlace::none,         InPlace::destination_is_left,  InPlace::destination_is_right,
                                InPlace::pass_is_left, InPlace::pass_is_right, InPlace::destination_is_both};

TEST_P(KernelTest, ReducesAsTheReference) {
  const auto kernel_of = [&] { return kernels::reduce_kernel(type(), op()); };
  uint64_t turn = 0;
  for (size_t count : lengths()) {
    for (InPlace mode : kInPlace) {
      const uint64_t seed = ++turn;
      const uint32_t divisor = kDivisors[seed % std::size(kDivisors)];
      const auto left_content = operands(type(), count, 2 * seed);
      const auto right_content = mode == InPlace::destination_is_both ? left_content : operands(type(), count, 2 * seed + 1);
      const auto expected = reference::fold(type(), op(), {left_content.data(), right_content.data()}, count, divisor);
      on_every_target([&] {
        for (Store store : {Store::cached, Store::streaming}) {
          SCOPED_TRACE(testing::Message() << count << " elements, mode " << static_cast<int>(mode) << ", divisor " << divisor
                                          << (store == Store::streaming ? ", streaming" : ""));
          Guarded left(left_content, bytes(seed % 5)), right(right_content, bytes(seed % 3)),
              destination(bytes(count), bytes(seed % 7)), pass(bytes(count), bytes(seed % 2));
          const bool destination_is_left = mode == InPlace::destination_is_left || mode == InPlace::destination_is_both;
          Guarded& target = destination_is_left ? left : mode == InPlace::destination_is_right ? right : destination;
          Guarded& second = mode == InPlace::pass_is_left ? left : mode == InPlace::pass_is_right ? right : pass;
          const bool with_pass = mode == InPlace::pass_is_left || mode == InPlace::pass_is_right || seed % 2 == 0;
          uint8_t* const right_data = mode == InPlace::destination_is_both ? left.data() : right.data();
          kernel_of()(target.data(), with_pass ? second.data() : nullptr, left.data(), right_data, count, divisor, store);
          ASSERT_EQ(target.content(), expected);
          if (with_pass) {
            ASSERT_EQ(second.content(), expected);
          }
          if (&target != &left && &second != &left) {
            ASSERT_EQ(left.content(), left_content);
          }
          if (&target != &right && &second != &right) {
            ASSERT_EQ(right.content(), right_content);
          }
          for (const Guarded* buffer : {&left, &right, &destination, &pass}) ASSERT_TRUE(buffer->guards_intact());
        }
      });
    }
  }
}

TEST_P(KernelTest, FoldsAsTheReference) {
  uint64_t turn = 0;
  for (size_t count : lengths()) {
    for (size_t n : {1u, 2u, 3u, 4u, 8u}) {
      const uint64_t seed = ++turn;
      const uint32_t divisor = kDivisors[seed % std::size(kDivisors)];
      const Store store = seed % 3 == 0 ? Store::streaming : Store::cached;
      std::vector<std::vector<uint8_t>> contents;
      std::vector<const uint8_t*> content_pointers;
      for (size_t s = 0; s < n; ++s) contents.push_back(operands(type(), count, 1000 * seed + s));
      for (const auto& content : contents) content_pointers.push_back(content.data());
      const auto expected = reference::fold(type(), op(), content_pointers, count, divisor);
      on_every_target([&] {
        SCOPED_TRACE(testing::Message() << count << " elements of " << n << " sources, divisor " << divisor);
        std::vector<std::unique_ptr<Guarded>> sources;
        std::vector<const void*> pointers;
        for (size_t s = 0; s < n; ++s) {
          sources.push_back(std::make_unique<Guarded>(contents[s], bytes((seed + s) % 5)));
          pointers.push_back(sources.back()->data());
        }
        Guarded apart(bytes(count), bytes(seed % 3));
        Guarded& destination = seed % 2 == 0 ? apart : *sources[seed / 2 % n];
        // Aligned like destination or not.
        Guarded second(bytes(count), bytes(seed % 3)), third(bytes(count), bytes((seed + 1) % 3));
        const kernels::Target targets[] = {{destination.data(), store}, {second.data(), Store::cached}, {third.data(), store}};
        const size_t n_targets = 1 + seed % 3;
        kernels::fold_kernel(type(), op())(targets, n_targets, pointers.data(), n, count, divisor);
        ASSERT_EQ(destination.content(), expected);
        ASSERT_TRUE(apart.guards_intact() && second.guards_intact() && third.guards_intact());
        if (n_targets > 1) {
          ASSERT_EQ(second.content(), expected);
        }
        if (n_targets > 2) {
          ASSERT_EQ(third.content(), expected);
        }
        for (size_t s = 0; s < n; ++s) {
          ASSERT_TRUE(sources[s]->guards_intact());
          if (sources[s].get() != &destination) {
            ASSERT_EQ(sources[s]->content(), contents[s]);
          }
        }
      });
    }
  }
}

// Operands a few bytes off the element's alignment, each by another number.  No address that whole elements reach is a
// vector's there.
TEST_P(KernelTest, AnyAddressGivesTheSameBits) {
  const size_t element = element_size(type());
  for (size_t off = 1; off < element; ++off) {
    for (size_t count : {size_t{1}, size_t{130}, size_t{1000}, size_t{4999}}) {
      const uint32_t divisor = kDivisors[off % std::size(kDivisors)];
      const auto left_content = operands(type(), count, 2 * off), right_content = operands(type(), count, 2 * off + 1);
      const auto reduced = reference::fold(type(), op(), {left_content.data(), right_content.data()}, count, divisor);
      on_every_target([&] {
        for (Store store : {Store::cached, Store::streaming}) {
          SCOPED_TRACE(testing::Message() << count << " elements, " << off << " bytes off"
                                          << (store == Store::streaming ? ", streaming" : ""));
          Guarded left(left_content, off / 2), right(right_content, bytes(3) + off), destination(bytes(count), off),
              pass(bytes(count), element - off), aligned(bytes(count), bytes(2));
          kernels::reduce_kernel(type(), op())(destination.data(), pass.data(), left.data(), right.data(), count, divisor, store);
          ASSERT_EQ(destination.content(), reduced);
          ASSERT_EQ(pass.content(), reduced);
          const void* const sources[] = {left.data(), right.data()};
          Guarded odd(bytes(count), bytes(2) + off), again(bytes(count), bytes(2) + off);
          const kernels::Target targets[] = {{odd.data(), store}, {aligned.data(), store}, {again.data(), store}};
          for (size_t n_targets : {size_t{1}, std::size(targets)})
            kernels::fold_kernel(type(), op())(targets, n_targets, sources, std::size(sources), count, divisor);
          for (const Guarded* target : {&odd, &aligned, &again}) ASSERT_EQ(target->content(), reduced);
          kernels::reduce_kernel(type(), op())(right.data(), nullptr, left.data(), right.data(), count, divisor, store);
          ASSERT_EQ(right.content(), reduced);
          for (const Guarded* buffer : {&left, &right, &destination, &pass, &aligned, &odd, &again})
            ASSERT_TRUE(buffer->guards_intact());
        }
      });
    }
  }
}

std::vector<std::tuple<DataType, ReduceOp>> pairs(bool defined) {
  std::vector<std::tuple<DataType, ReduceOp>> pairs;
  for (int t = 0; t < kDataTypes; ++t)
    for (int o = 0; o < kReduceOps; ++o)
      if (const auto type = static_cast<DataType>(t); is_defined(static_cast<ReduceOp>(o), type) == defined)
        pairs.emplace_back(type, static_cast<ReduceOp>(o));
  return pairs;
}

TEST(KernelsTest, OnlyWhatIsDefinedHasKernels) {
  EXPECT_EQ(pairs(false).size(), 12u + kDataTypes);
  on_every_target([] {
    for (const auto& [type, op] : pairs(false)) {
      EXPECT_EQ(kernels::reduce_kernel(type, op), nullptr);
      EXPECT_EQ(kernels::fold_kernel(type, op), nullptr);
    }
  });
}

INSTANTIATE_TEST_SUITE_P(All, KernelTest, testing::ValuesIn(pairs(true)), [](const auto& instance) {
  return std::string(name(std::get<0>(instance.param))) + "_" + std::string(name(std::get<1>(instance.param)));
});

TEST(TargetTest, EachIsChosenByName) {
  for (int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    EXPECT_EQ(kernels::target_name(), hwy::TargetName(target));
  }
  hwy::SetSupportedTargetsForTest(0);
  EXPECT_EQ(kernels::target_name(), hwy::TargetName(hwy::SupportedAndGeneratedTargets().front()));
}

}  // namespace
}  // namespace tutti
