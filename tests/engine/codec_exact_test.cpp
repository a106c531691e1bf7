// Calls with a codec against what the definition says, to the bit: one chunk after the other, by the codec alone (which
// tests/codec compares with scalar references).  Lengths and contents are those at which formats have their edges.
#include <gtest/gtest.h>

#include <bit>
#include <cstring>

#include "coded_world.h"

namespace tutti::test {
namespace {

using Floats = std::vector<float>;

std::vector<uint32_t> bits(const Floats& numbers) {
  std::vector<uint32_t> result(numbers.size());
  std::ranges::transform(numbers, result.begin(), [](float x) { return std::bit_cast<uint32_t>(x); });
  return result;
}

// The sum as `direct` makes it: each rank sends its chunk to the owner, who adds what they decode to in rank order and
// encodes the sum, which all ranks decode.
class Definition {
 public:
  Definition(std::string_view spec, size_t ranks, size_t count)
      : spec_(*parse_codec(spec)), codec_(make_codec(spec_)), count_(count), residuals_(ranks) {
    if (uses_feedback(spec_, *codec_)) residuals_.assign(ranks, Floats(count));
  }
  const Floats& residual(size_t rank) const { return residuals_[rank]; }

  Floats step(const std::vector<Floats>& inputs) {
    Floats output(count_);
    const size_t chunk = codec_->chunk(), chunks = (count_ + chunk - 1) / chunk, ranks = inputs.size();
    for (size_t owner = 0; owner < ranks; ++owner)
      for (size_t c = chunks * owner / ranks; c < chunks * (owner + 1) / ranks; ++c) {
        const size_t first = c * chunk, n = std::min(chunk, count_ - first);
        Floats sum(inputs[owner].begin() + static_cast<ptrdiff_t>(first),
                   inputs[owner].begin() + static_cast<ptrdiff_t>(first + n));
        for (size_t rank = 0; rank < ranks; ++rank)
          if (rank != owner) decode(encode(inputs[rank].data() + first, rank, first, n), first, n, sum.data(), sum.data());
        decode(encode(sum.data(), owner, first, n), first, n, nullptr, output.data() + first);
      }
    ++step_;
    return output;
  }

 private:
  using Packet = std::vector<uint32_t>;
  Packet encode(const float* value, size_t rank, size_t first, size_t n) {
    Packet packet(codec_->packet_bytes(n, step_) / 4);
    float* residual = residuals_[rank].empty() ? nullptr : residuals_[rank].data() + first;
    codec_->encode({value, residual, nullptr, n}, {spec_.seed, step_, static_cast<uint32_t>(rank), first},
                   reinterpret_cast<std::byte*>(packet.data()));
    return packet;
  }
  void decode(const Packet& packet, size_t first, size_t n, const float* add, float* out) const {
    const auto* bytes = reinterpret_cast<const std::byte*>(packet.data());
    const Status status = codec_->decode(bytes, n, {spec_.seed, step_, 0, first}, {out, add});
    EXPECT_TRUE(status.ok()) << status.message();
  }

  CodecSpec spec_;
  std::unique_ptr<const Codec> codec_;
  size_t count_;
  std::vector<Floats> residuals_;
  uint32_t step_ = 0;
};

// No element, one, fewer than ranks, below a group, a group, a chunk and more.
constexpr size_t kCounts[] = {0, 1, 3, 31, 65, 1024, 1025, 9001};
constexpr int kRanks = 5;

struct Content {
  const char* name;
  float (*number)(size_t rank, size_t i, int step);
};
constexpr Content kContents[] = {
    {"zeros", [](size_t, size_t, int) { return 0.0f; }},
    {"zeros of both signs", [](size_t rank, size_t i, int) { return (rank + i) % 2 ? -0.0f : 0.0f; }},
    {"constant", [](size_t, size_t, int) { return -0.3f; }},
    {"constant groups", [](size_t rank, size_t i, int) { return static_cast<float>(i / 512 + rank); }},
    {"denormal",
     [](size_t rank, size_t i, int step) { return 0x1p-149f * static_cast<float>((i * 37 + rank * 5) % 999) * (step ? -1 : 1); }},
    {"least denormal", [](size_t, size_t i, int) { return i % 64 == 7 ? 0x1p-149f : 0.0f; }},
    {"one spike", [](size_t rank, size_t i, int) { return i == rank ? -1e30f : 1e-3f; }},
    {"waves",
     [](size_t rank, size_t i, int step) { return std::sin(static_cast<float>(i * (rank + 1) + static_cast<size_t>(step))); }},
};

class EveryCodecExactly : public ::testing::TestWithParam<const char*> {};

TEST_P(EveryCodecExactly, IsItsDefinition) {
  const Algorithm& direct = algorithms()[*find_algorithm(Collective::all_reduce, "direct")];
  for (const size_t count : kCounts)
    for (const Content& content : kContents) {
      SCOPED_TRACE(std::to_string(count) + " elements, " + content.name);
      CodedWorld world({&direct, kRanks, Wiring::all, GetParam(), count, 2, 1});
      Definition definition(GetParam(), kRanks, count);
      for (int step = 0; step < 2; ++step) {
        std::vector<Floats> inputs(kRanks, Floats(count));
        for (size_t rank = 0; rank < kRanks; ++rank) {
          for (size_t i = 0; i < count; ++i) inputs[rank][i] = content.number(rank, i, step);
          world.set_input(static_cast<int>(rank), inputs[rank]);
        }
        const Status status = world.step();
        ASSERT_TRUE(status.ok()) << status.message();
        const auto expected = bits(definition.step(inputs));
        for (size_t rank = 0; rank < kRanks; ++rank) {
          ASSERT_EQ(bits(world.output(rank)), expected) << "rank " << rank << ", step " << step;
          const float* left = world.tensor(rank).residual();
          ASSERT_EQ(bits(left ? Floats(left, left + count) : Floats()), bits(definition.residual(rank))) << "rank " << rank;
        }
      }
    }
}

// Zero is exact in every format, in every plan, and leaves nothing behind.
TEST_P(EveryCodecExactly, ZerosStayZeros) {
  for (const Algorithm* algorithm : carriers())
    for (const size_t count : {1u, 3u, 31u, 5000u}) {
      SCOPED_TRACE(std::string(algorithm->name) + ", " + std::to_string(count));
      CodedWorld world({algorithm, kRanks, Wiring::slots, GetParam(), count});
      for (int rank = 0; rank < kRanks; ++rank) world.set_input(rank, Floats(count, rank % 2 ? -0.0f : 0.0f));
      for (int step = 0; step < 2; ++step) ASSERT_TRUE(world.step().ok());
      for (size_t rank = 0; rank < kRanks; ++rank) {
        EXPECT_EQ(world.output(rank), Floats(count));
        const float* left = world.tensor(rank).residual();
        EXPECT_TRUE(!left || std::all_of(left, left + count, [](float x) { return x == 0; }));
      }
    }
}

// Sums of small whole numbers are exact in float32, so where elements travel as they are the conservation law is, too:
// in every plan.
TEST(Sparsifiers, LoseNoBit) {
  constexpr size_t kCount = 3001;
  for (const char* spec : {"topk:ratio=0.05,chunk=256", "randomk:ratio=0.05,chunk=256"})
    for (const Algorithm* algorithm : carriers())
      for (int size = 2; size <= 9; ++size) {
        SCOPED_TRACE(std::string(algorithm->name) + " of " + std::to_string(size) + " ranks, " + spec);
        CodedWorld world({algorithm, size, static_cast<Wiring>(size % 5), spec, kCount});
        Floats inputs(kCount), outputs(kCount);  // of all steps and ranks
        std::minstd_rand random(static_cast<uint32_t>(size));
        for (int step = 0; step < 3; ++step) {
          for (int rank = 0; rank < size; ++rank) {
            Floats values(kCount);
            for (float& v : values) v = static_cast<float>(static_cast<int32_t>(random() % 2001) - 1000);
            for (size_t i = 0; i < kCount; ++i) inputs[i] += values[i];
            world.set_input(rank, values);
          }
          ASSERT_TRUE(world.step().ok());
          const Floats output = world.output(0);
          for (size_t i = 0; i < kCount; ++i) outputs[i] += output[i];
          Floats accounted = outputs;
          for (size_t rank = 0; rank < static_cast<size_t>(size); ++rank)
            for (size_t i = 0; i < kCount; ++i) accounted[i] += world.tensor(rank).residual()[i];
          ASSERT_EQ(accounted, inputs) << "step " << step;
        }
      }
}

INSTANTIATE_TEST_SUITE_P(Codec, EveryCodecExactly, ::testing::ValuesIn(kSpecs), name_of);

}  // namespace
}  // namespace tutti::test
