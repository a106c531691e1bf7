// Measures what the choice of algorithms wants to know of this machine, over a communicator's own links and engine, within
// milliseconds.
//
// A class of links is measured between two ranks, which run plans for two, while the others wait asleep for what comes of it:
//   doubling, 64 bytes   a call, and one message there and back at the same time
//   ring, 128 bytes      the same with a second message after the first: the difference is a message, the rest is the call
//   broadcast, 1 MiB     bytes one way
//   ring, 4 KiB … 4 MiB  bytes both ways, reduced and copied, from and into memory that no cache holds
// Between hosts also what the system's calls of the ring of 1 MiB cost the processor.  The simulator walks the same plans; the rates that the
// profile states are those with which it comes to the same times.
#pragma once

#include "measurements.h"
#include "status.h"
#include "team.h"

namespace tutti {

class Communicator;

// The two pairs: the first two ranks of the first host that has two, and the first ranks of the first two hosts.  -1: there is none.
struct ProbePairs {
  int inside[2] = {-1, -1}, between[2] = {-1, -1};
};
ProbePairs probe_pairs(const Team& team);

// Collective; ranks outside the pairs return at once.
Result<Measurements> probe(Communicator& comm, const Team& team);

}  // namespace tutti
