#include "program_set.h"

#include <algorithm>

#include "plan_text.h"

namespace tutti {
namespace {

// Everything about a step that needs no other plan.
std::string fault_of(std::span<const Plan> plans, size_t rank, const Step& step) {
  const Plan& plan = plans[rank];
  if (step.block >= plan.blocks()) return "there is no such block";
  if (step.count == 0 || step.count > plan.blocks()) return "moves " + std::to_string(step.count) + " blocks";
  if (step.count > plan.widest_run()) return "moves more blocks than widest_run";
  if (step.completes && (step.verb == Verb::send || step.verb == Verb::recv)) return "only reductions complete a block";
  const auto peers = plan.peers_of(step);
  if (peers.empty()) return "no peers";
  for (size_t i = 0; i < peers.size(); ++i) {
    if (peers[i] >= plans.size() || peers[i] == rank) return "rank " + std::to_string(peers[i]) + " is no peer";
    if (i > 0 && peers[i - 1] >= peers[i]) return "peers are not in ascending order";
  }
  return "";
}

Status well_formed(std::span<const Plan> plans) {
  uint32_t widest = 0;
  for (size_t rank = 0; rank < plans.size(); ++rank) {
    const Plan& plan = plans[rank];
    if (plan.blocks() != plans[0].blocks() || plan.widest_run() != plans[0].widest_run()) {
      return Status(Code::internal, "rank " + std::to_string(rank) + " and rank 0 differ in blocks or widest_run");
    }
    for (size_t i = 0; i < plan.steps().size(); ++i) {
      const std::string fault = fault_of(plans, rank, plan.steps()[i]);
      if (!fault.empty()) return plan_error(plans, rank, i, fault);
      widest = std::max(widest, plan.steps()[i].count);
    }
  }
  if (widest > 0 && widest != plans[0].widest_run()) {
    return Status(Code::internal, "widest_run is " + std::to_string(plans[0].widest_run()) + ", but no step moves more than " +
                                      std::to_string(widest) + " blocks");
  }
  return {};
}

}  // namespace

Result<ProgramSet> compile_all(Collective collective, int root, std::span<const Plan> plans) {
  if (Status status = well_formed(plans); !status.ok()) return status;
  ProgramSet set{collective, root, plans, {}};
  for (size_t rank = 0; rank < plans.size(); ++rank)
    set.programs.push_back(compile(plans[rank], collective, static_cast<int>(rank), static_cast<int>(plans.size()), root));
  return set;
}

Status plan_error(std::span<const Plan> plans, size_t rank, size_t step, const std::string& what) {
  const Plan& plan = plans[rank];
  if (step >= plan.steps().size()) return Status(Code::internal, "rank " + std::to_string(rank) + ": " + what);
  return Status(Code::internal, "rank " + std::to_string(rank) + ", step " + std::to_string(step) + " (" +
                                    describe(plan, plan.steps()[step]) + "): " + what);
}

Status program_error(const ProgramSet& set, size_t rank, const Instruction& instruction, const std::string& what) {
  return plan_error(set.plans, rank, instruction.step, what);
}

}  // namespace tutti
