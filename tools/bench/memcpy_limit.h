// How fast all ranks can copy memory at once, the host's or their devices': what no all-reduce through it beats by far.
#pragma once

#include "rotation.h"
#include "stopwatch.h"

namespace tutti::bench {

struct MemcpyLimit {
  uint64_t bytes = 0;        // of each copy
  double plain_gbps = 0;     // of the slowest rank, 10^9 bytes copied per second
  double streamed_gbps = 0;  // with non-temporal stores; 0 where there are none
  double best_gbps() const { return plain_gbps > streamed_gbps ? plain_gbps : streamed_gbps; }
};

// Collective.  Copies `bytes`, or what half the rotated memory can hold.
Result<MemcpyLimit> measure_memcpy(const Job& job, const Rotation& rotation, const Stopwatch& watch, uint64_t bytes);

}  // namespace tutti::bench
