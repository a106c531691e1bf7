#include "slots.h"

namespace tutti {
namespace {

bool same_run(const Step& a, const Step& b) { return a.block == b.block && a.count == b.count; }

}  // namespace

size_t group_size(const Plan& plan, size_t step) {
  const auto& steps = plan.steps();
  size_t end = step;
  while (end < steps.size() && steps[end].verb == Verb::send && same_run(steps[end], steps[step])) ++end;
  return end - step;
}

bool passes_slot_on(const Plan& plan, size_t step) {
  const auto& steps = plan.steps();
  const Verb verb = steps[step].verb;
  if (verb != Verb::recv && verb != Verb::recv_reduce) return false;
  return step + 1 < steps.size() && steps[step + 1].verb == Verb::send && same_run(steps[step], steps[step + 1]);
}

uint32_t slots_per_lane(const Plan& plan) {
  uint32_t slots = 0;
  for (size_t i = 0; i < plan.steps().size();) {
    const bool passes = passes_slot_on(plan, i);
    const size_t begin = passes ? i + 1 : i;
    const size_t group = group_size(plan, begin);
    if (group > 0 && !passes) ++slots;
    i = begin + (group > 0 ? group : 1);
  }
  return slots;
}

}  // namespace tutti
