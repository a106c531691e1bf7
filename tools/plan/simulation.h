// The costs of the algorithms of a collective in a scenario, as a table and as JSON.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "plan.h"
#include "scenario.h"

namespace tutti {

struct PricedRun {
  std::string_view algorithm;
  uint64_t bytes = 0;
  Work work;
  Prediction prediction;
  bool fastest = false;                                                             // of its size
  double algbw() const { return static_cast<double>(bytes) / prediction.seconds; }  // bytes a second
};

// `told`: now and then, the algorithm and how far the walk for this size has come.
using Progress = std::function<void(const Algorithm&, uint64_t bytes, double done)>;

// By size, and in the order of `algorithms`, which are all of one collective.
std::vector<PricedRun> price(std::span<const Algorithm> algorithms, const Scenario& scenario, std::span<const uint64_t> sizes,
                             int root, const Progress& told = {});

// busbw / algbw, as nccl-tests counts.
double bus_factor(Collective collective, int ranks);

std::string price_table(Collective collective, const Scenario& scenario, std::span<const PricedRun> runs);
std::string price_json(Collective collective, const Scenario& scenario, int root, std::span<const PricedRun> runs);

}  // namespace tutti
