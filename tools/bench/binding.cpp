#include "binding.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <map>

namespace tutti::bench {
namespace {

// The first thread of the core that `thread` runs on, which the kernel lists as "0,8" or "0-1"; itself if that is
// unknown.
int first_of_core(int thread, const std::string& root) {
  std::ifstream file(root + "/sys/devices/system/cpu/cpu" + std::to_string(thread) + "/topology/thread_siblings_list");
  int first = thread;
  return file >> first ? first : thread;
}

}  // namespace

std::vector<CoreThreads> by_core(std::span<const int> allowed, const std::string& root) {
  std::map<int, CoreThreads> cores;
  for (const int thread : allowed) cores[first_of_core(thread, root)].push_back(thread);
  std::vector<CoreThreads> result;
  for (auto& [first, threads] : cores) result.push_back(std::move(threads));
  return result;
}

std::vector<CoreThreads> usable_cores_and_threads(const std::string& root) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return {};
  std::vector<int> allowed;
  for (int thread = 0; thread < CPU_SETSIZE; ++thread)
    if (CPU_ISSET(static_cast<size_t>(thread), &set)) allowed.push_back(thread);
  return by_core(allowed, root);
}

void bind_to(const std::vector<int>& threads) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int thread : threads) CPU_SET(static_cast<size_t>(thread), &set);
  if (!threads.empty()) sched_setaffinity(0, sizeof set, &set);
}

std::vector<std::vector<int>> share_out(int ranks, std::span<const CoreThreads> cores) {
  const auto p = static_cast<size_t>(ranks);
  std::vector<std::vector<int>> shares(p);
  if (p <= cores.size()) {
    for (size_t rank = 0; rank < p; ++rank)
      for (size_t core = rank * cores.size() / p; core < (rank + 1) * cores.size() / p; ++core)
        shares[rank].insert(shares[rank].end(), cores[core].begin(), cores[core].end());
    return shares;
  }
  std::vector<int> threads;
  size_t most = 0;
  for (const CoreThreads& core : cores) most = std::max(most, core.size());
  for (size_t i = 0; i < most; ++i)
    for (const CoreThreads& core : cores)
      if (i < core.size()) threads.push_back(core[i]);
  if (p > threads.size()) return shares;
  for (size_t rank = 0; rank < p; ++rank) shares[rank] = {threads[rank]};
  return shares;
}

}  // namespace tutti::bench
