// Which cores each rank is bound to: no two ranks share a core while another is idle.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace tutti::bench {

// Hardware threads that run on one core, ascending.
using CoreThreads = std::vector<int>;

// The cores that this process may use, with those of their threads that it may use.  `root`: where the file system
// begins, "" for the real one.
std::vector<CoreThreads> usable_cores_and_threads(const std::string& root = "");
// The same for the threads in `allowed`, which is ascending.
std::vector<CoreThreads> by_core(std::span<const int> allowed, const std::string& root);

// The calling thread, and what it starts, runs on these from now on; on any if there are none, or if they refuse it.
void bind_to(const std::vector<int>& threads);

// By rank, the hardware threads to bind it to.  Enough cores: each rank gets its share of them, neighbours side by
// side.  Else enough threads: one each, those of different cores first.  Else none for any rank.
std::vector<std::vector<int>> share_out(int ranks, std::span<const CoreThreads> cores);

}  // namespace tutti::bench
