// What each algorithm that could serve a call is predicted to take, by walking its plans on the machine's profile.  Pure: equal inputs
// give equal forecasts on every rank.
#pragma once

#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "machine_profile.h"
#include "outline.h"
#include "route.h"

namespace tutti {

struct Forecast {
  uint8_t algorithm;  // index into algorithms(), or kFlat
  std::string_view name;
  double least_s, most_s;  // of the smallest and the largest call of its class
  std::string_view bound;  // what takes most of it: "latency", "memory" …

  double seconds(uint64_t bytes) const;  // in between
};

// Two to an octave; calls of one class share the walks.
uint32_t size_class(uint64_t bytes);
uint64_t class_begin(uint32_t size_class);

class Forecaster {
 public:
  Forecaster(const RouteTerms& terms, const MachineProfile& profile);

  // Of all algorithms that can serve calls of this class, in the order of the registry.  Remembered.
  const std::vector<Forecast>& of(Collective collective, uint64_t bytes);

 private:
  double flat_seconds(uint64_t bytes) const;
  std::pair<double, std::string_view> walk(const Algorithm& algorithm, const Outline& outline, uint64_t bytes) const;

  const RouteTerms& terms_;
  MachineProfile profile_;
  std::map<uint8_t, Outline> outlines_;
  std::map<std::pair<Collective, uint32_t>, std::vector<Forecast>> known_;
};

}  // namespace tutti
