// Training with codecs through calls: the two counter-examples to compression without feedback, and Deep Gradient
// Compression against what its paper says, in float64.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "codecs.h"
#include "counterexamples.h"
#include "local_world.h"

namespace tutti::test {
namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

Floats averaged(tutti_comm* comm, const CodecPointer& codec, Floats gradient) {
  const auto options = with(codec, "direct");
  EXPECT_TRUE(succeeded(
      tutti_all_reduce(comm, gradient.data(), gradient.data(), gradient.size(), TUTTI_FLOAT32, TUTTI_AVG, &options), comm));
  return gradient;
}

// Two ranks that draw the same term: their signs are those of the one worker in the paper.
TEST(Training, SignsNeedFeedback) {
  const auto f = counterexamples::two_terms();
  const LocalWorld world(2);
  ASSERT_EQ(world.size(), 2);
  world.run([&](int, tutti_comm* comm) {
    const auto course = [&](const char* spec) {
      const auto codec = made(spec, f.dimensions());
      return counterexamples::descend_at_random(f, 1500, [&](const Floats& gradient) { return averaged(comm, codec, gradient); });
    };
    const auto without = course("sign:feedback=0"), with = course("sign");
    EXPECT_NEAR(without.mean, counterexamples::kStuck, 0.04);
    EXPECT_GE(without.least, 2 - 1e-4);
    EXPECT_LT(with.last, 1e-10);
  });
}

// The owner of the sum adds its own gradient whole, so without feedback f grows more slowly than in the paper, but for
// ever.
TEST(Training, OneOfThreeNeedsFeedback) {
  const auto f = counterexamples::three_workers();
  const LocalWorld world(3);
  ASSERT_EQ(world.size(), 3);
  world.run([&](int rank, tutti_comm* comm) {
    const auto loss = [&](const char* spec, int steps) {
      const auto codec = made(spec, f.dimensions());
      Doubles x = f.start();
      for (int step = 0; step < steps; ++step) f.descend(x, averaged(comm, codec, f.gradient(static_cast<size_t>(rank), x)));
      return f.loss(x);
    };
    EXPECT_GT(loss("topk:k=1,feedback=0", 1000), 60);
    EXPECT_LT(loss("topk:k=1", 1000), 1e-4);
  });
}

// ---- Deep Gradient Compression ----

constexpr size_t kChunk = 1024, kCount = 3 * kChunk + 200;
constexpr int kWarmup = 2, kSteps = 11, kCheckpoint = 5;
constexpr double kMomentum = 0.9, kRatio = 0.01, kClipNorm = 50;

// One rank's gradient: of greatly different norm from step to step, so that some are clipped.
Floats drawn(size_t rank, int step) {
  std::mt19937_64 random(1000 * rank + static_cast<uint64_t>(step));
  Floats values(kCount);
  for (float& v : values) {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += static_cast<double>(random() >> 11) * 0x1p-53;
    v = static_cast<float>(sum * (0.25 + 0.5 * static_cast<double>((rank + static_cast<size_t>(step)) % 3)));
  }
  return values;
}

// The algorithm of the paper at all ranks, who meet as `direct` has it: a chunk's owner adds what the others send to
// its own velocity, and sends what is greatest of that and its residual.
class Reference {
 public:
  Reference(size_t ranks, bool masking) : masking_(masking), velocity_(ranks, Doubles(kCount)), residual_(ranks, Doubles(kCount)) {}

  Doubles step() {
    const size_t ranks = velocity_.size(), chunks = (kCount + kChunk - 1) / kChunk;
    for (size_t rank = 0; rank < ranks; ++rank) {
      const Floats g = drawn(rank, step_);
      double square = 0;
      for (const float x : g) square += static_cast<double>(x) * x;
      const double most = kClipNorm / std::sqrt(static_cast<double>(ranks)), norm = std::sqrt(square);
      (norm > most ? clipped : unclipped) += 1;
      for (size_t i = 0; i < kCount; ++i) velocity_[rank][i] = kMomentum * velocity_[rank][i] + std::min(1.0, most / norm) * g[i];
    }
    Doubles output(kCount);
    for (size_t owner = 0; owner < ranks; ++owner)
      for (size_t c = chunks * owner / ranks; c < chunks * (owner + 1) / ranks; ++c) {
        const size_t first = c * kChunk, n = std::min(kChunk, kCount - first);
        Doubles sum(n);
        for (size_t rank = 0; rank < ranks; ++rank) {
          const Doubles own(&velocity_[rank][first], &velocity_[rank][first] + n);
          const Doubles adds = rank == owner ? own : sent(own, rank, first);
          for (size_t i = 0; i < n; ++i) sum[i] += adds[i];
        }
        const Doubles all = sent(sum, owner, first);
        std::copy(all.begin(), all.end(), output.begin() + static_cast<ptrdiff_t>(first));
      }
    ++step_;
    for (double& x : output) x /= static_cast<double>(ranks);
    return output;
  }

  const Doubles& velocity(size_t rank) const { return velocity_[rank]; }
  const Doubles& residual(size_t rank) const { return residual_[rank]; }
  int clipped = 0, unclipped = 0;
  double least_gap = 1;  // between what was sent and what was not, relative: is the choice beyond doubt?

 private:
  size_t elements(size_t n) const {
    constexpr double kStages[] = {0.25, 0.0625, 0.015625, 0.004};
    const int stage = step_ / kWarmup;
    const double ratio = stage < 4 ? std::max(kStages[stage], kRatio) : kRatio;
    return static_cast<size_t>(std::floor(ratio * static_cast<double>(n) + 0.5));
  }

  Doubles sent(const Doubles& value, size_t rank, size_t first) {
    const size_t n = value.size(), k = elements(n);
    double* residual = &residual_[rank][first];
    for (size_t i = 0; i < n; ++i) residual[i] += value[i];
    std::vector<size_t> order(n);
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return std::abs(residual[a]) > std::abs(residual[b]); });
    least_gap = std::min(least_gap, std::abs(residual[order[k - 1]]) / std::abs(residual[order[k]]) - 1);
    Doubles packet(n);
    for (size_t j = 0; j < k; ++j) {
      packet[order[j]] = std::exchange(residual[order[j]], 0.0);
      if (masking_) velocity_[rank][first + order[j]] = 0;
    }
    return packet;
  }

  bool masking_;
  int step_ = 0;
  std::vector<Doubles> velocity_, residual_;
};

void expect_near(const float* found, const Doubles& expected, const char* what) {
  for (size_t i = 0; i < kCount; ++i) ASSERT_NEAR(found[i], expected[i], 2e-5) << what << " " << i;
}

// Momentum correction, clipping, masking and warm-up over eleven steps, and a checkpoint taken up by new codecs between
// two of them.
TEST(Training, DeepGradientCompressionIsAsPublished) {
  for (const int ranks : {2, 3, 4})
    for (const bool masking : {true, false}) {
      SCOPED_TRACE(std::to_string(ranks) + (masking ? " ranks, masking" : " ranks"));
      const std::string spec = std::string("topk:chunk=1024,momentum=0.9,clip_norm=50,warmup=2") + (masking ? "" : ",masking=0");
      Reference reference(static_cast<size_t>(ranks), masking);
      std::vector<Doubles> expected;
      for (int step = 0; step < kSteps; ++step) expected.push_back(reference.step());
      ASSERT_GT(reference.least_gap, 1e-6);
      ASSERT_GT(reference.clipped, 5);
      ASSERT_GT(reference.unclipped, 5);

      const LocalWorld world(ranks);
      ASSERT_EQ(world.size(), ranks);
      world.run([&](int rank, tutti_comm* comm) {
        auto codec = made(spec.c_str(), kCount);
        for (int step = 0; step < kSteps; ++step) {
          const Floats output = averaged(comm, codec, drawn(static_cast<size_t>(rank), step));
          expect_near(output.data(), expected[static_cast<size_t>(step)], "output");
          if (step != kCheckpoint) continue;
          const auto memory = exported(codec);
          codec = made(spec.c_str(), kCount);
          ASSERT_EQ(tutti_codec_import(codec.get(), memory.data(), memory.size()), TUTTI_SUCCESS) << tutti_last_error(nullptr);
        }
        const auto memory = exported(codec);  // 32 bytes, the residual, the velocity
        ASSERT_EQ(memory.size(), 32 + 2 * kCount * sizeof(float));
        Floats kept(2 * kCount);
        std::memcpy(kept.data(), memory.data() + 32, kept.size() * sizeof(float));
        expect_near(kept.data(), reference.residual(static_cast<size_t>(rank)), "residual");
        expect_near(kept.data() + kCount, reference.velocity(static_cast<size_t>(rank)), "velocity");
      });
    }
}

}  // namespace
}  // namespace tutti::test
