#include "kernels.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "moods.h"
#include "workers.h"

namespace fake_cuda {
namespace {

using tutti::cuda::Barrier;
using tutti::cuda::Cpu;

// Threads that run one block after another.
class Team {
 public:
  Team(const Launch& launch, uint32_t threads)
      : launch_(launch), threads_(threads), barrier_(threads), shared_(new std::byte[launch.shared_bytes]) {}

  // What one thread does for a block.
  void run(uint32_t block, uint32_t thread, const void* parameter) {
    if (thread == 0) std::memset(shared_.get(), 0xDB, launch_.shared_bytes);
    barrier_.arrive_and_wait(false);
    const Cpu::Grid grid{launch_.blocks, threads_};
    launch_.kernel->run(parameter, Cpu(grid, block % launch_.blocks, thread, &barrier_, shared_.get(), block / launch_.blocks));
    barrier_.arrive_and_wait(false);
  }

 private:
  const Launch& launch_;
  const uint32_t threads_;
  Barrier barrier_;
  std::unique_ptr<std::byte[]> shared_;  // of the length that was asked for, which AddressSanitizer watches
};

uint32_t threads_of_block(const Launch& launch) {
  constexpr uint32_t kMost = 4;  // threads of this process
  static std::atomic<uint32_t> launches = 0;
  if (moods().shuffled) return std::min(launch.threads, 1 + any_number() % kMost);
  return std::min(launch.threads, 2 + (launch.kernel->waits_for_blocks ? 0 : launches.fetch_add(1, std::memory_order_relaxed) % 3));
}

void rest_before_block() {
  if (moods().late && any_number() % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(any_number() % 200));
}

}  // namespace

uint32_t resident_blocks(const CpuKernel& kernel, uint32_t threads, size_t shared_bytes) {
  if (threads == 0 || threads > kernel.most_threads || shared_bytes > kMostSharedBytesOfBlock) return 0;
  return std::min({kBlocksOfMultiprocessor, kThreadsOfMultiprocessor / threads,
                   kRegistersOfMultiprocessor / (threads * kernel.registers),
                   kSharedBytesOfMultiprocessor / (static_cast<uint32_t>(shared_bytes) + kSharedBytesReserved)});
}

void run_kernel(const Launch& launch, const void* parameter) {
  constexpr uint32_t kFewTeams = 4;
  thread_local Workers workers;
  const uint32_t blocks = launch.blocks * launch.rows, threads = threads_of_block(launch);
  const uint32_t fit = kMultiprocessors * resident_blocks(*launch.kernel, launch.threads, launch.shared_bytes);
  const uint32_t at_once = std::min(blocks, launch.kernel->waits_for_blocks ? fit : kFewTeams);
  std::vector<uint32_t> order(blocks);
  std::iota(order.begin(), order.end(), 0U);
  if (moods().shuffled)
    for (uint32_t i = blocks; i > 1; --i) std::swap(order[i - 1], order[any_number() % i]);
  std::vector<std::unique_ptr<Team>> teams;
  while (teams.size() < at_once) teams.push_back(std::make_unique<Team>(launch, threads));
  workers.run(at_once * threads, [&](uint32_t share) {
    const uint32_t team = share / threads, thread = share % threads;
    for (uint32_t i = team; i < blocks; i += at_once) {
      if (thread == 0) rest_before_block();
      teams[team]->run(order[i], thread, parameter);
    }
  });
}

}  // namespace fake_cuda
