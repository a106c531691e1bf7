// The ranks of a job and the places where they run.
#pragma once

#include <sched.h>

#include <vector>

#include "job.h"

namespace tutti::bench {

struct RankInfo {
  char host[64];
  uint64_t host_key;  // equal for ranks that share a host
  int pid;
  cpu_set_t cores;  // that this rank may run on
};

struct Roster {
  std::vector<RankInfo> ranks;
  int self = 0;

  static Result<Roster> gather(const Job& job);
  const RankInfo& me() const { return ranks[static_cast<size_t>(self)]; }
  int hosts() const;
  int ranks_here() const;  // on this rank's host
  int place_here() const;  // among these, from 0
  int cores_here() const;  // that any of them may run on
  bool is_bound() const;   // no two ranks of a host may run on the same core
};

int usable_cores();  // by this process

}  // namespace tutti::bench
