// Machines for tests of the simulator.
#pragma once

#include <cstddef>

#include "simulator.h"

namespace tutti::test {

constexpr double kMicro = 1e-6, kNano = 1e-9;

// Everything of a plan in one stripe.
constexpr size_t kWhole = size_t{1} << 40;

inline Machine hosts_of(int ranks, int per_host) {
  Machine machine;
  for (int rank = 0; rank < ranks; ++rank) machine.host.push_back(rank / per_host);
  machine.inter_host.streams = true;
  return machine;
}

}  // namespace tutti::test
