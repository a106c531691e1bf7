// The bootstrap of ranks that are threads of one process: an exchange in memory, without any network.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "bootstrap.h"
#include "owned_fd.h"
#include "status.h"

namespace tutti {

// The state that the ranks share.  Thread-safe.
class ThreadRendezvous {
 public:
  static Result<std::shared_ptr<ThreadRendezvous>> open(int size);

  Result<std::vector<std::string>> exchange(int rank, const std::string& mine, uint64_t deadline);
  Status fail(const Status& why);  // returns the first cause, which all ranks are given
  Status failure() const;          // success: none
  int watched() const { return alarm_.get(); }

 private:
  ThreadRendezvous(int size, OwnedFd alarm);
  Status fail_locked(const Status& why);
  Status absence() const;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> blobs_, given_;
  std::vector<bool> here_;  // ranks that have given in this round
  size_t arrived_ = 0;
  uint64_t round_ = 0;
  Status failure_;
  OwnedFd alarm_;  // an eventfd; readable for good once there is a failure
};

// One rank's place in it.
class ThreadBootstrap final : public Bootstrap {
 public:
  ThreadBootstrap(std::shared_ptr<ThreadRendezvous> rendezvous, int rank, uint64_t deadline)
      : Bootstrap(deadline), rendezvous_(std::move(rendezvous)), rank_(rank) {}

  Result<std::vector<std::string>> exchange(const std::string& mine) override {
    return rendezvous_->exchange(rank_, mine, deadline());
  }
  int watched() const override { return rendezvous_->watched(); }
  Status heard() override { return rendezvous_->failure(); }
  Status fail(const Status& why) override { return rendezvous_->fail(why); }

 private:
  std::shared_ptr<ThreadRendezvous> rendezvous_;
  int rank_;
};

}  // namespace tutti
