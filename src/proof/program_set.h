// The programs of all ranks in one collective, which is what the checker proves.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "plan.h"
#include "program.h"
#include "status.h"
#include "vocabulary.h"

namespace tutti {

struct ProgramSet {
  Collective collective;
  int root;
  std::span<const Plan> plans;    // by rank; programs say their faults in terms of the plans' steps
  std::vector<Program> programs;  // by rank
};

// plans[r] is rank r's, and must outlive the programs.  A plan that is not well-formed gives a Status that says where.
Result<ProgramSet> compile_all(Collective collective, int root, std::span<const Plan> plans);

// "rank 3, step 5 (recv block 2 from rank 1): …" as a Status.
Status plan_error(std::span<const Plan> plans, size_t rank, size_t step, const std::string& what);

// The same of the step that an instruction begins with.
Status program_error(const ProgramSet& set, size_t rank, const Instruction& instruction, const std::string& what);

// Of the instruction's out-th message.
inline size_t step_of_out(const Instruction& instruction, size_t out) {
  return instruction.step + (instruction.take != Take::nothing) + out;
}

}  // namespace tutti
