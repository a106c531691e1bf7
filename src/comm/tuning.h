// The ranks of a communicator agree on the machine in numbers, the table of predictions that follows from it, and the
// rules of a tuning file.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "join_job.h"
#include "machine_profile.h"
#include "tuning_rules.h"

namespace tutti {

class Communicator;

struct Tuning {
  bool predicts = false;  // algorithms are chosen by prediction; else by fixed sizes
  MachineProfile profile;
  std::string source;             // "measured at bootstrap", "read from /x"
  std::vector<TuningRule> rules;  // of TUTTI_TUNING_FILE
  std::vector<TuningRule> table;  // table.h; empty unless `predicts`
  std::string shape;              // of the communicators for which the table holds
};

// Collective.  Rank 0 reads the files; the two ranks at either end of each class of links measure it, unless a cache
// knew it; rank 0 computes the table.  Equal on all ranks.
Result<std::shared_ptr<const Tuning>> agree_on_tuning(Communicator& comm, Bootstrap& bootstrap);

// Collective, of a split: the parent's measurements and rules, and a table for the ranks of the split
// unless the parent's holds for them.
Result<std::shared_ptr<const Tuning>> inherit_tuning(Communicator& comm, Bootstrap& bootstrap, const Tuning& parent);

}  // namespace tutti
