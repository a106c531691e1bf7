#include "slots.h"

namespace tutti {
namespace {

// The next step sends the run that this one sends or receives.
bool next_sends_same_run(const Plan& plan, size_t step) {
  if (step + 1 >= plan.steps().size()) return false;
  const Step& here = plan.steps()[step];
  const Step& next = plan.steps()[step + 1];
  return next.verb == Verb::send && next.block == here.block && next.count == here.count;
}

}  // namespace

bool group_goes_on(const Plan& plan, size_t step) {
  return plan.steps()[step].verb == Verb::send && next_sends_same_run(plan, step);
}

uint32_t group_size(const Plan& plan, size_t step) {
  uint32_t size = 1;
  while (group_goes_on(plan, step++)) ++size;
  return size;
}

bool passes_slot_on(const Plan& plan, size_t step) {
  return plan.steps()[step].verb != Verb::send && next_sends_same_run(plan, step);
}

uint32_t slots_per_lane(const Plan& plan) {
  uint32_t slots = 0;
  for (size_t i = 0; i < plan.steps().size(); ++i) {
    const bool carried = i > 0 && (group_goes_on(plan, i - 1) || passes_slot_on(plan, i - 1));
    if (plan.steps()[i].verb == Verb::send && !carried) ++slots;
  }
  return slots;
}

}  // namespace tutti
