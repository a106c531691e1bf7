#include "workers.h"

#include <utility>

namespace fake_cuda {

Workers::~Workers() {
  for (const auto& worker : workers_) {
    const std::lock_guard lock(worker->mutex);
    worker->ends = true;
    worker->changed.notify_one();
  }
  for (const auto& worker : workers_) worker->thread.join();
}

void Workers::run(uint32_t shares, const std::function<void(uint32_t)>& share) {
  while (workers_.size() + 1 < shares) {
    Worker& worker = *workers_.emplace_back(std::make_unique<Worker>());
    worker.thread = std::thread([this, &worker, number = static_cast<uint32_t>(workers_.size())] { work(worker, number); });
  }
  working_ = shares - 1;  // nobody works yet
  for (uint32_t number = 1; number < shares; ++number) {
    Worker& worker = *workers_[number - 1];
    {
      const std::lock_guard lock(worker.mutex);
      worker.share = &share;
    }
    worker.changed.notify_one();
  }
  share(0);
  std::unique_lock lock(mutex_);
  done_.wait(lock, [this] { return working_ == 0; });
}

void Workers::work(Worker& worker, uint32_t number) {
  for (std::unique_lock lock(worker.mutex);;) {
    worker.changed.wait(lock, [&] { return worker.share != nullptr || worker.ends; });
    if (worker.share == nullptr) return;
    const auto& share = *std::exchange(worker.share, nullptr);
    lock.unlock();
    share(number);
    {
      const std::lock_guard done(mutex_);
      --working_;
    }
    done_.notify_one();
    lock.lock();
  }
}

}  // namespace fake_cuda
