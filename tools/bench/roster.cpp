#include "roster.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <set>

#include "host_identity.h"

namespace tutti::bench {

namespace {

cpu_set_t affinity() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return set;
  for (long core = 0; core < sysconf(_SC_NPROCESSORS_ONLN) && core < CPU_SETSIZE; ++core) CPU_SET(static_cast<size_t>(core), &set);
  return set;
}

}  // namespace

int usable_cores() {
  const cpu_set_t set = affinity();
  return std::max(1, CPU_COUNT(&set));
}

Result<Roster> Roster::gather(const Job& job) {
  RankInfo mine{};
  std::snprintf(mine.host, sizeof mine.host, "%s", host_name().c_str());
  mine.host_key = std::hash<std::string>{}(host_id(""));
  mine.pid = getpid();
  mine.cores = affinity();
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

int Roster::place_here() const {
  return static_cast<int>(std::ranges::count(ranks.begin(), ranks.begin() + self, me().host_key, &RankInfo::host_key));
}

bool Roster::is_bound() const {
  for (size_t a = 0; a < ranks.size(); ++a)
    for (size_t b = 0; b < a; ++b) {
      cpu_set_t both;
      CPU_AND(&both, &ranks[a].cores, &ranks[b].cores);
      if (ranks[a].host_key == ranks[b].host_key && CPU_COUNT(&both) > 0) return false;
    }
  return true;
}

int Roster::cores_here() const {
  cpu_set_t all;
  CPU_ZERO(&all);
  for (const RankInfo& rank : ranks)
    if (rank.host_key == me().host_key) CPU_OR(&all, &all, &rank.cores);
  return std::max(1, CPU_COUNT(&all));
}

}  // namespace tutti::bench
