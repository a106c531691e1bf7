// The programs of all ranks, with the plans that they are compiled from.
#pragma once

#include <utility>
#include <vector>

#include "all_plans.h"
#include "program_set.h"

namespace tutti {

struct Job {
  Job(const Algorithm& algorithm, const Team& team, int root)
      : plans(plans_of(algorithm, team, root)), set(compiled(algorithm.collective, root, plans)) {}
  Job(Collective collective, std::vector<Plan> by_hand) : plans(std::move(by_hand)), set(compiled(collective, 0, plans)) {}

  std::vector<Plan> plans;
  ProgramSet set;

 private:
  static ProgramSet compiled(Collective collective, int root, std::span<const Plan> plans) {
    Result<ProgramSet> result = compile_all(collective, root, plans);
    return std::move(*result);
  }
};

}  // namespace tutti
