#include "roster.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <set>

#include "host_identity.h"

namespace tutti::bench {

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
}

Result<Roster> Roster::gather(const Job& job) {
  RankInfo mine{};
  std::snprintf(mine.host, sizeof mine.host, "%s", host_name().c_str());
  mine.host_key = std::hash<std::string>{}(host_id(""));
  mine.pid = getpid();
  mine.cores = usable_cores();
  auto all = job.gather(mine);
  if (!all.ok()) return all.status();
  return Roster{std::move(*all), job.rank()};
}

int Roster::hosts() const {
  std::set<uint64_t> keys;
  for (const RankInfo& rank : ranks) keys.insert(rank.host_key);
  return static_cast<int>(keys.size());
}

int Roster::ranks_here() const { return static_cast<int>(std::ranges::count(ranks, me().host_key, &RankInfo::host_key)); }

}  // namespace tutti::bench
