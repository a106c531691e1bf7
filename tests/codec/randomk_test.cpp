// randomk: which elements are chosen, and what that does to a gradient.
#include <gtest/gtest.h>

#include <bit>
#include <map>

#include "every_target.h"
#include "laws.h"
#include "sparse_reference.h"

namespace tutti {
namespace {

using Floats = std::vector<float>;

CodecSpec randomk_of(uint32_t k, ValueType values = ValueType::fp32) {
  CodecSpec spec;
  spec.kind = CodecKind::randomk;
  spec.k = k;
  spec.values = values;
  return spec;
}

std::vector<std::byte> encode(const Codec& codec, const Floats& value, Floats* residual, const EncodeContext& context) {
  std::vector<std::byte> packet(codec.packet_bytes(value.size(), context.step), std::byte{0xA5});
  codec.encode({value.data(), residual != nullptr ? residual->data() : nullptr, nullptr, value.size()}, context, packet.data());
  return packet;
}

Floats through(const Codec& codec, const Floats& value, Floats* residual, const EncodeContext& context) {
  Floats out(value.size(), -1);
  EncodeContext elsewhere = context;
  elsewhere.rank += 5;
  const Status status = codec.decode(encode(codec, value, residual, context).data(), value.size(), elsewhere, {out.data()});
  EXPECT_TRUE(status.ok()) << status.message();
  return out;
}

std::vector<size_t> chosen(const Codec& codec, size_t n, const EncodeContext& context) {
  Floats residual(n);
  const Floats out = through(codec, Floats(n, 1), &residual, context);
  std::vector<size_t> places;
  for (size_t i = 0; i < n; ++i)
    if (out[i] != 0) places.push_back(i);
  return places;
}

TEST(RandomKTest, Laws) {
  for (const ValueType type : {ValueType::fp32, ValueType::fp16, ValueType::bf16, ValueType::int8}) {
    CodecSpec spec = randomk_of(0, type);
    spec.ratio = 0.3;
    spec.chunk = 256;
    laws::expect_laws(*make_randomk(spec));
  }
}

TEST(RandomKTest, ChoosesKByTheContextAlone) {
  for (const size_t n : {1u, 2u, 63u, 64u, 65u, 1000u, 4096u})
    for (const uint32_t k : {1u, 5u, 41u, 700u, 2048u, 2049u, 4095u, 4096u}) {
      const auto codec = make_randomk(randomk_of(k));
      const EncodeContext context{.seed = 3, .step = 7, .rank = 2, .element = 8192};
      const auto places = chosen(*codec, n, context);
      EXPECT_EQ(places.size(), std::min<size_t>(k, n));
      EncodeContext same = context;
      same.rank = 9;
      EXPECT_EQ(chosen(*codec, n, same), places);
      EXPECT_EQ(codec->packet_bytes(n, 7), 4 + 4 * std::min<size_t>(k, n));
      if (n < 1000 || k < 5 || k >= n) continue;
      for (const EncodeContext& other : {EncodeContext{4, 7, 2, 8192}, EncodeContext{3, 8, 2, 8192}, EncodeContext{3, 7, 2, 12288}})
        EXPECT_NE(chosen(*codec, n, other), places);
    }
  // Part of the packet's format, for processes of other builds choose as well.
  EXPECT_EQ(chosen(*make_randomk(randomk_of(5)), 4096, {.seed = 1, .step = 2, .element = 4096}),
            (std::vector<size_t>{982, 1173, 1348, 2042, 2551}));
}

// 20000 draws of 3 of 10: each element 6000 times, each pair 20000·6/90, each of the 120 sets 20000/120.  χ² of that
// many classes stays below its mean by five standard deviations, √(2·classes).
TEST(RandomKTest, EverySetIsEquallyLikely) {
  const auto codec = make_randomk(randomk_of(3));
  constexpr int kDraws = 20000;
  std::map<std::vector<size_t>, int> sets;
  for (uint32_t step = 0; step < kDraws; ++step) ++sets[chosen(*codec, 10, {.seed = 1, .step = step})];
  EXPECT_EQ(sets.size(), 120u);
  std::vector<double> element(10), pair(100);
  double chi_sets = 0;
  for (const auto& [set, times] : sets) {
    chi_sets += std::pow(times - kDraws / 120.0, 2) / (kDraws / 120.0);
    for (const size_t i : set) {
      element[i] += times;
      for (const size_t j : set) pair[10 * i + j] += times;
    }
  }
  EXPECT_LT(chi_sets, 119 + 5 * std::sqrt(2 * 119));
  for (size_t i = 0; i < 10; ++i) {
    EXPECT_NEAR(element[i], 0.3 * kDraws, 5 * std::sqrt(0.3 * 0.7 * kDraws));
    for (size_t j = 0; j < i; ++j) EXPECT_NEAR(pair[10 * i + j], kDraws / 15.0, 5 * std::sqrt(kDraws / 15.0));
  }
}

// Chunks of one tensor, steps and seeds that follow one another: each place of a chunk of 4096 as often as any other.
TEST(RandomKTest, NeighbouringContextsAreIndependent) {
  const auto codec = make_randomk(randomk_of(41));
  std::vector<double> times(4096), together(3);
  constexpr uint32_t kDraws = 3000;
  std::vector<size_t> before[3];
  for (uint32_t t = 0; t < kDraws; ++t) {
    const EncodeContext contexts[] = {{.seed = 5, .step = t}, {.seed = 5, .step = 1, .element = 4096 * (t + 1)}, {.seed = t + 10}};
    for (size_t o = 0; o < 3; ++o) {
      const auto places = chosen(*codec, 4096, contexts[o]);
      for (const size_t i : places) ++times[i];
      std::vector<size_t> both;
      std::set_intersection(places.begin(), places.end(), before[o].begin(), before[o].end(), std::back_inserter(both));
      together[o] += static_cast<double>(both.size());
      before[o] = places;
    }
  }
  const double expected = 3.0 * kDraws * 41 / 4096;
  double chi = 0;
  for (const double n : times) chi += (n - expected) * (n - expected) / expected;
  EXPECT_NEAR(chi, 4095, 5 * std::sqrt(2 * 4095.0));
  const double overlap = kDraws * 41.0 * 41 / 4096;  // of one draw with the next
  for (const double n : together) EXPECT_NEAR(n, overlap, 5 * std::sqrt(overlap));
}

// A sum of what all ranks sent, encoded once more at the same context: nothing is scaled and nothing more is lost.
TEST(RandomKTest, WhatWasSentIsSentAgainAsItIs) {
  const auto codec = make_randomk(randomk_of(41));
  const EncodeContext context{.seed = 3, .step = 5};
  const Floats input = reference::hard_inputs(4096, 9)[0].values;
  const Floats once = through(*codec, input, nullptr, context);
  for (const size_t i : chosen(*codec, 4096, context)) EXPECT_EQ(once[i], input[i]);
  EXPECT_EQ(through(*codec, once, nullptr, context), once);
  EXPECT_FALSE(codec->unbiased());
}

TEST(RandomKTest, ContractionWithResidual) {
  for (const ValueType type : {ValueType::fp32, ValueType::bf16, ValueType::int8}) {
    const auto codec = make_randomk(randomk_of(41, type));
    const double delta = codec->contraction(4096, 0);
    EXPECT_NEAR(delta, 41.0 / 4096, 1e-5);
    const Floats input = reference::hard_inputs(4096, 9)[0].values;
    double lost = 0, all = 0;
    for (const float x : input) all += double{x} * x;
    for (uint32_t t = 0; t < 200; ++t) {
      Floats residual(4096);
      through(*codec, input, &residual, {.seed = 4, .step = t});
      for (const float x : residual) lost += double{x} * x / 200;
    }
    // The sum of 41 squares of normal numbers spreads by √(2/41); of 200 of them the mean by √200 less.
    EXPECT_LE(lost, (1 - delta + 5 * delta * std::sqrt(2.0 / 41 / 200)) * all);
    EXPECT_GE(lost, (1 - delta - 5 * delta * std::sqrt(2.0 / 41 / 200)) * all);
  }
}

TEST(RandomKTest, WhatIsSentAndWhatIsKeptIsTheInput) {
  for (const ValueType type : {ValueType::fp32, ValueType::fp16, ValueType::bf16, ValueType::int8})
    for (const size_t n : {1u, 100u, 4096u})
      for (const reference::Input& input : reference::hard_inputs(n, 31)) {
        const auto codec = make_randomk(randomk_of(n > 100 ? 41 : 7, type));
        const EncodeContext context{.seed = 8, .step = 3};
        const auto places = chosen(*make_randomk(randomk_of(n > 100 ? 41 : 7)), n, context);
        float greatest = 0;
        for (const size_t i : places) greatest = std::max(greatest, std::fabs(input.values[i]));
        Floats expected(n), kept = input.values;
        for (const size_t i : places) {
          expected[i] = 0.0f + reference::through_packet(type, input.values[i], greatest);
          kept[i] -= reference::through_packet(type, input.values[i], greatest);
        }
        std::vector<std::byte> first;
        on_every_target([&] {
          Floats residual(n);
          const auto packet = encode(*codec, input.values, &residual, context);
          ASSERT_EQ(residual, kept) << input.name;
          residual.assign(n, 0);
          ASSERT_EQ(through(*codec, input.values, &residual, context), expected) << input.name;
          if (first.empty()) first = packet;
          ASSERT_EQ(packet, first);
        });
      }
}

TEST(RandomKTest, EachElementIsSentOrKept) {
  const auto codec = make_randomk(randomk_of(41));
  for (const reference::Input& input : reference::hard_inputs(4096, 11)) {
    Floats residual(4096);
    const Floats sent = through(*codec, input.values, &residual, {.seed = 8, .step = 3});
    EXPECT_TRUE(reference::is_divided(input.values, sent, residual)) << input.name;
  }
}

TEST(RandomKTest, NotFinite) {
  const auto codec = make_randomk(randomk_of(1));
  Floats value(100, 1), residual(100, 2);
  value[77] = std::numeric_limits<float>::infinity();
  const Floats out = through(*codec, value, &residual, {});
  EXPECT_TRUE(std::all_of(out.begin(), out.end(), [](float x) { return std::bit_cast<uint32_t>(x) == 0x7FC00000; }));
  EXPECT_EQ(residual, Floats(100, 2));
}

}  // namespace
}  // namespace tutti
