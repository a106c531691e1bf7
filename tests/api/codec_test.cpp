// Codecs through the C API, between threads: what a user does, and what is refused.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "codecs.h"
#include "local_world.h"

namespace tutti::test {
namespace {

using testing::HasSubstr;

TEST(Codecs, CompressAndLoseNothing) {
  constexpr size_t kCount = 40'000, kSteps = 50;
  std::vector<double> wanted(kCount);  // the sum of all gradients: rank r's at step t is waves[r] from t on
  std::vector<std::vector<float>> waves;
  for (const int ranks : {1, 2, 3, 4}) {
    waves.push_back(gradient(ranks, kCount + kSteps));
    double window = 0;
    for (size_t i = 0; i < kCount + kSteps; ++i) {
      if (i >= kSteps) wanted[i - kSteps] += window;
      window += waves.back()[i];
      if (i >= kSteps) window -= waves.back()[i - kSteps];
    }
    const LocalWorld world(ranks);
    ASSERT_EQ(world.size(), ranks);
    world.run([&](int rank, tutti_comm* comm) {
      const auto codec = made("int4", kCount);
      const auto options = with(codec);
      std::vector<float> output(kCount);
      std::vector<double> got(kCount);
      for (size_t step = 0; step < kSteps; ++step) {
        const float* input = waves[static_cast<size_t>(rank)].data() + step;
        ASSERT_TRUE(succeeded(tutti_all_reduce(comm, input, output.data(), kCount, TUTTI_FLOAT32, TUTTI_AVG, &options), comm));
        for (size_t i = 0; i < kCount; ++i) got[i] += output[i];
      }
      // The sum that is missing after all steps is the mean of the residuals, at most a level of the last encodings.
      double farthest = 0;
      for (size_t i = 0; i < kCount; ++i) farthest = std::max(farthest, std::abs(got[i] - wanted[i] / ranks));
      EXPECT_LT(farthest, ranks == 1 ? 1e-4 : 0.6);
      double norm = -1;
      EXPECT_EQ(tutti_codec_norm(codec.get(), &norm), TUTTI_SUCCESS);
      EXPECT_TRUE(ranks == 1 ? norm == 0 : norm > 0) << norm;
      tutti_stats stats{};
      stats.struct_size = sizeof stats;
      ASSERT_TRUE(succeeded(tutti_comm_stats(comm, &stats), comm));
      if (ranks == 1) {
        EXPECT_STREQ(stats.last_codec, "none: nothing travels, since there is one rank");
      } else {
        EXPECT_THAT(std::string(stats.last_codec), HasSubstr("int4: 156 KiB in packets of"));
      }
      EXPECT_LT(static_cast<double>(stats.sent_bytes), static_cast<double>(kSteps * kCount * 4 * 2) / 7.5);
    });
  }
}

TEST(Codecs, SeveralTensorsInFlight) {
  constexpr size_t kCounts[] = {10, 5000, 70'000, 70'000};
  const char* const kSpecs[] = {"int8", "topk:ratio=0.1", "sign", "fp16"};
  const LocalWorld world(3);
  ASSERT_EQ(world.size(), 3);
  std::vector<std::vector<float>> results(3);
  world.run([&](int rank, tutti_comm* comm) {
    std::vector<CodecPointer> codecs;
    std::vector<std::vector<float>> buffers;
    std::vector<tutti_request*> requests(4);
    for (size_t k = 0; k < 4; ++k) codecs.push_back(made(kSpecs[k], kCounts[k]));
    for (int step = 0; step < 3; ++step) {
      buffers.clear();
      for (size_t k = 0; k < 4; ++k) buffers.push_back(gradient(rank, kCounts[k], step));
      for (size_t k = 0; k < 4; ++k) {
        const auto options = with(codecs[k]);
        ASSERT_TRUE(succeeded(tutti_all_reduce_start(comm, buffers[k].data(), buffers[k].data(), kCounts[k], TUTTI_FLOAT32,
                                                     TUTTI_SUM, &options, &requests[k]),
                              comm));
      }
      const auto options = with(codecs[1]);
      tutti_request* second = nullptr;
      std::vector<float> other(kCounts[1]);
      EXPECT_EQ(tutti_all_reduce_start(comm, other.data(), other.data(), kCounts[1], TUTTI_FLOAT32, TUTTI_SUM, &options, &second),
                TUTTI_INVALID_ARGUMENT);
      EXPECT_THAT(tutti_last_error(comm), HasSubstr("is in use by a call that has not ended"));
      EXPECT_EQ(tutti_codec_destroy(codecs[1].get()), TUTTI_INVALID_ARGUMENT);
      EXPECT_EQ(tutti_codec_reset(codecs[2].get()), TUTTI_INVALID_ARGUMENT);
      for (tutti_request* request : requests) ASSERT_TRUE(succeeded(tutti_wait(request), comm));
      for (const auto& buffer : buffers)
        results[static_cast<size_t>(rank)].insert(results[static_cast<size_t>(rank)].end(), buffer.begin(), buffer.end());
    }
  });
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

// A run that is interrupted, saved and taken up by new objects goes on bit by bit as if nothing had happened.
TEST(Codecs, CheckpointsGoOn) {
  constexpr size_t kCount = 20'000;
  for (const char* spec :
       {"int8:round=stochastic,feedback=1,seed=3", "topk:ratio=0.02,momentum=0.9,warmup=2", "randomk:ratio=0.05,feedback=1"}) {
    SCOPED_TRACE(spec);
    const LocalWorld world(2);
    ASSERT_EQ(world.size(), 2);
    world.run([&](int rank, tutti_comm* comm) {
      const auto run = [&](const CodecPointer& codec, int from, int to) {
        std::vector<float> output(kCount);
        const auto options = with(codec);
        for (int step = from; step < to; ++step) {
          const auto input = gradient(rank, kCount, step);
          EXPECT_TRUE(
              succeeded(tutti_all_reduce(comm, input.data(), output.data(), kCount, TUTTI_FLOAT32, TUTTI_SUM, &options), comm));
        }
        return output;
      };
      const auto whole = made(spec, kCount), before = made(spec, kCount), after = made(spec, kCount);
      const auto wanted = run(whole, 0, 12);
      run(before, 0, 5);
      const auto memory = exported(before);
      ASSERT_EQ(tutti_codec_import(after.get(), memory.data(), memory.size()), TUTTI_SUCCESS) << tutti_last_error(nullptr);
      EXPECT_EQ(run(after, 5, 12), wanted);
      EXPECT_EQ(exported(after), exported(whole));
    });
  }
}

TEST(Codecs, ImportRefusesWhatDoesNotFit) {
  const auto codec = made("int8:feedback=1", 100), longer = made("int8:feedback=1", 101), none = made("int8:feedback=0", 100);
  auto memory = exported(codec);
  const auto refused = [&](const CodecPointer& to, size_t bytes, const char* why) {
    EXPECT_EQ(tutti_codec_import(to.get(), memory.data(), bytes), TUTTI_INVALID_ARGUMENT);
    EXPECT_THAT(tutti_last_error(nullptr), HasSubstr(why));
  };
  refused(longer, memory.size(), "was exported for 100 elements, this codec has 101");
  refused(none, memory.size(), "holds other parts than");
  refused(codec, 10, "too short");
  refused(codec, memory.size() - 4, "holds other parts than");
  memory[memory.size() - 4] ^= std::byte{1};
  refused(codec, memory.size(), "damaged (checksum)");
  memory[0] ^= std::byte{1};
  refused(codec, memory.size(), "not an exported codec");
  size_t room = 10;
  EXPECT_EQ(tutti_codec_export(codec.get(), memory.data(), &room), TUTTI_INVALID_ARGUMENT);
  EXPECT_THAT(tutti_last_error(nullptr), HasSubstr("10 bytes of room"));
}

TEST(Codecs, ScaleNormAndReset) {
  const LocalWorld world(2);
  world.run([&](int rank, tutti_comm* comm) {
    const auto codec = made("int2", 1000);
    const auto options = with(codec);
    auto values = gradient(rank, 1000);
    ASSERT_TRUE(succeeded(tutti_all_reduce(comm, values.data(), values.data(), 1000, TUTTI_FLOAT32, TUTTI_SUM, &options), comm));
    double norm = 0, scaled = 0;
    ASSERT_EQ(tutti_codec_norm(codec.get(), &norm), TUTTI_SUCCESS);
    ASSERT_EQ(tutti_codec_scale(codec.get(), 0.5), TUTTI_SUCCESS);
    ASSERT_EQ(tutti_codec_norm(codec.get(), &scaled), TUTTI_SUCCESS);
    EXPECT_GT(norm, 0);
    EXPECT_DOUBLE_EQ(scaled, norm / 2);
    EXPECT_EQ(tutti_codec_scale(codec.get(), std::nan("")), TUTTI_INVALID_ARGUMENT);
    ASSERT_EQ(tutti_codec_reset(codec.get()), TUTTI_SUCCESS);
    ASSERT_EQ(tutti_codec_norm(codec.get(), &norm), TUTTI_SUCCESS);
    EXPECT_EQ(norm, 0);
  });
}

TEST(Codecs, WhatCannotBeCompressedIsRefused) {
  tutti_codec* none = nullptr;
  for (const auto& [dtype, name] : {std::pair{TUTTI_INT8, "int8"},
                                    {TUTTI_UINT8, "uint8"},
                                    {TUTTI_INT32, "int32"},
                                    {TUTTI_UINT32, "uint32"},
                                    {TUTTI_INT64, "int64"},
                                    {TUTTI_UINT64, "uint64"},
                                    {TUTTI_INT16, "int16"},
                                    {TUTTI_UINT16, "uint16"},
                                    {TUTTI_FLOAT64, "float64"}}) {
    EXPECT_EQ(tutti_codec_create(&none, "int8", 10, dtype), TUTTI_UNSUPPORTED);
    EXPECT_THAT(tutti_last_error(nullptr), HasSubstr(std::string("takes tensors of float32, float16 or bfloat16, not of ") + name));
  }
  EXPECT_EQ(tutti_codec_create(&none, "int9", 10, TUTTI_FLOAT32), TUTTI_INVALID_ARGUMENT);
  EXPECT_THAT(tutti_last_error(nullptr), HasSubstr("int9"));
  EXPECT_EQ(tutti_codec_create(&none, "auto:topk:momentum=0.9", 10, TUTTI_FLOAT32), TUTTI_INVALID_ARGUMENT);
  EXPECT_THAT(tutti_last_error(nullptr), HasSubstr("momentum= does not go with auto:"));
  EXPECT_EQ(tutti_codec_create(&none, "topk:clip_norm=1", 10, TUTTI_FLOAT32), TUTTI_INVALID_ARGUMENT);
  EXPECT_THAT(tutti_last_error(nullptr), HasSubstr("clip_norm= needs momentum="));
  EXPECT_EQ(none, nullptr);
  EXPECT_EQ(tutti_codec_create(nullptr, "int8", 10, TUTTI_FLOAT32), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_codec_create(&none, nullptr, 10, TUTTI_FLOAT32), TUTTI_INVALID_ARGUMENT);
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  tutti_comm* comm = world.comm(0);
  const auto codec = made("int8", 64);
  std::vector<float> x(64), y(128);
  const auto options = with(codec);
  const auto refused = [&](tutti_status status, tutti_status wanted, const char* why) {
    EXPECT_EQ(status, wanted) << tutti_last_error(comm);
    EXPECT_THAT(tutti_last_error(comm), HasSubstr(why));
  };
  for (const auto& [op, why] :
       {std::pair{TUTTI_MAX, "sum and avg, not max"}, {TUTTI_MIN, "sum and avg, not min"}, {TUTTI_PROD, "sum and avg, not prod"}})
    refused(tutti_all_reduce(comm, x.data(), x.data(), 64, TUTTI_FLOAT32, op, &options), TUTTI_UNSUPPORTED, why);
  refused(tutti_all_reduce(comm, x.data(), x.data(), 63, TUTTI_FLOAT32, TUTTI_SUM, &options), TUTTI_INVALID_ARGUMENT,
          "made for 64 float32, this is 63 float32");
  refused(tutti_all_reduce(comm, x.data(), x.data(), 64, TUTTI_FLOAT16, TUTTI_SUM, &options), TUTTI_INVALID_ARGUMENT,
          "this is 64 float16");
  refused(tutti_broadcast(comm, x.data(), x.data(), 64, TUTTI_FLOAT32, 0, &options), TUTTI_UNSUPPORTED,
          "codecs serve all_reduce only");
  for (const char* algorithm : {"doubling", "flat"}) {
    const auto wanted = with(codec, algorithm);
    refused(tutti_all_reduce(comm, x.data(), x.data(), 64, TUTTI_FLOAT32, TUTTI_SUM, &wanted), TUTTI_UNSUPPORTED,
            "cannot carry a codec");
  }
  world.run([&](int, tutti_comm* c) {  // nothing of it is felt
    const auto fresh = made("int8", 64);
    const auto o = with(fresh, "ring");
    std::vector<float> values(64, 1);
    ASSERT_TRUE(succeeded(tutti_all_reduce(c, values.data(), values.data(), 64, TUTTI_FLOAT32, TUTTI_SUM, &o), c));
    for (const float v : values) EXPECT_NEAR(v, 2, 0.02);
  });
}

// With two ranks too, where each would get what it kept of its own and not what the other has.
TEST(Codecs, DoublingIsRefused) {
  for (const int ranks : {2, 3, 4}) {
    const LocalWorld world(ranks);
    ASSERT_EQ(world.size(), ranks);
    world.run([&](int, tutti_comm* comm) {
      const auto codec = made("int8", 64);
      const auto options = with(codec, "doubling");
      std::vector<float> values(64);
      EXPECT_EQ(tutti_all_reduce(comm, values.data(), values.data(), 64, TUTTI_FLOAT32, TUTTI_SUM, &options), TUTTI_UNSUPPORTED);
      EXPECT_THAT(tutti_last_error(comm), HasSubstr("algorithm doubling cannot carry a codec"));
    });
  }
}

TEST(Codecs, AutoCompressesNothingInMemory) {
  if (std::getenv("TUTTI_TRANSPORT")) GTEST_SKIP() << "TUTTI_TRANSPORT asks for another transport";
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([&](int rank, tutti_comm* comm) {
    const auto codec = made("auto:int4", 5000);
    const auto options = with(codec);
    std::vector<float> values(5000, static_cast<float>(rank) + 0.123f);
    ASSERT_TRUE(succeeded(tutti_all_reduce(comm, values.data(), values.data(), 5000, TUTTI_FLOAT32, TUTTI_SUM, &options), comm));
    for (const float v : values) ASSERT_EQ(v, 0.123f + 1.123f);
    tutti_stats stats{};
    stats.struct_size = sizeof stats;
    ASSERT_TRUE(succeeded(tutti_comm_stats(comm, &stats), comm));
    EXPECT_STREQ(stats.last_codec, "none: nothing is compressed, since messages go through memory");
    ASSERT_TRUE(succeeded(tutti_all_reduce(comm, values.data(), values.data(), 5000, TUTTI_FLOAT32, TUTTI_SUM, nullptr), comm));
    ASSERT_TRUE(succeeded(tutti_comm_stats(comm, &stats), comm));
    EXPECT_STREQ(stats.last_codec, "");
  });
}

TEST(Codecs, NothingTravelsAlone) {
  const LocalWorld world(1);
  for (const char* spec : {"int2", "auto:int2", "topk:momentum=0.9"}) {
    const auto codec = made(spec, 100);
    const auto options = with(codec);
    auto values = gradient(0, 100);
    ASSERT_TRUE(succeeded(tutti_all_reduce(world.comm(0), values.data(), values.data(), 100, TUTTI_FLOAT32, TUTTI_SUM, &options),
                          world.comm(0)));
    EXPECT_EQ(values, gradient(0, 100));
    tutti_stats stats{};
    stats.struct_size = sizeof stats;
    ASSERT_TRUE(succeeded(tutti_comm_stats(world.comm(0), &stats), world.comm(0)));
    EXPECT_STREQ(stats.last_codec, "none: nothing travels, since there is one rank") << spec;
  }
}

TEST(Codecs, TheStructSaysTheSameAsTheText) {
  tutti_codec_config config;
  tutti_codec_config_init(&config);
  config.name = "topk";
  config.ratio = 0.015625;
  config.values = "fp16";
  config.feedback = 1;
  config.momentum = 0.9;
  config.warmup = 10;
  tutti_codec* codec = nullptr;
  ASSERT_EQ(tutti_codec_create_from(&codec, &config, 100, TUTTI_FLOAT32), TUTTI_SUCCESS) << tutti_last_error(nullptr);
  const auto text = made("topk:ratio=0.015625,values=fp16,feedback=1,momentum=0.9,warmup=10", 100);
  EXPECT_STREQ(tutti_codec_spec(codec), tutti_codec_spec(text.get()));
  EXPECT_EQ(tutti_codec_destroy(codec), TUTTI_SUCCESS);
  config = {};
  EXPECT_EQ(tutti_codec_create_from(&codec, &config, 100, TUTTI_FLOAT32), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_codec_destroy(nullptr), TUTTI_SUCCESS);
}

}  // namespace
}  // namespace tutti::test
