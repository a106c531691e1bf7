// topk against its definition: what is sent, what is kept, the packet's bytes, on every instruction set.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <memory>

#include "every_target.h"
#include "laws.h"
#include "sparse_reference.h"

namespace tutti {
namespace {

using Floats = std::vector<float>;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();

CodecSpec topk(double ratio, ValueType values = ValueType::fp32, uint32_t chunk = 0) {
  CodecSpec spec;
  spec.kind = CodecKind::topk;
  spec.ratio = ratio;
  spec.values = values;
  spec.chunk = chunk;
  return spec;
}

CodecSpec topk_of(uint32_t k, ValueType values = ValueType::fp32) {
  CodecSpec spec = topk(0.01, values);
  spec.k = k;
  return spec;
}

std::vector<uint32_t> bits(const Floats& numbers) {
  std::vector<uint32_t> result(numbers.size());
  std::transform(numbers.begin(), numbers.end(), result.begin(), [](float x) { return std::bit_cast<uint32_t>(x); });
  return result;
}

std::vector<std::byte> encode(const Codec& codec, const Floats& value, Floats* residual, uint32_t step = 0,
                              Floats* momentum = nullptr) {
  std::vector<std::byte> packet(codec.packet_bytes(value.size(), step), std::byte{0xA5});
  codec.encode({value.data(), residual != nullptr ? residual->data() : nullptr, momentum != nullptr ? momentum->data() : nullptr,
                value.size()},
               {.step = step}, packet.data());
  return packet;
}

Floats decode(const Codec& codec, const std::vector<std::byte>& packet, size_t n, uint32_t step = 0) {
  Floats out(n, kNan);
  const Status status = codec.decode(packet.data(), n, {.step = step}, {out.data()});
  EXPECT_TRUE(status.ok()) << status.message();
  return out;
}

// One call with a residual; all of it compared with the definition.
void expect_exact(const CodecSpec& spec, const reference::Input& input, const Floats& residual) {
  const auto codec = make_topk(spec);
  const size_t n = input.values.size();
  Floats p = input.values;
  for (size_t i = 0; i < n; ++i) p[i] += residual[i];
  const size_t k = spec.k != 0 ? std::min<size_t>(spec.k, n)
                               : std::max<size_t>(1, static_cast<size_t>(std::lround(spec.ratio * static_cast<double>(n))));
  float greatest = 0;
  for (const float x : p) greatest = std::max(greatest, std::fabs(x));
  Floats sent(n, 0.0f), kept = p;
  for (const size_t i : reference::greatest(p, k)) {
    const float value = reference::through_packet(spec.values, p[i], greatest);
    sent[i] = 0.0f + value;
    kept[i] = p[i] - value;
  }
  std::vector<std::byte> first;
  on_every_target([&] {
    const testing::ScopedTrace trace(__FILE__, __LINE__, input.name + ", " + std::to_string(k) + " of " + std::to_string(n));
    Floats left = residual;
    const auto packet = encode(*codec, input.values, &left);
    ASSERT_EQ(bits(decode(*codec, packet, n)), bits(sent));
    ASSERT_EQ(bits(left), bits(kept));
    if (first.empty()) first = packet;
    ASSERT_EQ(packet, first);
  });
}

TEST(TopKTest, SendsTheGreatestAndKeepsTheRest) {
  for (const size_t n : {1u, 2u, 3u, 63u, 64u, 65u, 255u, 815u, 816u, 817u, 1000u, 4095u, 4096u})
    for (const double ratio : {0.001, 0.01, 0.0625, 0.25, 0.6, 1.0})
      for (const reference::Input& input : reference::hard_inputs(n, n))
        expect_exact(topk(ratio, ValueType::fp32, 4096), input, Floats(n));
}

TEST(TopKTest, Laws) {
  for (const ValueType type : {ValueType::fp32, ValueType::fp16, ValueType::bf16, ValueType::int8})
    laws::expect_laws(*make_topk(topk(0.05, type, 1024)));
  laws::expect_laws(*make_topk(topk_of(300)));
}

TEST(TopKTest, SmallRatiosTakeLongChunks) {
  EXPECT_EQ(make_topk(topk(0.01))->chunk(), 4096u);
  EXPECT_EQ(make_topk(topk(0.0078125))->chunk(), 4096u);
  EXPECT_EQ(make_topk(topk(0.001))->chunk(), 32768u);
  EXPECT_EQ(make_topk(topk(1e-6))->chunk(), 65536u);
  EXPECT_EQ(make_topk(topk(0.001, ValueType::fp32, 256))->chunk(), 256u);
  EXPECT_EQ(make_topk(topk_of(5))->chunk(), 4096u);
  for (const double ratio : {0.0005, 0.001, 0.011, 0.05})
    for (const reference::Input& input : reference::hard_inputs(65536, 7))
      expect_exact(topk(ratio, ValueType::fp32, 65536), input, Floats(65536));
}

TEST(TopKTest, RoundingErrorsAreKept) {
  for (const ValueType type : {ValueType::fp16, ValueType::bf16, ValueType::int8})
    for (const size_t n : {1u, 17u, 1000u, 4096u})
      for (const double ratio : {0.01, 0.3, 1.0})
        for (const reference::Input& input : reference::hard_inputs(n, n)) expect_exact(topk(ratio, type, 4096), input, Floats(n));
}

TEST(TopKTest, ResidualsAreAddedFirst) {
  const auto values = reference::hard_inputs(4096, 1), residuals = reference::hard_inputs(4096, 2);
  for (size_t i = 0; i < values.size(); ++i) {
    Floats residual = residuals[(i + 5) % residuals.size()].values;
    for (float& x : residual) x = std::clamp(x, -1e38f, 1e38f);
    reference::Input value = values[i];
    for (float& x : value.values) x = std::clamp(x, -1e38f, 1e38f);
    for (const double ratio : {0.01, 0.1}) expect_exact(topk(ratio), value, residual);
  }
}

TEST(TopKTest, KIsOfEachChunk) {
  for (const size_t n : {1u, 4u, 5u, 6u, 1000u, 4096u}) expect_exact(topk_of(5), reference::hard_inputs(n, 3)[0], Floats(n));
}

TEST(TopKTest, OfEqualOnesTheFirst) {
  const auto codec = make_topk(topk_of(3));
  EXPECT_EQ(decode(*codec, encode(*codec, {1, -2, 2, -2, 2, 2}, nullptr), 6), (Floats{0, -2, 2, -2, 0, 0}));
  EXPECT_EQ(decode(*codec, encode(*codec, {0, 0, 0, 7, 0, 0}, nullptr), 6), (Floats{0, 0, 0, 7, 0, 0}));
}

TEST(TopKTest, WhatIsSentAndWhatIsKeptIsTheInput) {
  const auto codec = make_topk(topk(0.01));
  for (const reference::Input& input : reference::hard_inputs(4096, 11)) {
    Floats residual(4096);
    const Floats sent = decode(*codec, encode(*codec, input.values, &residual), 4096);
    EXPECT_TRUE(reference::is_divided(input.values, sent, residual)) << input.name;
  }
}

TEST(TopKTest, HalfPrecisionSaturates) {
  const auto codec = make_topk(topk_of(3, ValueType::fp16));
  Floats residual(4);
  EXPECT_EQ(decode(*codec, encode(*codec, {70000, -1e6f, 65519, 1}, &residual), 4), (Floats{65504, -65504, 65504, 0}));
  EXPECT_EQ(residual, (Floats{4496, -934496, 15, 1}));
}

TEST(TopKTest, SentElementsLoseTheirMomentum) {
  CodecSpec spec = topk_of(2);
  const Floats value = {1, 5, -3, 4, 0};
  Floats momentum(5, 9), residual(5);
  encode(*make_topk(spec), value, &residual, 0, &momentum);
  EXPECT_EQ(momentum, (Floats{9, 0, 9, 0, 9}));
  spec.masking = false;
  momentum.assign(5, 9);
  encode(*make_topk(spec), value, &residual, 0, &momentum);
  EXPECT_EQ(momentum, Floats(5, 9));
}

TEST(TopKTest, NotFinite) {
  for (const ValueType type : {ValueType::fp32, ValueType::int8})
    for (const float bad : {kNan, -kNan, kInfinity, -kInfinity})
      for (const size_t n : {1u, 100u, 4096u})
        for (const size_t place : {size_t{0}, n / 2, n - 1})
          on_every_target([&] {
            const auto codec = make_topk(topk(0.01, type));
            Floats value(n, 1), residual(n, 2), momentum(n, 3);
            value[place] = bad;
            const auto packet = encode(*codec, value, &residual, 0, &momentum);
            EXPECT_EQ(residual, Floats(n, 2));
            EXPECT_EQ(momentum, Floats(n, 3));
            EXPECT_EQ(bits(decode(*codec, packet, n)), std::vector<uint32_t>(n, 0x7FC00000));
          });
  Floats residual(2, std::numeric_limits<float>::max());  // the sum overflows
  const auto codec = make_topk(topk(0.01));
  EXPECT_EQ(bits(decode(*codec, encode(*codec, residual, &residual), 2)), std::vector<uint32_t>(2, 0x7FC00000));
}

TEST(TopKTest, DecodeAddsAndDivides) {
  for (const size_t n : {5u, 4096u}) {
    const auto codec = make_topk(topk_of(4));
    const auto inputs = reference::hard_inputs(n, 5);
    const auto packet = encode(*codec, inputs[0].values, nullptr);
    const Floats decoded = decode(*codec, packet, n), add = inputs[1].values;
    for (const uint32_t divisor : {1u, 3u, 4u}) {
      Floats expected(n), in_place = add, out(n, kNan);
      for (size_t i = 0; i < n; ++i) expected[i] = (add[i] + decoded[i]) / static_cast<float>(divisor);
      on_every_target([&] {
        ASSERT_TRUE(codec->decode(packet.data(), n, {}, {out.data(), add.data(), divisor}).ok());
        EXPECT_EQ(bits(out), bits(expected));
        in_place = add;
        ASSERT_TRUE(codec->decode(packet.data(), n, {}, {in_place.data(), in_place.data(), divisor}).ok());
        EXPECT_EQ(bits(in_place), bits(expected));
        ASSERT_TRUE(codec->decode(packet.data(), n, {}, {out.data(), nullptr, divisor}).ok());
        for (size_t i = 0; i < n; ++i) ASSERT_EQ(out[i], decoded[i] / static_cast<float>(divisor));
      });
    }
  }
}

// ‖x - C(x)‖² ≤ (1 - δ)‖x‖², in float64; the slack is that of a sum of n terms.
TEST(TopKTest, IsAContraction) {
  for (const ValueType type : {ValueType::fp32, ValueType::bf16, ValueType::int8})
    for (const double ratio : {0.01, 0.25, 1.0})
      for (const reference::Input& input : reference::hard_inputs(4096, 13)) {
        const auto codec = make_topk(topk(ratio, type));
        const Floats sent = decode(*codec, encode(*codec, input.values, nullptr), 4096);
        double all = 0, lost = 0, greatest = 0;
        for (size_t i = 0; i < 4096; ++i) {
          const double x = input.values[i], error = x - sent[i];
          all += x * x;
          lost += error * error;
          greatest = std::max(greatest, std::fabs(x));
        }
        if (type != ValueType::fp32 && greatest < 0x1p-120) continue;
        const double delta = codec->contraction(4096, 0);
        EXPECT_GT(delta, 0.9 * ratio * (type == ValueType::int8 && ratio > 0.9 ? 0.9 : 1));
        EXPECT_LE(lost, (1 - delta) * all * (1 + 1e-12)) << input.name << ", ratio " << ratio;
      }
  EXPECT_EQ(make_topk(topk(0.01))->contraction(4096, 0), 41.0 / 4096);
  EXPECT_EQ(make_topk(topk(0.01, ValueType::fp16))->contraction(4096, 0), 0);
  EXPECT_FALSE(make_topk(topk(0.01))->unbiased());
}

TEST(TopKTest, RatioFallsInStages) {
  CodecSpec spec = topk(0.01);
  spec.warmup_steps = 10;
  const auto codec = make_topk(spec);
  for (const auto& [step, k] : {std::pair{0, 1024}, {9, 1024}, {10, 256}, {20, 64}, {29, 64}, {30, 41}, {40, 41}, {4000, 41}}) {
    const auto at = static_cast<uint32_t>(step);
    EXPECT_EQ(codec->packet_bytes(4096, at), make_topk(topk_of(static_cast<uint32_t>(k)))->packet_bytes(4096, 0)) << step;
    EXPECT_EQ(codec->contraction(4096, at), k / 4096.0) << step;
    Floats residual(4096);
    const auto input = reference::hard_inputs(4096, 1)[0].values;
    const Floats sent = decode(*codec, encode(*codec, input, &residual, at), 4096, at);
    EXPECT_EQ(std::count_if(sent.begin(), sent.end(), [](float x) { return x != 0; }), k);
  }
  spec.ratio = 0.001;
  EXPECT_EQ(make_topk(spec)->contraction(32768, 35), 131.0 / 32768);
  EXPECT_EQ(make_topk(spec)->contraction(32768, 40), 33.0 / 32768);
}

}  // namespace
}  // namespace tutti
