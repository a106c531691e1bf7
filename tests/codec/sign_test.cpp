// One bit a number.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dense_reference.h"
#include "expect_reference.h"
#include "laws.h"

namespace tutti {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const char* const kSignSpecs[] = {"sign", "sign:group=32", "sign:group=512", "sign:group=2048"};

TEST(Sign, KeepsTheLaws) {
  for (const char* text : kSignSpecs) {
    const testing::ScopedTrace trace(__FILE__, __LINE__, text);
    laws::expect_laws(*make_sign(spec_of(text)));
  }
}

TEST(Sign, IsTheReference) {
  for (const char* text : kSignSpecs) {
    const CodecSpec spec = spec_of(text);
    expect_reference(text, *make_sign(spec), [&](const std::vector<float>& sums, bool, const EncodeContext&, auto& decoded) {
      return reference::sign(spec, sums, decoded);
    });
  }
}

TEST(Sign, MeanMagnitude) {
  const auto codec = make_sign(spec_of("sign"));
  EXPECT_THAT(laws::sent(*codec, {1, -2, 3, -6}, true, {}), ElementsAre(3, -3, 3, -3));
  EXPECT_EQ(codec->packet_bytes(1024, 0), 4u + 4 + 128);  // 30.1 times smaller than float32
  EXPECT_EQ(codec->packet_bytes(1, 0), 4u + 4 + 4);
  const float huge = 3e38f;  // the sum of magnitudes leaves float32, their mean does not
  const std::vector<float> sent = laws::sent(*codec, std::vector<float>(1024, -huge), true, {});
  EXPECT_NEAR(sent[0] / -huge, 1, 1e-6);
}

// A number among zeros loses (1 - 1/d) of its square, which is the bound; normal numbers keep 2/π.
TEST(Sign, BoundIsReached) {
  const auto codec = make_sign(spec_of("sign"));
  std::vector<float> lonely(1024);
  lonely[77] = -5;
  EXPECT_DOUBLE_EQ(codec->contraction(1024, 0), 1.0 / 1024);
  EXPECT_NEAR(laws::square_distance(lonely, laws::sent(*codec, lonely, true, {})) / 25, 1 - 1.0 / 1024, 1e-6);
  const std::vector<float> gradient = laws::samples(1024)[0].values;
  EXPECT_NEAR(laws::square_distance(gradient, laws::sent(*codec, gradient, true, {})) / laws::square_norm(gradient), 1 - 2 / M_PI,
              0.03);
}

TEST(Sign, RefusesWhatNobodyEncodes) {
  const auto codec = make_sign(spec_of("sign"));
  std::vector<float> none, out(40);
  laws::Packet packet = laws::encode(*codec, laws::samples(40)[0].values, none, {});
  for (const float scale : {-1.0f, -0.0f, laws::kNan, std::numeric_limits<float>::infinity()}) {
    packet.word(1) = std::bit_cast<uint32_t>(scale);
    EXPECT_THAT(codec->decode(packet.data(), 40, {}, {out.data()}).message(), HasSubstr("has the scale"));
  }
}

}  // namespace
}  // namespace tutti
