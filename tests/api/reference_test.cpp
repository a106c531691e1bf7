// The tests' own tools, against values worked out by hand.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "cases.h"
#include "element_types.h"
#include "test_call.h"

namespace tutti::test {
namespace {

template <class T>
Bytes bytes_of(std::initializer_list<T> values) {
  Bytes bytes;
  for (const T value : values) {
    bytes.resize(bytes.size() + sizeof(T));
    store(bytes.data() + bytes.size() - sizeof(T), value);
  }
  return bytes;
}

Call call_of(Kind kind, int size, size_t count, tutti_dtype dtype, tutti_op op = TUTTI_SUM) {
  Call call;
  call.kind = kind;
  call.size = size;
  call.count = count;
  call.dtype = dtype;
  call.op = op;
  return call;
}

TEST(ElementTypes, HalfBits) {
  EXPECT_EQ(Half::narrow(1).bits, 0x3C00);
  EXPECT_EQ(Half::narrow(-2.5).bits, 0xC100);
  EXPECT_EQ(Half::narrow(65504).bits, 0x7BFF);
  EXPECT_EQ(Half::narrow(65519).bits, 0x7BFF);
  EXPECT_EQ(Half::narrow(65520).bits, 0x7C00);  // rounds up to infinity
  EXPECT_EQ(Half::narrow(2049).bits, 0x6800);   // tie: to even, 2048
  EXPECT_EQ(Half::narrow(2051).bits, 0x6802);   // tie: to even, 2052
  EXPECT_EQ(Half::narrow(0x1p-24).bits, 0x0001);
  EXPECT_EQ(Half::narrow(0x1p-25).bits, 0x0000);
  EXPECT_EQ(Half::narrow(-0.0).bits, 0x8000);
}

TEST(ElementTypes, BFloat16Bits) {
  EXPECT_EQ(BFloat16::narrow(1).bits, 0x3F80);
  EXPECT_EQ(BFloat16::narrow(-3).bits, 0xC040);
  EXPECT_EQ(BFloat16::narrow(257).bits, 0x4380);  // tie: to even, 256
  EXPECT_EQ(BFloat16::narrow(259).bits, 0x4382);  // tie: to even, 260
}

TEST(ElementTypes, EveryNumberSurvivesWidening) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const Half half{static_cast<uint16_t>(bits)};
    const BFloat16 brain{static_cast<uint16_t>(bits)};
    ASSERT_TRUE(std::isnan(half.widen()) || Half::narrow(half.widen()).bits == bits) << bits;
    ASSERT_TRUE(std::isnan(brain.widen()) || BFloat16::narrow(brain.widen()).bits == bits) << bits;
  }
}

TEST(Reference, Reductions) {
  const std::vector<Bytes> inputs = {bytes_of<int8_t>({100, -7, 3}), bytes_of<int8_t>({100, -2, 3})};
  const auto result = [&](tutti_op op) { return expected_output(call_of(Kind::all_reduce, 2, 3, TUTTI_INT8, op), 0, inputs); };
  EXPECT_EQ(result(TUTTI_SUM), bytes_of<int8_t>({-56, -9, 6}));
  EXPECT_EQ(result(TUTTI_PROD), bytes_of<int8_t>({16, 14, 9}));
  EXPECT_EQ(result(TUTTI_MIN), bytes_of<int8_t>({100, -7, 3}));
  EXPECT_EQ(result(TUTTI_MAX), bytes_of<int8_t>({100, -2, 3}));
  EXPECT_EQ(result(TUTTI_AVG), bytes_of<int8_t>({-28, -4, 3}));
}

TEST(Reference, AverageOfHalvesIsDividedBeforeRounding) {
  const std::vector<Bytes> inputs = {bytes_of({Half::narrow(1)}), bytes_of({Half::narrow(0)}), bytes_of({Half::narrow(0)})};
  EXPECT_EQ(expected_output(call_of(Kind::all_reduce, 3, 1, TUTTI_FLOAT16, TUTTI_AVG), 2, inputs),
            bytes_of({Half::narrow(1.0 / 3)}));
}

TEST(Reference, Movements) {
  const std::vector<Bytes> inputs = {bytes_of<int32_t>({1, 2, 3, 4}), bytes_of<int32_t>({5, 6, 7, 8})};
  EXPECT_EQ(expected_output(call_of(Kind::reduce_scatter, 2, 2, TUTTI_INT32), 1, inputs), bytes_of<int32_t>({10, 12}));
  EXPECT_EQ(expected_output(call_of(Kind::all_to_all, 2, 2, TUTTI_INT32), 0, inputs), bytes_of<int32_t>({1, 2, 5, 6}));
  EXPECT_EQ(expected_output(call_of(Kind::all_gather, 2, 4, TUTTI_INT32), 0, inputs), bytes_of<int32_t>({1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(expected_output(call_of(Kind::broadcast, 2, 4, TUTTI_INT32), 1, inputs), inputs[0]);
  EXPECT_EQ(expected_output(call_of(Kind::scatter, 2, 2, TUTTI_INT32), 1, inputs), bytes_of<int32_t>({3, 4}));
  EXPECT_EQ(expected_output(call_of(Kind::gather, 2, 4, TUTTI_INT32), 1, inputs), Bytes());
}

TEST(Reference, UnevenExchangeAgreesOnBothSides) {
  Call call = call_of(Kind::all_to_all_v, 3, 5, TUTTI_UINT8);
  call.seed = 3;
  const std::vector<Bytes> inputs = make_inputs(call);
  for (int dst = 0; dst < call.size; ++dst) {
    const Bytes output = expected_output(call, dst, inputs);
    for (int src = 0; src < call.size; ++src) {
      const size_t from = gapped_offsets(send_counts(call, src))[static_cast<size_t>(dst)];
      const size_t to = gapped_offsets(recv_counts(call, dst))[static_cast<size_t>(src)];
      for (size_t i = 0; i < pair_count(call, src, dst); ++i) ASSERT_EQ(output[to + i], inputs[static_cast<size_t>(src)][from + i]);
    }
  }
}

TEST(Reference, DifferenceFindsOneWrongBit) {
  Call call = call_of(Kind::all_reduce, 2, 9, TUTTI_FLOAT32);
  const std::vector<Bytes> inputs = make_inputs(call);
  Bytes output = expected_output(call, 0, inputs);
  EXPECT_EQ(difference(call, 0, inputs, output.data(), expected_output(call, 0, inputs)), "");
  output[17] ^= std::byte{1};
  EXPECT_NE(difference(call, 0, inputs, output.data(), expected_output(call, 0, inputs)), "");
  call.values = Values::real;  // far more than rounding
  output[19] ^= std::byte{0x10};
  EXPECT_NE(difference(call, 0, inputs, output.data(), expected_output(call, 0, inputs)), "");
}

TEST(Pairwise, CoversEveryPairWithFewRows) {
  const std::vector<int> values = {30, 10, 5, 2, 8, 7, 3, 1};
  const std::vector<std::vector<int>> rows = pairwise(values);
  std::set<std::vector<size_t>> covered;
  for (const auto& row : rows) {
    ASSERT_EQ(row.size(), values.size());
    for (size_t i = 0; i < row.size(); ++i) {
      ASSERT_GE(row[i], 0);
      ASSERT_LT(row[i], values[i]);
      for (size_t j = i + 1; j < row.size(); ++j) covered.insert({i, static_cast<size_t>(row[i]), j, static_cast<size_t>(row[j])});
    }
  }
  size_t pairs = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    for (size_t j = i + 1; j < values.size(); ++j) pairs += static_cast<size_t>(values[i]) * static_cast<size_t>(values[j]);
  }
  EXPECT_EQ(covered.size(), pairs);
  EXPECT_LT(rows.size(), 2u * 30 * 10);
}

}  // namespace
}  // namespace tutti::test
