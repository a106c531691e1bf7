#include "forecast.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "algorithms.h"
#include "arena.h"

namespace tutti {
namespace {

constexpr uint64_t kEffort = 512;  // messages walked for one forecast; two waves of stripes in any case

}  // namespace

uint32_t size_class(uint64_t bytes) {
  if (bytes < 2) return static_cast<uint32_t>(bytes);
  const auto octave = static_cast<uint32_t>(std::bit_width(bytes) - 1);
  return 2 * octave + static_cast<uint32_t>(bytes >> (octave - 1) & 1);
}

uint64_t class_begin(uint32_t size_class) {
  if (size_class < 4) return std::max(size_class, 1u);
  return (uint64_t{2} + size_class % 2) << (size_class / 2 - 1);
}

Forecaster::Forecaster(const ChoiceTerms& terms, const MachineProfile& profile) : terms_(terms), profile_(profile) {}

double Forecast::seconds(uint64_t bytes) const {
  const uint32_t place = size_class(bytes);
  const auto from = static_cast<double>(class_begin(place)), to = static_cast<double>(class_begin(place + 1));
  return least_s + (most_s - least_s) * std::max(static_cast<double>(bytes) - from, 0.0) / std::max(to - from, 1.0);
}

// Everyone writes a cell and reads all others', one after the other; ranks that outnumber cores take turns.  What makes bytes of calls below
// 64 KiB dear lies in plans' messages, of which there are none here.
double Forecaster::flat_seconds(uint64_t bytes) const {
  const Machine machine = machine_for(profile_, terms_.team, std::max<uint64_t>(bytes, 64 << 10));
  const double ranks = terms_.size, turns = std::ceil(ranks / profile_.cores) - 1;
  return machine.inside.latency_s + ranks * machine.inside.overhead_s + turns * machine.switch_s * ranks +
         static_cast<double>(bytes) * (machine.copy_byte_s + (ranks - 1) * machine.reduce_byte_s);
}

// Seconds, and what takes most of them.
std::pair<double, std::string_view> Forecaster::walk(const Algorithm& algorithm, const Outline& outline, uint64_t bytes) const {
  Work work;
  work.bytes = bytes;
  work.effort = kEffort;
  const auto blocks = each_rank_has_a_part(algorithm.collective) ? static_cast<uint64_t>(terms_.size) : outline.blocks();
  const Cut pieces = cut(terms_, bytes / blocks, outline.widest_run());
  work.lanes = pieces.lanes;
  work.stripe_bytes = pieces.stripe_bytes;
  const Prediction prediction = predict(outline, machine_for(profile_, terms_.team, bytes), work);
  return {prediction.seconds + profile_.call_s, bound(prediction.path)};
}

const std::vector<Forecast>& Forecaster::of(Collective collective, uint64_t bytes) {
  const uint32_t place = size_class(bytes);
  if (const auto known = known_.find({collective, place}); known != known_.end()) return known->second;
  std::vector<Forecast> forecasts;  // known once it is whole: half of them would make this rank choose otherwise than the others
  const uint64_t from = class_begin(place), to = class_begin(place + 1);
  // The class below ends where this one begins.
  const auto below = place > 0 ? known_.find({collective, place - 1}) : known_.end();
  for (size_t i = 0; i < algorithms().size(); ++i) {
    const Algorithm& algorithm = algorithms()[i];
    if (algorithm.collective != collective) continue;
    if (algorithm.needs_hosts && terms_.team.hosts() == 1) continue;  // there it is others, at greater length
    const auto index = static_cast<uint8_t>(i);
    auto outline = outlines_.find(index);
    if (outline == outlines_.end()) outline = outlines_.emplace(index, outline_of(algorithm, terms_.team, 0)).first;
    double least = 0;
    if (below != known_.end())
      for (const Forecast& smaller : below->second)
        if (smaller.algorithm == index) least = smaller.most_s;
    if (least == 0) least = walk(algorithm, outline->second, from).first;
    const auto [most, bound] = walk(algorithm, outline->second, to);
    forecasts.push_back({index, algorithm.name, least, most, bound});
  }
  if (flat_serves(terms_, collective, from)) forecasts.push_back({kFlat, "flat", flat_seconds(from), flat_seconds(to), "latency"});
  return known_.emplace(std::pair(collective, place), std::move(forecasts)).first->second;
}

}  // namespace tutti
