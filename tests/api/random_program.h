// A random sequence of calls on one or several communicators, the same on every rank, each checked against the
// reference.
#pragma once

#include <tutti/tutti.h>

#include <cstdint>
#include <string>
#include <vector>

namespace tutti::test {

// A communicator of this rank.  `group` tells the groups of one split apart: calls of different groups differ.
struct Member {
  tutti_comm* comm;
  uint64_t group;
};

struct ProgramLimits {
  int steps = 60;
  size_t elements = 4'000;  // of most calls; every tenth is ten times as large
  size_t in_flight = 5;     // requests at once
  bool uneven = false;      // ranks dawdle between calls, each at times of its own, the last one most
};

// Runs this rank; returns "" or the first mistake.  Each step is a call on one of `members`, blocking or started;
// requests end in an order of this rank's own.
std::string run_random_program(const std::vector<Member>& members, uint64_t seed, const ProgramLimits& limits = {});

}  // namespace tutti::test
