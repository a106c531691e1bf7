// Codecs under every plan that may carry one, over slots, streams and both: the conservation law in numbers, equal bits
// on all ranks, and results that depend on no lane or stripe.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "coded_world.h"
#include "sanitized.h"

namespace tutti::test {
namespace {

void obey_law(const Setup& setup, int steps) {
  SCOPED_TRACE(told(setup));
  CodedWorld world(setup);
  std::minstd_rand random(static_cast<uint32_t>(setup.count + setup.spec.size()));
  for (int step = 0; step < steps; ++step) {
    world.check_step(random);
    if (::testing::Test::HasFatalFailure()) return;
  }
  EXPECT_EQ(world.tensor(0).step(), static_cast<uint32_t>(steps));
}

class EveryCodec : public ::testing::TestWithParam<const char*> {};

TEST_P(EveryCodec, LosesNothing) {
  for (const Algorithm* algorithm : carriers())
    for (const int size : sizes_up_to(9)) {
      const auto wiring = static_cast<Wiring>(size % 5);
      obey_law({algorithm, size, wiring, GetParam(), 9000 + static_cast<size_t>(size)}, 3);
      if (HasFatalFailure()) return;
    }
}

TEST_P(EveryCodec, BetweenHosts) {
  const std::vector<std::vector<int>> few = {{2, 2}, {3, 1, 2}, {1, 4}};
  const std::vector<std::vector<int>> of_2_to_9_ranks = {{1, 1}, {2, 1}, {2, 2}, {1, 4}, {3, 1, 2}, {2, 5}, {3, 3, 2}, {3, 3, 3}};
  for (const Algorithm* algorithm : carriers())
    for (const auto& mix : algorithm->name == "hierarchical" ? of_2_to_9_ranks : few) {
      obey_law({algorithm, team_of(mix, true), mix.size() % 2 ? Wiring::hosts : Wiring::hosts_puts, GetParam(), 7777}, 3);
      if (HasFatalFailure()) return;
    }
}

TEST_P(EveryCodec, ManySteps) {
  const Algorithm& direct = algorithms()[*find_algorithm(Collective::all_reduce, "direct")];
  obey_law({&direct, 3, Wiring::mixed, GetParam(), 3000}, fewer(40, 8));
}

TEST_P(EveryCodec, SizesOfAllKinds) {
  for (const Algorithm* algorithm : carriers())
    for (const size_t count : {size_t{0}, size_t{1}, size_t{3}, size_t{31}, size_t{1024}, size_t{1025}, size_t{4096 * 3 + 1}}) {
      obey_law({algorithm, 4, Wiring::slots, GetParam(), count, 3, 1}, fewer(2, 1));
      if (HasFatalFailure()) return;
    }
}

TEST_P(EveryCodec, AveragesHalvesAndInPlace) {
  const Algorithm& ring = algorithms()[*find_algorithm(Collective::all_reduce, "ring")];
  const Algorithm& recursive = algorithms()[*find_algorithm(Collective::all_reduce, "recursive")];
  obey_law({&ring, 3, Wiring::slots, GetParam(), 5000, 2, 1, ReduceOp::avg}, 3);
  if (HasFatalFailure()) return;
  obey_law({&recursive, 5, Wiring::mixed, GetParam(), 9000, 2, 1, ReduceOp::avg, DataType::bfloat16}, 3);
  if (HasFatalFailure()) return;
  obey_law({&ring, 2, Wiring::streams, GetParam(), 5000, 2, 1, ReduceOp::sum, DataType::float16}, 3);
}

// Chunks, not stripes or lanes, decide what is encoded together and by whom.
TEST_P(EveryCodec, LanesAndStripesChangeNoBit) {
  constexpr size_t kMany = fewer(50'001, 20'001);
  for (const Algorithm* algorithm : carriers()) {
    std::vector<float> first;
    for (const auto& [lanes, chunks] : {std::pair<uint32_t, size_t>{1, 1}, {2, 3}, {4, 2}, {3, 50}}) {
      CodedWorld world({algorithm, 4, Wiring::slots, GetParam(), kMany, lanes, chunks, ReduceOp::sum, DataType::float32, true});
      std::vector<float> got;
      for (int step = 0; step < 2; ++step) {
        std::minstd_rand random(5);
        for (int rank = 0; rank < 4; ++rank) {
          std::vector<float> values(kMany);
          for (float& v : values) v = static_cast<float>(random() % 1000) / 100.0f - 5;
          world.set_input(rank, values);
        }
        const Status status = world.step();
        ASSERT_TRUE(status.ok()) << status.message();
        got = world.output(1);
      }
      if (first.empty()) first = got;
      ASSERT_EQ(0, std::memcmp(first.data(), got.data(), got.size() * sizeof(float)))
          << algorithm->name << ", " << lanes << " lanes";
    }
  }
}

// Whoever has it: all see it, in that chunk only, and the next step is as if it had not been.
TEST_P(EveryCodec, NotANumberReachesEveryoneAndNothingElse) {
  constexpr size_t kMany = fewer(200'000, 60'000);
  for (const Algorithm* algorithm : carriers()) {
    SCOPED_TRACE(algorithm->name);
    CodedWorld world({algorithm, 3, Wiring::slots, GetParam(), kMany});
    const size_t chunk = world.tensor(0).codec().chunk(), bad = chunk * 2 + 5;
    for (int rank = 0; rank < 3; ++rank) {
      std::vector<float> values(kMany, 0.25f);
      if (rank == 1) values[bad] = algorithm->name == "ring" ? INFINITY : NAN;
      world.set_input(rank, values);
    }
    ASSERT_TRUE(world.step().ok());
    for (size_t rank = 0; rank < 3; ++rank) {
      const std::vector<float> out = world.output(rank);
      for (size_t i = 0; i < out.size(); ++i) ASSERT_EQ(std::isnan(out[i]), i / chunk == bad / chunk) << "element " << i;
      for (size_t i = 0; world.tensor(rank).residual() && i < out.size(); ++i)
        ASSERT_TRUE(std::isfinite(world.tensor(rank).residual()[i])) << i;
    }
    for (int rank = 0; rank < 3; ++rank) world.set_input(rank, std::vector<float>(kMany, 0.5f));
    ASSERT_TRUE(world.step().ok());
    for (const float x : world.output(2)) ASSERT_TRUE(std::isfinite(x));
  }
}

INSTANTIATE_TEST_SUITE_P(Codec, EveryCodec, ::testing::ValuesIn(kSpecs), name_of);

TEST(Codec, NoneIsForgottenHere) {
  for (const CodecName& codec : codec_names()) {
    if (codec.name == "cast" || codec.name == "quantize") continue;  // the kinds, whose presets are here
    EXPECT_TRUE(std::ranges::any_of(kSpecs, [&](std::string_view spec) { return spec.substr(0, spec.find(':')) == codec.name; }))
        << codec.name;
  }
}

// Alone nothing need travel, so nothing is left out, and what had been is made up for.
TEST(Codec, OneRankKeepsEverything) {
  const Algorithm& ring = algorithms()[*find_algorithm(Collective::all_reduce, "ring")];
  CodedWorld world({&ring, 1, Wiring::slots, "int2", 3000});
  std::vector<float> values(3000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) * 0.001f;
  world.set_input(0, values);
  world.tensor(0).residual()[7] = 2;
  ASSERT_TRUE(world.step().ok());
  values[7] += 2;
  EXPECT_EQ(world.output(0), values);
  EXPECT_EQ(world.tensor(0).residual()[7], 0);
}

// A peer that agrees on the call and sends bytes that no encoder makes: an error that names it, and nothing is sent on
// that was to be made of them, so the peer does not end either.
TEST(Codec, WhatCannotBeDecodedIsNamed) {
  for (const char* name : {"ring", "direct", "recursive", "tree"}) {
    const Algorithm& algorithm = algorithms()[*find_algorithm(Collective::all_reduce, name)];
    EngineWorld world(2, Wiring::slots, shape_of(2, 8192, 1), 1);
    auto tensor = *TensorCodec::create(*parse_codec("int8"), 2048, DataType::float32);
    ASSERT_TRUE(tensor->begin().ok());
    std::vector<float> values(2048, 1.0f);
    const size_t packet = CodedPayload::packet_bytes(*tensor);
    std::vector<uint8_t> garbage(2 * packet, 0xFF);
    auto* bytes = reinterpret_cast<std::byte*>(garbage.data());
    Signature signature;
    signature.detail = tensor->identity();
    world.start([&](int rank, LinkTable& link_table) -> std::shared_ptr<Operation> {
      const auto program = std::make_shared<const Program>(compile(algorithm.plan(rank, 2, 0), Collective::all_reduce, rank, 2, 0));
      const auto operation = [&](Binding binding) {
        const auto sum = Arithmetic::of(DataType::uint8, ReduceOp::max, 2);
        return std::make_shared<PlanOperation>(program, name, std::move(binding), sum, signature, 1,
                                               PlanOperation::slots_per_stripe(*program, link_table, true), link_table);
      };
      if (rank == 1) return operation(Binding::fixed({{bytes, bytes, packet}, {bytes + packet, bytes + packet, packet}}, 8192));
      auto coded = operation(CodedPayload::bind(*tensor, values.data(), values.data(), 2, 1));
      coded->set_coded(std::make_unique<CodedPayload>(tensor, CodedPayload::Job{values.data(), values.data(), 0, 2}, 1, 2));
      return coded;
    });
    const Status status = world.finish();
    EXPECT_EQ(status.code(), Code::mismatch) << name;
    EXPECT_NE(status.message().find("rank 1 sent this rank what cannot be read"), std::string::npos) << status.message();
    EXPECT_FALSE(tensor->begin().ok());
    for (int turn = 0; turn < 1000; ++turn) (void)world.advance(1);  // rank 0 fails in each of its turns
    EXPECT_FALSE(world.ended(1)) << name;
  }
}

TEST(Codec, DifferentCodecsAreAMismatch) {
  const Algorithm& ring = algorithms()[*find_algorithm(Collective::all_reduce, "ring")];
  CodedWorld world({&ring, 2, Wiring::slots, "int8", 3000});
  world.tensor(1).end(true);  // one step ahead
  const Status status = world.step();
  EXPECT_EQ(status.code(), Code::mismatch);
  EXPECT_NE(status.message().find("codec #"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace tutti::test
