// Codecs that quantize: the laws, the reference, and what the bounds say.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dense_reference.h"
#include "expect_reference.h"
#include "laws.h"
#include "spec.h"

namespace tutti {
namespace {

using testing::HasSubstr;

const char* const kQuantizeSpecs[] = {"int8",
                              "int4",
                              "int2",
                              "int8:group=32",
                              "int4:group=64",
                              "int2:group=32",
                              "int4:group=2048",
                              "int8:levels=100",
                              "int4:levels=5",
                              "qsgd",
                              "qsgd:levels=127",
                              "qsgd:levels=1,group=32",
                              "int8:range=minmax",
                              "int4:range=minmax",
                              "int2:range=minmax,group=32",
                              "int4:range=minmax,round=stochastic",
                              "terngrad",
                              "int8:clip=3",
                              "int4:clip=2.5,group=64"};

TEST(Quantize, KeepsTheLaws) {
  for (const char* text : kQuantizeSpecs) {
    const testing::ScopedTrace trace(__FILE__, __LINE__, text);
    laws::expect_laws(*make_quantize(spec_of(text)));
  }
}

TEST(Quantize, IsTheReference) {
  for (const char* text : kQuantizeSpecs) {
    const CodecSpec spec = spec_of(text);
    expect_reference(text, *make_quantize(spec),
                     [&](const std::vector<float>& sums, bool feedback, const EncodeContext& context, auto& decoded) {
                       return reference::quantize(spec, sums, feedback, context, decoded);
                     });
  }
}

// Four bytes of header and four of scale for each group: 3.97, 7.82 and 15.3 times smaller than float32.
TEST(Quantize, PacketBytes) {
  const auto bytes = [](const char* text, size_t n) { return make_quantize(spec_of(text))->packet_bytes(n, 0); };
  EXPECT_EQ(bytes("int8", 1024), 4u + 4 + 1024);
  EXPECT_EQ(bytes("int4", 1024), 4u + 8 + 512);
  EXPECT_EQ(bytes("int2", 1024), 4u + 8 + 256);
  EXPECT_EQ(bytes("int4:range=minmax", 1024), 4u + 16 + 512);
  EXPECT_EQ(bytes("int8", 1), 4u + 4 + 4);
  EXPECT_EQ(bytes("int4", 9), 4u + 4 + 8);
  EXPECT_EQ(make_quantize(spec_of("int8"))->chunk(), 1024u);
  EXPECT_EQ(make_quantize(spec_of("int8:group=4096"))->chunk(), 4096u);
}

// The bounds are the suprema that their derivations say: a chunk comes near to each, the laws have shown that none goes
// beyond.
TEST(Quantize, WorstChunksComeNearTheBounds) {
  std::vector<float> worst(512, 0.4999f);  // rounds to zero
  worst[100] = 7;
  const auto int4 = make_quantize(spec_of("int4"));
  EXPECT_NEAR(int4->contraction(512, 0), 196.0 / (196 + 511), 1e-12);
  const double lost = laws::square_distance(worst, laws::sent(*int4, worst, true, {})) / laws::square_norm(worst);
  EXPECT_NEAR(1 - lost, int4->contraction(512, 0), 1e-3);

  const auto qsgd = make_quantize(spec_of("qsgd"));
  EXPECT_NEAR(qsgd->variance(512, 0), (std::sqrt(1 + 511.0 / 49) - 1) / 2, 1e-12);
  EXPECT_DOUBLE_EQ(qsgd->contraction(512, 0), 1 / (1 + qsgd->variance(512, 0)));
  for (float& v : worst) v = v == 7 ? 7.0f : static_cast<float>(7 / (std::sqrt(49 + 511.0) + 7));
  double variance = 0;
  for (uint64_t seed = 0; seed < 400; ++seed)
    variance += laws::square_distance(worst, laws::sent(*qsgd, worst, false, {.seed = seed})) / 400;
  EXPECT_NEAR(variance / laws::square_norm(worst), qsgd->variance(512, 0), 0.01);

  EXPECT_TRUE(qsgd->unbiased());
  EXPECT_FALSE(int4->unbiased());
  EXPECT_FALSE(make_quantize(spec_of("terngrad"))->unbiased()) << "what is clipped is lost";
  EXPECT_EQ(make_quantize(spec_of("int4:range=minmax"))->contraction(512, 0), 0) << "zero may lie midway between two steps";
}

TEST(Quantize, ExactValues) {
  const auto first = [](const char* text, const std::vector<float>& x) {
    return laws::sent(*make_quantize(spec_of(text)), x, true, {});
  };
  using testing::ElementsAre;
  EXPECT_THAT(first("int4", {7, -7, 0.5f, 1.5f, -2.5f, 3.4f, 0}), ElementsAre(7, -7, 0, 2, -2, 3, 0));  // ties to even
  EXPECT_THAT(first("int8", {0, -0.0f, 0}), ElementsAre(0, 0, 0));
  EXPECT_THAT(first("int4:range=minmax", {5, 20, 6.4f, 11.6f}), ElementsAre(5, 20, 6, 12));
  EXPECT_THAT(first("int2:range=minmax", {-3, -3, -3}), ElementsAre(-3, -3, -3));
  // Δ = 2^-149.
  EXPECT_THAT(first("int8", {0x1p-149f, -0x7Fp-149f, 0}), ElementsAre(0x1p-149f, -0x7Fp-149f, 0));
  // Δ = 2 · 2^-149.
  EXPECT_THAT(first("int8", {0x80p-149f, 0x3p-149f, 0x4p-149f}), ElementsAre(0x80p-149f, 0x4p-149f, 0x4p-149f));
  EXPECT_THAT(first("int2:clip=1", {2, -2, 2, 2}), ElementsAre(2, -2, 2, 2)) << "a constant is not clipped";
  EXPECT_THAT(first("int2:clip=1", {4, 0, 0, 0}), ElementsAre(2, 0, 0, 0)) << "σ = 2";
}

TEST(Quantize, RefusesWhatNobodyEncodes) {
  const size_t n = 100;
  std::vector<float> out(n), none;
  for (const char* text : {"int8", "int4:levels=5", "int8:group=32", "int8:range=minmax"}) {
    const auto codec = make_quantize(spec_of(text));
    const laws::Packet good = laws::encode(*codec, laws::samples(n)[0].values, none, {});
    const auto message = [&](size_t word, uint32_t content) {
      laws::Packet packet = good;
      packet.word(word) = content;
      const Status status = codec->decode(packet.data(), n, {}, {out.data()});
      EXPECT_EQ(status.code(), Code::mismatch) << text;
      return status.message();
    };
    EXPECT_THAT(message(0, 2), HasSubstr("unknown kind 2"));
    for (const float scale : {-1.0f, -0.0f, laws::kNan, std::numeric_limits<float>::infinity(), 3e38f})
      EXPECT_THAT(message(1, std::bit_cast<uint32_t>(scale)), HasSubstr("has the scale")) << text << " " << scale;
    if (std::string_view(text) == "int8:range=minmax") {
      EXPECT_THAT(message(2, std::bit_cast<uint32_t>(laws::kNan)), HasSubstr("has the scale"));
      continue;  // has all 256 codes
    }
    EXPECT_THAT(message(good.bytes() / 4 - 1, 0), HasSubstr("more than")) << "code 0 is one step below the least";
  }
}

}  // namespace
}  // namespace tutti
