// Ranks agree in every bit although their threads compute in different floating-point modes, whichever thread of the
// library reduces.
#include "floating_point_modes.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "local_world.h"

namespace tutti::test {
namespace {

constexpr int kRanks = 3;
using Words = std::vector<uint32_t>;

// Denormal numbers, and others whose sums are rounded.
Words input_of(int rank, size_t count) {
  Words words(count);
  const auto more = static_cast<uint32_t>(rank);
  for (size_t i = 0; i < count; ++i) words[i] = i % 2 ? static_cast<uint32_t>(i + 1) + more : 0x3F800002u + 7 * more;
  return words;
}

struct AverageCall {
  const char* algorithm;
  const char* codec;
  size_t count;
};
constexpr AverageCall kKinds[] = {{nullptr, nullptr, 1},         {nullptr, nullptr, 3000},      {"doubling", nullptr, 5000},
                           {"ring", nullptr, 50'000},     {"direct", nullptr, 50'000},   {"recursive", nullptr, 50'000},
                           {"tree", nullptr, 50'000},     {nullptr, "int8", 5000},       {nullptr, "fp16", 5000},
                           {nullptr, "topk:ratio=0.3", 5000}};

void average(tutti_comm* comm, const AverageCall& kind, const Words& input, Words& output, bool asynchronous) {
  tutti_codec* codec = nullptr;
  if (kind.codec) {
    ASSERT_EQ(tutti_codec_create(&codec, kind.codec, kind.count, TUTTI_FLOAT32), TUTTI_SUCCESS);
  }
  tutti_call_options options;
  tutti_call_options_init(&options);
  options.algorithm = kind.algorithm;
  options.codec = codec;
  if (asynchronous) {
    tutti_request* request = nullptr;
    ASSERT_TRUE(succeeded(
        tutti_all_reduce_start(comm, input.data(), output.data(), kind.count, TUTTI_FLOAT32, TUTTI_AVG, &options, &request), comm));
    std::this_thread::sleep_for(std::chrono::milliseconds(3));  // the progress thread does it
    ASSERT_TRUE(succeeded(tutti_wait(request), comm));
  } else {
    ASSERT_TRUE(succeeded(
        tutti_all_reduce(comm, input.data(), output.data(), kind.count, TUTTI_FLOAT32, TUTTI_AVG, &options), comm));
  }
  tutti_codec_destroy(codec);
}

// The outputs of all ranks, `mode` being set on threads of which sets(rank) is true; null: on none.
template <class Sets>
std::vector<Words> outputs(const LocalWorld& world, const AverageCall& kind, bool asynchronous, const FloatingPointMode* mode,
                           Sets sets) {
  std::vector<Words> results(kRanks, Words(kind.count));
  world.run([&](int rank, tutti_comm* comm) {
    const Words input = input_of(rank, kind.count);
    Words& output = results[static_cast<size_t>(rank)];
    if (!mode || !sets(rank)) return average(comm, kind, input, output, asynchronous);
    const UnderMode under(*mode);
    average(comm, kind, input, output, asynchronous);
  });
  return results;
}

TEST(ModeTest, RanksAgree) {
  for (const bool asynchronous : {false, true}) {
    const LocalWorld world(kRanks);
    ASSERT_EQ(world.size(), kRanks);
    for (const AverageCall& kind : kKinds) {
      const auto expected = outputs(world, kind, asynchronous, nullptr, [](int) { return false; });
      for (const auto& mode : floating_point_modes()) {
        SCOPED_TRACE(std::string(mode.name) + (asynchronous ? ", asynchronous, " : ", ") + std::to_string(kind.count) + " by " +
                     (kind.algorithm ? kind.algorithm : "choice") + (kind.codec ? kind.codec : ""));
        EXPECT_EQ(outputs(world, kind, asynchronous, &mode, [](int rank) { return rank == 1; }), expected);
        EXPECT_EQ(outputs(world, kind, asynchronous, &mode, [](int) { return true; }), expected);
      }
    }
  }
}

// The progress thread has the mode of the thread that made the first asynchronous call.
TEST(ModeTest, ProgressThreadsBornInOtherModesAgree) {
  const AverageCall kind{nullptr, nullptr, 3000};
  for (const auto& mode : floating_point_modes()) {
    const LocalWorld world(kRanks);
    ASSERT_EQ(world.size(), kRanks);
    const auto first = outputs(world, kind, true, &mode, [](int rank) { return rank != 0; });
    EXPECT_EQ(outputs(world, kind, true, nullptr, [](int) { return false; }), first) << mode.name;
    for (const Words& words : first) EXPECT_EQ(words, first[0]) << mode.name;
  }
}

}  // namespace
}  // namespace tutti::test
