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

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "choice.h"
#include "machine_profile.h"
#include "status.h"

namespace tutti {

class Communicator;

// Seconds, of one class of links.  Zero: not measured here.
struct LinkTimes {
  double doubling = 0, ring = 0, broadcast_large = 0;
  std::array<double, MachineProfile::kSizes.size()> rings{};  // of so many bytes
  double processor_byte_s = 0;  // between hosts: what a byte sent or received takes of the processor, seen in the ring of 1 MiB
};

// One rank's findings.
struct Findings {
  LinkTimes inside, between;
  double copy_byte_s = 0, reduce_byte_s = 0;  // by this rank's processor alone, from far memory to near
  double cores = 0;
  uint64_t machine = 0;  // which kernel runs here; network namespaces and most containers share their host's
};
std::string encode_findings(const Findings& findings);
// Anything a peer may have sent; values are finite and possible.
Result<Findings> decode_findings(std::string_view bytes);

// The two pairs: the first two ranks of the first host that has two, and the first ranks of the first two hosts.  -1: there is none.
struct ProbePairs {
  int inside[2] = {-1, -1}, between[2] = {-1, -1};
};
ProbePairs probe_pairs(const Team& team);

// Collective; ranks outside the pairs return at once.
Result<Findings> probe(Communicator& comm, const Team& team);

// What all ranks conclude from everyone's findings.
MachineProfile conclude(const std::vector<Findings>& all, const ChoiceTerms& terms, bool inside_streams);

}  // namespace tutti
