// The purpose of feedback, with the codecs alone, as the papers tell it; tests/api/codec_training_test.cpp has the same
// through calls.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "counterexamples.h"
#include "expect_reference.h"
#include "laws.h"

namespace tutti {
namespace {

// A codec and what it has left out.
class Channel {
 public:
  Channel(const char* spec, size_t n) : codec_(make_codec(spec_of(spec))) {
    if (uses_feedback(spec_of(spec), *codec_)) residual_.resize(n);
  }
  std::vector<float> through(const std::vector<float>& gradient) {
    const EncodeContext context{.step = step_++};
    return laws::decode(*codec_, laws::encode(*codec_, gradient, residual_, context), gradient.size(), context);
  }

 private:
  std::unique_ptr<const Codec> codec_;
  std::vector<float> residual_;
  uint32_t step_ = 0;
};

TEST(Feedback, TurnsSignsThatNeverTurn) {
  const auto f = counterexamples::two_terms();
  const auto course = [&](const char* spec) {
    Channel channel(spec, f.dimensions());
    return counterexamples::descend_at_random(f, 4000, [&](const auto& gradient) { return channel.through(gradient); });
  };
  const auto without = course("sign:feedback=0"), with = course("sign");
  EXPECT_NEAR(without.mean, counterexamples::kStuck, 0.02);
  EXPECT_GE(without.least, 2 - 1e-4);
  EXPECT_LT(with.last, 1e-20);
}

TEST(Feedback, MakesOneOfThreeEnough) {
  const auto f = counterexamples::three_workers();
  const auto loss = [&](const char* spec, int steps) {
    std::vector<Channel> workers;
    for (size_t i = 0; i < 3; ++i) workers.emplace_back(spec, 3);
    std::vector<double> x = f.start();
    for (int step = 0; step < steps; ++step) {
      std::vector<float> mean(3);
      for (size_t i = 0; i < 3; ++i) {
        const std::vector<float> sent = workers[i].through(f.gradient(i, x));
        for (size_t j = 0; j < 3; ++j) mean[j] += sent[j] / 3;
      }
      f.descend(x, mean);
    }
    return f.loss(x);
  };
  EXPECT_NEAR(loss("topk:k=1,feedback=0", 200), counterexamples::kGrown, 0.2);
  EXPECT_LT(loss("topk:k=1", 200), 1.75);
  EXPECT_LT(loss("topk:k=1", 5000), 1e-20);
}

}  // namespace
}  // namespace tutti
