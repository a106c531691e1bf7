// Packets, residuals and decoded numbers have the same bits in every floating-point mode of the caller.
#include <gtest/gtest.h>

#include <random>
#include <utility>
#include <vector>

#include "every_target.h"
#include "floating_point_modes.h"
#include "momentum.h"
#include "tensor_codec.h"

namespace tutti {
namespace {

using test::floating_point_modes;
using test::FloatingPointMode;
using test::UnderMode;
using Floats = std::vector<float>;

// Normal numbers, and denormal ones.
Floats numbers(size_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  Floats result(n);
  for (size_t i = 0; i < n; ++i) result[i] = normal(random) * (i % 7 == 0 ? 0x1p-130f : 1.0f);
  return result;
}

struct Inputs {
  Floats value, residual, add;
  Inputs(size_t n, float magnitude) : value(numbers(n, 1)), residual(numbers(n, 2)), add(numbers(n, 3)) {
    for (Floats* floats : {&value, &residual, &add})
      for (float& x : *floats) x *= magnitude;
  }
};

void append(std::vector<std::byte>& bytes, const void* from, size_t n) {
  const auto* first = static_cast<const std::byte*>(from);
  bytes.insert(bytes.end(), first, first + n);
}

// A packet, and all else that making and reading it leaves.
std::vector<std::byte> traces(const char* text, const Inputs& inputs) {
  const auto codec = make_codec(*parse_codec(text));
  const size_t n = inputs.value.size();
  Floats residual = inputs.residual, foretold(n), decoded(n);
  const EncodeContext context{.seed = 5, .step = 3, .rank = 1};
  std::vector<std::byte> packet(codec->packet_bytes(n, context.step));
  const Chunk chunk{inputs.value.data(), residual.data(), nullptr, n, {foretold.data(), nullptr, 3}};
  codec->encode(chunk, context, packet.data());
  const Status status = codec->decode(packet.data(), n, context, {decoded.data(), inputs.add.data(), 3});
  EXPECT_TRUE(status.ok()) << status.message();
  for (const Floats* floats : {&residual, &foretold, &decoded}) append(packet, floats->data(), n * sizeof(float));
  return packet;
}

// compute() gives the same in all modes as in this thread's own.
template <class Compute>
void expect_same_in_every_mode(Compute compute) {
  on_every_target([&] {
    const auto expected = compute();
    for (const auto& mode : floating_point_modes()) {
      auto found = expected;
      bool still_set;
      {
        const UnderMode under(mode);
        found = compute();
        still_set = under.still_set();
      }
      EXPECT_EQ(found, expected) << mode.name;
      EXPECT_TRUE(still_set) << mode.name;
    }
  });
}

class ModeTest : public testing::TestWithParam<const char*> {};

TEST_P(ModeTest, LeavesTheSameBits) {
  for (const auto& [n, magnitude] : {std::pair<size_t, float>{1000, 1.0f}, {1024, 0x1p-120f}, {77, 0x1p-140f}, {256, 1000.0f}}) {
    SCOPED_TRACE(testing::Message() << n << " numbers of about " << magnitude);
    const Inputs inputs(n, magnitude);
    expect_same_in_every_mode([&] { return traces(GetParam(), inputs); });
  }
}

INSTANTIATE_TEST_SUITE_P(Codecs, ModeTest,
                         testing::Values("fp16", "bf16", "fp8_e4m3", "fp8_e5m2:round=stochastic,group=64", "int8",
                                         "int4:range=minmax", "int8:round=stochastic,seed=7", "qsgd:levels=5", "terngrad", "sign",
                                         "topk:ratio=0.1", "topk:ratio=0.3,values=fp16", "topk:ratio=0.3,values=int8",
                                         "randomk:ratio=0.37"));

TEST(MomentumModeTest, GivesTheSameBits) {
  const CodecSpec spec = *parse_codec("topk:ratio=0.1,momentum=0.9,clip_norm=0.01");
  const Inputs inputs(1000, 0x1p-100f);
  expect_same_in_every_mode([&] {
    Floats velocity = inputs.residual;
    velocity.resize(2 * velocity.size());
    const float scale = clipping(spec, inputs.value.data(), DataType::float32, inputs.value.size(), 3);
    add_momentum(spec, inputs.value.data(), velocity.data(), scale, inputs.value.size(), velocity.data() + inputs.value.size());
    velocity.push_back(scale);
    return velocity;
  });
}

TEST(TensorModeTest, ResidualsAreScaledToTheSameBits) {
  const auto residual_scaled = [](const FloatingPointMode* mode) {
    auto tensor = *TensorCodec::create(*parse_codec("int8"), 100, DataType::float32);
    for (size_t i = 0; i < 100; ++i) tensor->residual()[i] = static_cast<float>(i) * 0x1p-148f;
    double norm = 0;
    const auto work = [&] { return tensor->scale(1.0 / 3).ok() && tensor->norm(norm).ok(); };
    bool well;
    if (mode) {
      const UnderMode under(*mode);
      well = work();
    } else {
      well = work();
    }
    EXPECT_TRUE(well);
    return std::pair(Floats(tensor->residual(), tensor->residual() + 100), norm);
  };
  const auto expected = residual_scaled(nullptr);
  for (const auto& mode : floating_point_modes()) EXPECT_EQ(residual_scaled(&mode), expected) << mode.name;
}

}  // namespace
}  // namespace tutti
