// A call that a device's kernels carry out: the host only waits until the device says that they have ended.  What the
// kernels wait for they tell themselves (src/comm/device_kernels.h).
#pragma once

#include <memory>
#include <utility>

#include "operation.h"

namespace tutti {

class DeviceOperation final : public Operation {
 public:
  // `ended`: a word of the host's, in which the device counts calls; `number`: its value once this one has ended.  It
  // wraps around.  Stays where it is as long as `kept`.
  DeviceOperation(const Signature& signature, std::string_view algorithm, const uint32_t* ended, uint32_t number,
                  std::shared_ptr<const void> kept)
      : Operation(signature, algorithm), ended_(ended), number_(number), kept_(std::move(kept)) {}

  void enter() noexcept override {}
  bool advance(bool) override {
    if (finished_) return false;
    has_moved = true;  // it is the device's time, of which the kernels tell
    finished_ = static_cast<int32_t>(__atomic_load_n(ended_, __ATOMIC_ACQUIRE) - number_) >= 0;
    return finished_;
  }
  bool started() const override { return true; }
  bool finished() const override { return finished_; }
  bool waits_unseen() const override { return !finished_; }
  int waits_for() const override { return -1; }
  uint32_t step() const override { return finished_ ? 1 : 0; }
  uint32_t steps() const override { return 1; }

 private:
  const uint32_t* const ended_;
  const uint32_t number_;
  const std::shared_ptr<const void> kept_;
  bool finished_ = false;
};

}  // namespace tutti
