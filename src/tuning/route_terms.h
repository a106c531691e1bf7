// What every rank of a communicator knows alike, and what algorithms are chosen by.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "algorithm_rules.h"
#include "team.h"
#include "tuning_rules.h"

namespace tutti {

struct RouteTerms {
  int size = 1;
  Team team;                // who shares a host
  bool single_host = true;  // all ranks share memory
  bool loopback = false;    // they are on one host, and do not
  bool deterministic = false;
  std::vector<AlgorithmRule> rules;  // TUTTI_ALGORITHM
  std::vector<TuningRule> file;      // TUTTI_TUNING_FILE
  std::vector<TuningRule> table;     // of predictions (table.h); empty: algorithms are chosen by fixed sizes
  uint32_t lanes = 0;                // TUTTI_LANES, 0: chosen
  size_t slot_bytes = 0;             // what one message can hold
  uint32_t slots = 0;                // of each rank
};

}  // namespace tutti
