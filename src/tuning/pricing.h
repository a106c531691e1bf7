// Predicts how long an algorithm takes for a call, on the machine that a profile describes.
#pragma once

#include <map>
#include <string_view>

#include "machine_profile.h"
#include "outline.h"
#include "plan_load.h"
#include "route_terms.h"

namespace tutti {

struct Price {
  double seconds = 0;
  std::string_view bound;  // which part of the machine takes most of it, one of kBounds
};

class Pricing {
 public:
  Pricing(const RouteTerms& terms, const MachineProfile& profile) : terms_(terms), profile_(profile) {}

  // Of algorithms()[algorithm]: by the simulator, or by formula where there are many ranks (plan_load.h).  Roots are taken to be rank 0.
  Price of(uint8_t algorithm, uint64_t bytes);
  // Of the flat exchange, which has no plan.
  Price of_flat(uint64_t bytes) const;

 private:
  Price simulated(const Outline& outline, uint64_t bytes) const;
  Price by_formula(const PlanLoad& load, Collective collective, uint64_t bytes) const;

  const RouteTerms& terms_;
  const MachineProfile& profile_;
  std::map<uint8_t, Outline> outlines_;
  std::map<uint8_t, PlanLoad> loads_;
};

}  // namespace tutti
