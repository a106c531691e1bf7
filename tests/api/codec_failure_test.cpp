// Calls with codecs that go wrong: ranks that disagree, and a rank whose packets nobody can read.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "codecs.h"
#include "local_world.h"
#include "tensor_codec.h"

namespace tutti::test {
namespace {

using testing::HasSubstr;
using Floats = std::vector<float>;

// Whether it is spoiled, if so until it is reset or imported; else it is as it was `before`.
bool expect_spoiled_or(const std::vector<std::byte>& before, const CodecPointer& codec, size_t count, bool reset) {
  size_t bytes = before.size();
  std::vector<std::byte> after(bytes);
  if (tutti_codec_export(codec.get(), after.data(), &bytes) == TUTTI_SUCCESS) {
    EXPECT_EQ(after, before);
    return false;
  }
  EXPECT_THAT(tutti_last_error(nullptr), HasSubstr("failed, so there is nothing worth keeping"));
  const LocalWorld alone(1);
  Floats values(count);
  const auto options = with(codec);
  const auto again = [&] {
    return tutti_all_reduce(alone.comm(0), values.data(), values.data(), count, TUTTI_FLOAT32, TUTTI_SUM, &options);
  };
  EXPECT_EQ(again(), TUTTI_INVALID_ARGUMENT);
  EXPECT_THAT(tutti_last_error(alone.comm(0)), HasSubstr("was in use by a call that failed"));
  if (reset) {
    EXPECT_EQ(tutti_codec_reset(codec.get()), TUTTI_SUCCESS);
    EXPECT_EQ(exported(codec), exported(made(tutti_codec_spec(codec.get()), count)));
  } else {
    EXPECT_EQ(tutti_codec_import(codec.get(), before.data(), before.size()), TUTTI_SUCCESS) << tutti_last_error(nullptr);
    EXPECT_EQ(exported(codec), before);
  }
  EXPECT_TRUE(succeeded(again(), alone.comm(0)));
  return true;
}

// A call that fails at each of the ranks; `codec_of(rank)` may be null.  A codec that was used then refuses itself
// until reset or import; one whose rank learnt of the failure before it began is as it was.
template <class CodecOf, class Values>
void expect_failure_everywhere(int ranks, size_t count, CodecOf codec_of, Values values_of, const char* why) {
  const LocalWorld world(ranks);
  ASSERT_EQ(world.size(), ranks);
  std::vector<std::string> told(static_cast<size_t>(ranks));
  std::vector<CodecPointer> codecs(static_cast<size_t>(ranks));
  std::vector<std::vector<std::byte>> before(static_cast<size_t>(ranks));
  world.run([&](int rank, tutti_comm* comm) {
    const auto r = static_cast<size_t>(rank);
    codecs[r] = codec_of(rank);
    if (codecs[r]) before[r] = exported(codecs[r]);
    const auto options = with(codecs[r], "direct");
    Floats values = values_of(rank);
    EXPECT_EQ(tutti_all_reduce(comm, values.data(), values.data(), count, TUTTI_FLOAT32, TUTTI_SUM, &options), TUTTI_MISMATCH)
        << "rank " << rank;
    told[r] = tutti_last_error(comm);
  });
  int spoiled = 0;
  for (size_t r = 0; r < codecs.size(); ++r) {
    EXPECT_THAT(told[r], HasSubstr(why)) << "rank " << r;
    if (codecs[r]) spoiled += expect_spoiled_or(before[r], codecs[r], count, r % 2 == 0);
  }
  EXPECT_GT(spoiled, 0);
}

CodecPointer made_and_used(const char* spec, size_t count, int calls) {
  auto codec = made(spec, count);
  const LocalWorld alone(1);
  const auto options = with(codec);
  Floats values(count);
  for (int call = 0; call < calls; ++call)
    EXPECT_TRUE(succeeded(tutti_all_reduce(alone.comm(0), values.data(), values.data(), count, TUTTI_FLOAT32, TUTTI_SUM, &options),
                          alone.comm(0)));
  return codec;
}

TEST(CodecFailures, RanksThatDisagree) {
  constexpr size_t kCount = 5000;
  const auto zeros = [](int) { return Floats(kCount); };
  const auto odd_one = [&](const char* theirs, const char* mine) {
    SCOPED_TRACE(std::string(theirs) + " and " + mine);
    expect_failure_everywhere(
        4, kCount, [&](int rank) { return made(rank == 2 ? mine : theirs, kCount); }, zeros, "codec #");
  };
  odd_one("int8", "int4");
  odd_one("int8", "int8:seed=1");
  odd_one("topk", "topk:values=fp16");
  odd_one("topk:momentum=0.9", "topk:momentum=0.8");
  expect_failure_everywhere(
      3, kCount, [&](int rank) { return rank == 1 ? CodecPointer() : made("int8", kCount); }, zeros, "codec #");
  // A codec alone keeps nothing, but its steps count: those of a randomk choose the places.
  expect_failure_everywhere(
      3, kCount, [&](int rank) { return made_and_used("randomk", kCount, rank == 0 ? 2 : 1); }, zeros, "codec #");
}

// A codec `like` this one, but for its seed, that travels under the signature of `spec`: of 65535 identities some are
// equal.
std::string disguised(std::string_view like, std::string_view spec, size_t count) {
  const auto identity = [count](const CodecSpec& any) { return (*TensorCodec::create(any, count, DataType::float32))->identity(); };
  const uint16_t wanted = identity(*parse_codec(spec));
  CodecSpec hostile = *parse_codec(like);
  for (hostile.seed = 1; hostile.seed < 2'000'000; ++hostile.seed)
    if (identity(hostile) == wanted) return describe(hostile);
  ADD_FAILURE() << "no " << like << " looks like " << spec;
  return std::string(spec);
}

// int8 knows no code 0, which is what fp8 writes for zeros, in packets of the same length.
TEST(CodecFailures, PacketsThatNobodyCanRead) {
  constexpr size_t kCount = 5000;
  const std::string hostile = disguised("fp8_e4m3:feedback=0", "int8", kCount);
  for (const int culprit : {0, 2})
    expect_failure_everywhere(
        3, kCount, [&](int rank) { return made(rank == culprit ? hostile.c_str() : "int8", kCount); },
        [](int) {
          Floats values(kCount);
          values[0] = 1;
          return values;
        },
        "cannot be read");
}

// The places of a topk packet are where a longer randomk has its last two values: the five high parts 0, 0, 0, 0, 5 and
// the low parts, nine bits each, 0, …, 0, 511 say that the last place is 5·512 + 511 of 3000.
TEST(CodecFailures, PlacesOutOfRange) {
  constexpr size_t kCount = 3000;
  const auto topk = make_codec(*parse_codec("topk:k=5"));
  const std::string hostile = disguised("randomk:k=7,feedback=0", "topk:k=5", kCount);
  const CodecSpec spec = *parse_codec(hostile);
  const auto randomk = make_codec(spec);
  ASSERT_EQ(randomk->packet_bytes(kCount, 0), topk->packet_bytes(kCount, 0));
  Floats values(kCount, 1), ones(kCount, 1), seen(kCount);
  std::vector<uint32_t> packet(randomk->packet_bytes(kCount, 0) / 4);
  auto* bytes = reinterpret_cast<std::byte*>(packet.data());
  randomk->encode({ones.data(), nullptr, nullptr, kCount}, {.seed = spec.seed}, bytes);
  ASSERT_TRUE(randomk->decode(bytes, kCount, {.seed = spec.seed}, {seen.data()}).ok());
  std::vector<size_t> places;
  for (size_t i = 0; i < kCount; ++i)
    if (seen[i] != 0) places.push_back(i);
  ASSERT_EQ(places.size(), 7u);
  values[places[5]] = std::bit_cast<float>(0x20Fu);        // bits 0, 1, 2, 3 and 5 + 4
  values[places[6]] = std::bit_cast<float>(0x1FFu << 20);  // bits 36 … 44 of the low parts, which begin 16 bits before
  expect_failure_everywhere(
      3, kCount, [&](int rank) { return made(rank == 0 ? hostile.c_str() : "topk:k=5", kCount); }, [&](int) { return values; },
      "cannot be read");
}

}  // namespace
}  // namespace tutti::test
