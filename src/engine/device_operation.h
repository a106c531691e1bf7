// A call that a device's kernels carry out: the host only waits until the device says that they have ended.  What the
// kernels wait for they tell themselves (src/comm/device_kernels.h).
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "clock.h"
#include "operation.h"

namespace tutti {

// What is heard of a rank's kernels.
struct DeviceHearsay {
  std::string device;                    // "device 0"
  std::atomic<uint64_t> waiting_ns = 0;  // when one last said that it waits for another rank
};

class DeviceOperation final : public Operation {
 public:
  // A kernel that waits for another rank says so after a second and then each second.  While none says so for longer
  // than this, the call waits for its own device.
  static constexpr uint64_t kSilenceNs = 3500 * kMillisecond;

  // `ended`: a word of the host's, in which the device counts calls; `number`: its value once this one has ended.  It
  // wraps around.  Stays where it is as long as `kept`.
  DeviceOperation(const Signature& signature, std::string_view algorithm, const uint32_t* ended, uint32_t number,
                  std::shared_ptr<const DeviceHearsay> hearsay, std::shared_ptr<const void> kept)
      : Operation(signature, algorithm), ended_(ended), number_(number), hearsay_(std::move(hearsay)), kept_(std::move(kept)) {}

  void enter() noexcept override {}
  bool advance(bool) override {
    if (finished_) return false;
    if (!waits_for_device()) has_moved = true;  // of whom the kernels wait for, they tell
    finished_ = static_cast<int32_t>(__atomic_load_n(ended_, __ATOMIC_ACQUIRE) - number_) >= 0;
    return finished_;
  }
  bool started() const override { return true; }
  bool finished() const override { return finished_; }
  bool waits_unseen() const override { return !finished_; }
  bool waits_for_device() const override {
    const uint64_t last = std::max(started_ns, hearsay_->waiting_ns.load(std::memory_order_relaxed));
    return !finished_ && now_ns() > last + kSilenceNs;
  }
  std::string device_wait() const override {
    return hearsay_->device +
           " has not carried it out; look for work before the call on its stream that does not end, or for streams that keep "
           "each other waiting in one of the device's queues (CUDA_DEVICE_MAX_CONNECTIONS), or set a longer timeout";
  }
  int waits_for() const override { return -1; }
  uint32_t step() const override { return finished_ ? 1 : 0; }
  uint32_t steps() const override { return 1; }

 private:
  const uint32_t* const ended_;
  const uint32_t number_;
  const std::shared_ptr<const DeviceHearsay> hearsay_;
  const std::shared_ptr<const void> kept_;
  bool finished_ = false;
};

}  // namespace tutti
