// Gloo's ring, or its halving/doubling, over 127.0.0.1; the label says which: gloo_ring or gloo_halving.
#include <gloo/allreduce.h>
#include <gloo/allreduce_halving_doubling.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/file_store.h>
#include <gloo/transport/tcp/device.h>

#include <memory>

#include "harness.h"

namespace {

struct Gloo {
  static harness::Result result() { return harness::Result::sum; }
  int rank = harness::environment_number("COMPARE_RANK");
  int size = harness::environment_number("COMPARE_SIZE");

  explicit Gloo(bool halving) : halving_(halving) {
    auto device = gloo::transport::tcp::CreateDevice("127.0.0.1");
    const char* directory = std::getenv("COMPARE_DIRECTORY");
    if (directory == nullptr) harness::fail("COMPARE_DIRECTORY is not set");
    gloo::rendezvous::FileStore store(directory);
    context_ = std::make_shared<gloo::rendezvous::Context>(rank, size);
    context_->connectFullMesh(store, device);
  }

  void all_reduce(const float* input, float* output, size_t count) {
    if (halving_) return halving_doubling(input, output, count);
    gloo::AllreduceOptions options(context_);
    options.setAlgorithm(gloo::AllreduceOptions::Algorithm::RING);
    options.setInput(const_cast<float*>(input), count);  // Gloo does not write it
    options.setOutput(output, count);
    options.setReduceFunction(static_cast<void (*)(void*, const void*, const void*, size_t)>(&gloo::sum<float>));
    options.setTag(tag_++);
    gloo::allreduce(options);
  }

 private:
  // This algorithm is bound to memory that it works on in place, so data is copied there and back as users of it do.
  void halving_doubling(const float* input, float* output, size_t count) {
    if (staging_.size() != count) {
      algorithm_.reset();
      staging_.assign(count, 0);
      algorithm_ = std::make_unique<gloo::AllreduceHalvingDoubling<float>>(context_, std::vector<float*>{staging_.data()},
                                                                           static_cast<int>(count));
    }
    std::memcpy(staging_.data(), input, count * sizeof(float));
    algorithm_->run();
    std::memcpy(output, staging_.data(), count * sizeof(float));
  }

  bool halving_;
  uint32_t tag_ = 0;
  std::vector<float> staging_;
  std::shared_ptr<gloo::rendezvous::Context> context_;
  std::unique_ptr<gloo::AllreduceHalvingDoubling<float>> algorithm_;
};

}  // namespace

int main(int argc, char** argv) {
  const auto settings = harness::Settings::of(argc, argv);
  Gloo driver(settings.label == "gloo_halving");
  harness::run(driver, settings);
}
