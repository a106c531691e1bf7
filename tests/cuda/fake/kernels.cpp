#include "kernels.h"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "moods.h"

namespace fake_cuda {

int resident_blocks(int threads) { return threads <= 0 || threads > kMostThreadsOfBlock ? 0 : kThreadsOfMultiprocessor / threads; }

void run_kernel(const CpuKernel& kernel, const void* parameter, uint32_t blocks, uint32_t threads) {
  constexpr uint32_t kMostThreads = 4, kMostTeams = 32;  // of threads of this process
  static std::atomic<uint32_t> launches = 0;
  const uint32_t used = std::min(threads, 2 + launches.fetch_add(1, std::memory_order_relaxed) % (kMostThreads - 1));
  const auto fit = static_cast<uint32_t>(kMultiprocessors * resident_blocks(static_cast<int>(threads)));
  const uint32_t teams = std::min({blocks, fit, kMostTeams});
  std::vector<uint32_t> order(blocks);
  std::iota(order.begin(), order.end(), 0U);
  if (moods().shuffled)
    for (uint32_t i = blocks; i > 1; --i) std::swap(order[i - 1], order[any_number() % i]);
  // A team takes every so many-th block, one after the other.
  std::vector<std::thread> running;
  std::vector<std::unique_ptr<std::barrier<>>> barriers;
  for (uint32_t team = 0; team < teams; ++team) {
    barriers.push_back(std::make_unique<std::barrier<>>(used));
    for (uint32_t thread = 0; thread < used; ++thread)
      running.emplace_back([&kernel, parameter, &order, &barrier = *barriers.back(), team, teams, thread, used, blocks] {
        for (uint32_t i = team; i < blocks; i += teams) {
          barrier.arrive_and_wait();  // a block's memory is used again by the next
          kernel.run(parameter, tutti::cuda::Cpu({blocks, used}, order[i], thread, &barrier));
        }
      });
  }
  for (std::thread& thread : running) thread.join();
}

}  // namespace fake_cuda
