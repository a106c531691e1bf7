#include "proving.h"

#include <algorithm>

#include "schedule.h"
#include "selection.h"
#include "algorithms.h"

namespace tutti {
namespace {

std::string told(const Cost& cost) {
  return std::to_string(cost.rounds) + " rounds, " + std::to_string(cost.messages) + " messages, " + std::to_string(cost.blocks) +
         " blocks, " + std::to_string(cost.reduced) + " reduced";
}

}  // namespace

Result<Proof> prove_plans(const Algorithm& algorithm, const Team& team, int root) {
  const Result<Proof> proof = prove(algorithm.collective, root, plans_of_all_ranks(algorithm, team, root));
  const CostModel& model = algorithm.cost;
  if (!proof.ok() || team.size == 1) return proof;
  const auto members = team.ranks_by_host();
  if (!std::ranges::all_of(members, [&](const auto& ranks) { return ranks.size() == members[0].size(); })) return proof;
  const auto p = static_cast<uint64_t>(team.size), h = static_cast<uint64_t>(team.hosts());
  const Cost expected{model.rounds.value(p, h), model.messages.value(p, h), model.data.value(p, h), model.reduced.value(p, h)};
  if (proof->cost == expected && proof->may_carry_codec == algorithm.may_carry_codec) return proof;
  return Status(Code::internal, "costs " + told(proof->cost) + (proof->may_carry_codec ? ", may" : ", may not") +
                                    " carry a codec; the formulas say " + told(expected) +
                                    (algorithm.may_carry_codec ? ", may" : ", may not"));
}

Status prove_in_flight(const Algorithm& algorithm, int size) {
  const auto plans = plans_of_all_ranks(algorithm, size, 0), others = plans_of_all_ranks(algorithm, size, size - 1);
  const Result<ProgramSet> first = compile_all(algorithm.collective, 0, plans);
  const Result<ProgramSet> second = compile_all(algorithm.collective, size - 1, others);
  if (!first.ok() || !second.ok()) return first.ok() ? second.status() : first.status();
  Status status = prove_schedule(*first, *second, {.lanes = 2, .stripes = 3});
  return status.ok() ? prove_schedule(*first, *second, {.lanes = 2, .stripes = 3, .lends = true}) : status;
}

}  // namespace tutti
