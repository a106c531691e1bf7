// Threads that run kernels: each stream keeps its own, for to start them costs more than most kernels, and what streams
// had in common would order them.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace fake_cuda {

class Workers {
 public:
  Workers() = default;
  Workers(const Workers&) = delete;
  ~Workers();
  // Calls share(0) … share(shares - 1) at once, the first on the calling thread; returns when all have returned.
  void run(uint32_t shares, const std::function<void(uint32_t)>& share);

 private:
  struct Worker {
    std::mutex mutex;
    std::condition_variable changed;
    const std::function<void(uint32_t)>* share = nullptr;  // while there is something to do
    bool ends = false;
    std::thread thread;
  };
  void work(Worker& worker, uint32_t number);

  std::vector<std::unique_ptr<Worker>> workers_;
  std::mutex mutex_;  // of what follows
  std::condition_variable done_;
  uint32_t working_ = 0;
};

}  // namespace fake_cuda
