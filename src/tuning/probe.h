// Measures what the choice of algorithms needs to know of this machine, within milliseconds.
//
// A class of links is measured between two ranks, which run plans for two over a communicator's own links and engine,
// while the others sleep:
//   doubling, 64 bytes   a call, and one message there and back at the same time
//   ring, 128 bytes      the same with a second message after the first: the difference is a message, the rest is the
//                        call
//   broadcast, 1 MiB     bytes one way
//   ring, 4 KiB … 4 MiB  bytes both ways, reduced and copied, from and into memory that no cache holds
// Between hosts also the processor's time in the system's calls of the ring of 1 MiB.  The simulator walks the same
// plans; the profile states those rates with which it comes to the same times.
#pragma once

#include "measurements.h"
#include "plan.h"
#include "status.h"
#include "team.h"

namespace tutti {

struct StreamMeter;

// Calls of two ranks of a communicator by a plan of theirs alone; float32, sum.
class PairCalls {
 public:
  virtual ~PairCalls() = default;
  virtual int rank() const = 0;
  // A number for run().
  virtual size_t prepare(const Plan& plan, Collective collective) = 0;
  virtual Status run(size_t prepared, const void* input, void* output, uint64_t bytes) = 0;
  // Of the link to that rank; null: it has none.
  virtual StreamMeter* meter(int peer) = 0;
};

// The two pairs: the first two ranks of the first host that has two, and the first ranks of the first two hosts.  -1:
// there is none.
struct ProbePairs {
  int intra_host[2] = {-1, -1}, inter_host[2] = {-1, -1};
};
ProbePairs probe_pairs(const Team& team);

// Collective; ranks outside the pairs return at once.
Result<Measurements> probe(PairCalls& calls, const Team& team);

}  // namespace tutti
