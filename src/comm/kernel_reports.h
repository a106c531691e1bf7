// What is heard of a rank's kernels.  One that has waited for another rank for a second says so in a word of the
// host's, again each second.  The control thread looks at that, whoever launched the kernel, be it a graph; and when
// the communicator has failed, a word that all kernels look at tells them, and they end.
//
// Threads: any.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "communicator_parts.h"
#include "device_operation.h"

namespace tutti {

class KernelReports final : public ControlWatch {
 public:
  // A call, as it is reported on.
  struct Work {
    Signature signature;
    uint32_t steps = 0;
    uint64_t timeout_ns = 0;
  };

  KernelReports(const CommunicatorParts& parts, std::string device);
  // The words: the two of reports, and the order to end.  Before the control thread is told of this; they outlive that.
  void listen(uint64_t* reports, uint32_t* given_up) { reports_ = reports, given_up_ = given_up; }
  // A call that is about to be launched, by which its kernels name it.
  void note(uint32_t hash, const Work& work, bool in_graph);
  std::shared_ptr<const DeviceHearsay> hearsay() const { return hearsay_; }

  Look look(uint64_t now) override;
  void failed() noexcept override;

 private:
  struct Known {
    Work work;
    bool in_graph = false;  // and so may be launched at any time
  };

  const CommunicatorParts& parts_;
  const std::shared_ptr<DeviceHearsay> hearsay_ = std::make_shared<DeviceHearsay>();
  uint64_t* reports_ = nullptr;
  uint32_t* given_up_ = nullptr;
  std::mutex mutex_;                 // of what follows
  std::map<uint32_t, Known> known_;  // by hash
  struct {
    uint32_t hash = 0;
    uint64_t since = 0, heard = 0, mismatch_since = 0;
  } waiting_;
};

}  // namespace tutti
