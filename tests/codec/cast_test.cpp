// Shorter floats.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "dense_reference.h"
#include "expect_reference.h"
#include "laws.h"
#include "reference.h"

namespace tutti {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const char* const kEight[] = {"fp8_e4m3",
                              "fp8_e5m2",
                              "fp8_e4m3:group=32",
                              "fp8_e5m2:group=2048",
                              "fp8_e4m3:round=stochastic",
                              "fp8_e5m2:round=stochastic,group=64"};

TEST(Cast, KeepsTheLaws) {
  std::vector<const char*> all = {"fp16", "bf16"};
  all.insert(all.end(), std::begin(kEight), std::end(kEight));
  for (const char* text : all) {
    const testing::ScopedTrace trace(__FILE__, __LINE__, text);
    laws::expect_laws(*make_cast(spec_of(text)));
  }
}

TEST(Cast, EightBitsAreTheReference) {
  for (const char* text : kEight) {
    const CodecSpec spec = spec_of(text);
    expect_reference(text, *make_cast(spec),
                     [&](const std::vector<float>& sums, bool feedback, const EncodeContext& context, auto& decoded) {
                       return reference::fp8(spec, sums, feedback, context, decoded);
                     });
  }
}

template <class Format>
std::vector<uint32_t> sixteen(const std::vector<float>& sums, float greatest, std::vector<float>& decoded) {
  std::vector<uint32_t> packet(1 + (sums.size() + 1) / 2);
  decoded.resize(sums.size());
  for (size_t i = 0; i < sums.size(); ++i) {
    const Format code = Format::encode(std::clamp(sums[i], -greatest, greatest));
    packet[1 + i / 2] |= uint32_t{code.bits} << 16 * (i % 2);
    decoded[i] = code.decode();
  }
  return packet;
}

TEST(Cast, SixteenBitsAreTheReference) {
  expect_reference("fp16", *make_cast(spec_of("fp16")),
                   [](const std::vector<float>& sums, bool, const EncodeContext&, auto& decoded) {
                     return sixteen<reference::Half>(sums, 65504, decoded);
                   });
  expect_reference("bf16", *make_cast(spec_of("bf16")),
                   [](const std::vector<float>& sums, bool, const EncodeContext&, auto& decoded) {
                     return sixteen<reference::Brain>(sums, 0x1.FEp127f, decoded);
                   });
}

TEST(Cast, FiniteStaysFiniteAndTheRestIsKept) {
  const auto fp16 = make_cast(spec_of("fp16"));
  std::vector<float> residual(2);
  const laws::Packet packet = laws::encode(*fp16, {100000, -65520}, residual, {});
  EXPECT_THAT(laws::decode(*fp16, packet, 2, {}), ElementsAre(65504, -65504));
  EXPECT_THAT(residual, ElementsAre(100000 - 65504, -16));
  EXPECT_THAT(laws::sent(*make_cast(spec_of("bf16")), {0x1.fffffep127f}, true, {}), ElementsAre(0x1.FEp127f));
}

// Every code of the formats, but for infinities and not-a-numbers, which are refused.
TEST(Cast, EveryEightBitCode) {
  for (const auto& [text, mantissa, bias, last] : {std::tuple{"fp8_e4m3", 3, 7, 0x7Eu}, {"fp8_e5m2", 2, 15, 0x7Bu}}) {
    const auto codec = make_cast(spec_of(text));
    std::vector<float> out(4), none;
    laws::Packet packet = laws::encode(*codec, {1, 1, 1, 1}, none, {});
    packet.word(1) = std::bit_cast<uint32_t>(1.0f);
    for (uint32_t code = 0; code < 128; ++code) {
      packet.word(2) = code | (code | 0x80) << 8;
      const Status status = codec->decode(packet.data(), 4, {}, {out.data()});
      ASSERT_EQ(status.ok(), code <= last) << text << " " << code;
      if (code > last) {
        EXPECT_THAT(status.message(), HasSubstr("infinity or a not-a-number"));
        continue;
      }
      EXPECT_THAT(out, ElementsAre(reference::eight(code, mantissa, bias), -reference::eight(code, mantissa, bias), 0, 0));
    }
  }
}

TEST(Cast, GroupMaximumIsExact) {
  EXPECT_THAT(laws::sent(*make_cast(spec_of("fp8_e4m3")), {896, 2, -2.125f, 0}, true, {}),
              ElementsAre(896, 2, -2, 0));  // a tie, to even
}

TEST(Cast, SizesAndBounds) {
  EXPECT_EQ(make_cast(spec_of("fp16"))->packet_bytes(1024, 0), 4u + 2048);
  EXPECT_EQ(make_cast(spec_of("bf16"))->packet_bytes(3, 0), 4u + 8);
  EXPECT_EQ(make_cast(spec_of("fp8_e4m3"))->packet_bytes(1024, 0), 4u + 4 + 1024);
  EXPECT_EQ(make_cast(spec_of("fp16"))->contraction(1024, 0), 0);
  EXPECT_NEAR(make_cast(spec_of("fp8_e4m3"))->contraction(1, 0), 1 - 1.0 / 289, 1e-12);
  EXPECT_NEAR(make_cast(spec_of("fp8_e5m2:round=stochastic"))->variance(1, 0), 1.0 / 80, 1e-12);
  EXPECT_TRUE(make_cast(spec_of("fp8_e5m2:round=stochastic"))->unbiased());
}

TEST(Cast, RefusesWhatNobodyEncodes) {
  std::vector<float> none, out(3);
  for (const auto& [text, bad] : {std::pair{"fp16", 0x7C00u}, {"fp16", 0xFE00u}, {"bf16", 0xFF80u}, {"bf16", 0x7FC0u}}) {
    const auto codec = make_cast(spec_of(text));
    laws::Packet packet = laws::encode(*codec, {1, 2, 3}, none, {});
    packet.word(2) = bad;
    EXPECT_THAT(codec->decode(packet.data(), 3, {}, {out.data()}).message(), HasSubstr("infinity or a not-a-number"));
  }
  const auto codec = make_cast(spec_of("fp8_e5m2"));
  laws::Packet packet = laws::encode(*codec, {1, 2, 3}, none, {});
  for (const float scale : {-1.0f, laws::kNan, 1e37f}) {
    packet.word(1) = std::bit_cast<uint32_t>(scale);
    EXPECT_THAT(codec->decode(packet.data(), 3, {}, {out.data()}).message(), HasSubstr("has the scale"));
  }
}

}  // namespace
}  // namespace tutti
