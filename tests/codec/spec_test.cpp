#include "spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tutti {
namespace {

using testing::AllOf;
using testing::HasSubstr;

CodecSpec spec(std::string_view text) {
  const auto result = parse_codec(text);
  EXPECT_TRUE(result.ok()) << result.status().message();
  return result.ok() ? *result : CodecSpec{};
}

std::string error(std::string_view text) {
  const auto result = parse_codec(text);
  EXPECT_FALSE(result.ok()) << text;
  EXPECT_EQ(result.status().code(), Code::invalid_argument);
  return result.status().message();
}

TEST(CodecSpec, Names) {
  EXPECT_EQ(spec("fp16"), (CodecSpec{.kind = CodecKind::cast, .type = CastType::fp16}));
  EXPECT_EQ(spec("bf16"), (CodecSpec{.kind = CodecKind::cast, .type = CastType::bf16}));
  EXPECT_EQ(spec("fp8_e4m3"), (CodecSpec{.kind = CodecKind::cast, .type = CastType::fp8_e4m3}));
  EXPECT_EQ(spec("fp8_e5m2"), (CodecSpec{.kind = CodecKind::cast, .type = CastType::fp8_e5m2}));
  EXPECT_EQ(spec("int8"), CodecSpec{});
  EXPECT_EQ(spec("int4"), (CodecSpec{.levels = 7, .bits = 4}));
  EXPECT_EQ(spec("int2"), (CodecSpec{.levels = 1, .bits = 2}));
  EXPECT_EQ(spec("qsgd"), (CodecSpec{.levels = 7, .bits = 4, .rounding = Rounding::stochastic}));
  EXPECT_EQ(spec("terngrad"),
            (CodecSpec{.levels = 1, .bits = 2, .clip_sigma = 2.5, .rounding = Rounding::stochastic, .feedback = 0}));
  EXPECT_EQ(spec("sign"), CodecSpec{.kind = CodecKind::sign});
  EXPECT_EQ(spec("topk"), CodecSpec{.kind = CodecKind::topk});
  EXPECT_EQ(spec("randomk"), CodecSpec{.kind = CodecKind::randomk});
}

TEST(CodecSpec, Settings) {
  EXPECT_EQ(spec("auto:int8"), CodecSpec{.automatic = true});
  EXPECT_EQ(spec("auto:int4:group=128"), (CodecSpec{.automatic = true, .levels = 7, .bits = 4, .group = 128}));
  EXPECT_EQ(spec(" cast : type = fp8_e5m2 , round = stochastic , group = 64 "),
            (CodecSpec{.kind = CodecKind::cast, .type = CastType::fp8_e5m2, .rounding = Rounding::stochastic, .group = 64}));
  EXPECT_EQ(spec("quantize:bits=4,range=minmax,feedback=0,seed=18446744073709551615"),
            (CodecSpec{.levels = 7, .bits = 4, .range = Range::minmax, .feedback = 0, .seed = UINT64_MAX}));
  EXPECT_EQ(spec("topk:ratio=0.001,chunk=65536,values=bf16,momentum=0.9,clip_norm=6.0,masking=0,warmup=100,feedback=1"),
            (CodecSpec{.kind = CodecKind::topk,
                       .ratio = 0.001,
                       .chunk = 65536,
                       .values = ValueType::bf16,
                       .momentum = 0.9,
                       .clip_norm = 6,
                       .masking = false,
                       .warmup_steps = 100,
                       .feedback = 1}));
  EXPECT_EQ(spec("randomk:k=64,values=int8"), (CodecSpec{.kind = CodecKind::randomk, .k = 64, .values = ValueType::int8}));
}

TEST(CodecSpec, LevelsTakeTheFewestBits) {
  for (const auto& [levels, bits] : {std::pair{1, 2u}, {2, 4u}, {7, 4u}, {8, 8u}, {100, 8u}, {127, 8u}})
    EXPECT_EQ(spec("qsgd:levels=" + std::to_string(levels)).bits, bits) << levels;
  EXPECT_EQ(spec("quantize:bits=2").levels, 1u);
  EXPECT_EQ(spec("quantize:bits=8").levels, 127u);
}

TEST(CodecSpec, CanonicalText) {
  for (const std::string_view text : {"int8",
                                      "int4",
                                      "int2",
                                      "qsgd",
                                      "terngrad",
                                      "sign",
                                      "topk",
                                      "randomk",
                                      "fp16",
                                      "bf16",
                                      "fp8_e4m3",
                                      "fp8_e5m2",
                                      "auto:int8",
                                      "int4:group=128",
                                      "int8:levels=100",
                                      "qsgd:levels=100",
                                      "sign:group=4096,feedback=0",
                                      "topk:ratio=0.001,chunk=65536",
                                      "topk:momentum=0.9,clip_norm=6,masking=0,warmup=100",
                                      "auto:randomk:k=12,feedback=1,seed=3",
                                      "fp8_e4m3:round=stochastic",
                                      "int8:range=minmax"}) {
    EXPECT_EQ(describe(spec(text)), text);
    EXPECT_EQ(spec(describe(spec(text))), spec(text));
  }
  EXPECT_EQ(describe(spec("quantize")), "int8");
  EXPECT_EQ(describe(spec("cast:type=bf16")), "bf16");
  EXPECT_EQ(describe(spec("quantize:bits=4,round=stochastic")), "qsgd");
  EXPECT_EQ(describe(spec("quantize:levels=1,clip=2.5,round=stochastic")),
            "int2:clip=2.5,round=stochastic");  // not terngrad's feedback
  EXPECT_EQ(describe(spec("topk:ratio=0.01,chunk=0")), "topk");
}

TEST(CodecSpec, RefusedWithReason) {
  EXPECT_THAT(error("int9"), AllOf(HasSubstr("in the codec \"int9\""), HasSubstr("did you mean \"int8\"?"), HasSubstr("topk")));
  EXPECT_THAT(error(""), HasSubstr("the name of a codec is missing"));
  EXPECT_THAT(error("auto:"), HasSubstr("the name of a codec is missing"));
  EXPECT_THAT(error("auto"), HasSubstr("\"auto\" is no codec"));
  EXPECT_THAT(error("int8:"), HasSubstr("a setting is missing; there are bits"));
  EXPECT_THAT(error("int8:gruop=64"),
              AllOf(HasSubstr("\"gruop\" is no setting of quantize"), HasSubstr("did you mean \"group\"?")));
  EXPECT_THAT(error("topk:group=64"), AllOf(HasSubstr("\"group\" is no setting of topk"), HasSubstr("ratio, k, chunk")));
  EXPECT_THAT(error("int8:group"), HasSubstr("group has no value"));
  EXPECT_THAT(error("int8:group=64,group=64"), HasSubstr("group is given twice"));
  EXPECT_THAT(error("quantize:bits=4,levels=7"), HasSubstr("bits and levels are both given"));
  EXPECT_THAT(error("int8:group=100"), HasSubstr("group=100 is no power of two from 32 to 65536"));
  EXPECT_THAT(error("int8:group=16"), HasSubstr("group=16"));
  EXPECT_THAT(error("int8:group=131072"), HasSubstr("group=131072"));
  EXPECT_THAT(error("int8:group=4294967296"), HasSubstr("too large"));
  EXPECT_THAT(error("int8:bits=3"), HasSubstr("\"3\" is not 2, 4 or 8"));
  EXPECT_THAT(error("int8:levels=0"), HasSubstr("levels=0 is not in 1 … 127"));
  EXPECT_THAT(error("int8:levels=128"), HasSubstr("levels=128"));
  EXPECT_THAT(error("int8:levels=-1"), HasSubstr("\"-1\" is no whole number"));
  EXPECT_THAT(error("int8:round=up"), HasSubstr("\"up\" is not nearest or stochastic"));
  EXPECT_THAT(error("int8:clip=0.5"), HasSubstr("clip=0.5"));
  EXPECT_THAT(error("int8:clip=nan"), HasSubstr("\"nan\" is no number"));
  EXPECT_THAT(error("int8:clip=2,range=minmax"), HasSubstr("clip= needs range=absmax"));
  EXPECT_THAT(error("fp16:group=64"), HasSubstr("group= needs fp8"));
  EXPECT_THAT(error("bf16:round=stochastic"), HasSubstr("round=stochastic needs fp8"));
  EXPECT_THAT(error("cast:type=fp8_e4m"),
              AllOf(HasSubstr("fp16, bf16, fp8_e4m3 or fp8_e5m2"), HasSubstr("did you mean \"fp8_e4m3\"?")));
  EXPECT_THAT(error("topk:ratio=0"), HasSubstr("ratio=0 is not in"));
  EXPECT_THAT(error("topk:ratio=1.5"), HasSubstr("ratio=1.5"));
  EXPECT_THAT(error("topk:k=5000"), HasSubstr("k=5000 is more than a chunk of 4096 has; set chunk="));
  EXPECT_THAT(error("topk:k=5,ratio=0.5"), HasSubstr("k and ratio are both given"));
  EXPECT_THAT(error("topk:chunk=128"), HasSubstr("chunk=128 is no power of two from 256"));
  EXPECT_THAT(error("topk:momentum=1"), HasSubstr("momentum=1"));
  EXPECT_THAT(error("topk:momentum=0.9,feedback=0"), HasSubstr("momentum= needs feedback"));
  EXPECT_THAT(error("topk:clip_norm=-1"), HasSubstr("clip_norm=-1"));
  EXPECT_THAT(error("topk:clip_norm=1"), HasSubstr("clip_norm= needs momentum=: it limits what the velocity takes up"));
  EXPECT_THAT(error("topk:masking=0"), HasSubstr("masking=0 needs momentum=: there is no velocity to mask"));
  EXPECT_THAT(error("auto:topk:momentum=0.9"),
              AllOf(HasSubstr("momentum= does not go with auto:"), HasSubstr("the optimizer, which has none either, cannot tell")));
  EXPECT_THAT(error("topk:masking=yes"), HasSubstr("\"yes\" is neither 0 nor 1"));
  EXPECT_THAT(error("randomk:momentum=0.9"), HasSubstr("\"momentum\" is no setting of randomk"));
}

TEST(CodecSpec, FieldsAreCheckedToo) {
  EXPECT_TRUE(check(CodecSpec{}).ok());
  EXPECT_THAT(check({.levels = 7, .bits = 8}).message(), HasSubstr("8 bits do not go with levels=7, which takes 4"));
  EXPECT_THAT(check({.kind = CodecKind::sign, .ratio = 0.5}).message(), HasSubstr("ratio is no setting of sign"));
  EXPECT_THAT(check({.feedback = 2}).message(), HasSubstr("feedback is neither"));
  EXPECT_THAT(check({.kind = CodecKind::topk, .clip_norm = 1}).message(), HasSubstr("clip_norm= needs momentum="));
  EXPECT_THAT(check({.kind = CodecKind::topk, .automatic = true, .momentum = 0.9}).message(), HasSubstr("does not go with auto:"));
  EXPECT_TRUE(check({.kind = CodecKind::topk, .momentum = 0.9, .clip_norm = 1, .masking = false}).ok());
}

TEST(CodecSpec, EveryNameIsACodec) {
  for (const CodecName& name : codec_names()) {
    const auto codec = make_codec(spec(name.name));
    ASSERT_NE(codec, nullptr);
    EXPECT_LT(codec->packet_bytes(codec->chunk(), 0), 4 * codec->chunk()) << name.name;
    EXPECT_FALSE(name.summary.empty());
  }
}

TEST(CodecSpec, FeedbackIsForTheBiasedUnlessAskedFor) {
  const auto feedback = [](std::string_view text) { return uses_feedback(spec(text), *make_codec(spec(text))); };
  for (const char* text : {"fp16", "int8", "int4", "sign", "topk", "qsgd:feedback=1", "terngrad:feedback=1"})
    EXPECT_TRUE(feedback(text)) << text;
  for (const char* text : {"qsgd", "terngrad", "fp8_e4m3:round=stochastic", "int8:feedback=0", "topk:feedback=0"})
    EXPECT_FALSE(feedback(text)) << text;
}

}  // namespace
}  // namespace tutti
