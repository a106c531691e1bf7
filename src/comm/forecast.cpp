#include "forecast.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "algorithms.h"
#include "arena.h"

namespace tutti {
namespace {

constexpr uint64_t kEffort = 512;  // messages walked for one forecast; two waves of stripes in any case

bool each_rank_has_a_part(Collective collective) {
  switch (collective) {
    case Collective::reduce_scatter:
    case Collective::all_gather:
    case Collective::gather:
    case Collective::scatter:
    case Collective::all_to_all: return true;
    default: return false;
  }
}

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

Forecaster::Forecaster(const ChoiceTerms& terms, const MachineProfile& profile)
    : terms_(terms), profile_(profile), machine_(machine_for(profile, terms.team)) {}

// Everyone writes a cell and reads all others', one after the other; ranks that outnumber cores take turns.
Forecast Forecaster::flat(uint64_t bytes) const {
  const double ranks = terms_.size, turns = std::ceil(ranks / profile_.cores) - 1;
  const auto size = static_cast<double>(bytes);
  const double seconds = machine_.inside.latency_s + ranks * machine_.inside.overhead_s + turns * machine_.switch_s * ranks +
                         size * (machine_.copy_byte_s + (ranks - 1) * machine_.reduce_byte_s);
  return {kFlat, "flat", seconds, "latency"};
}

const std::vector<Forecast>& Forecaster::of(Collective collective, uint64_t bytes) {
  const uint32_t place = size_class(bytes);
  const auto [entry, is_new] = known_.try_emplace({collective, place});
  std::vector<Forecast>& forecasts = entry->second;
  if (!is_new) return forecasts;
  Work work;
  work.bytes = (class_begin(place) + class_begin(place + 1)) / 2;
  work.effort = kEffort;
  for (size_t i = 0; i < algorithms().size(); ++i) {
    const Algorithm& algorithm = algorithms()[i];
    if (algorithm.collective != collective) continue;
    if (algorithm.name == "hierarchical" && terms_.team.hosts() == 1) continue;  // there it is others, at greater length
    const auto index = static_cast<uint8_t>(i);
    auto outline = outlines_.find(index);
    if (outline == outlines_.end()) outline = outlines_.emplace(index, outline_of(algorithm, terms_.team, 0)).first;
    const auto blocks = each_rank_has_a_part(collective) ? static_cast<uint64_t>(terms_.size) : outline->second.blocks();
    const Cut pieces = cut(terms_, work.bytes / blocks, outline->second.widest_run());
    work.lanes = pieces.lanes;
    work.stripe_bytes = pieces.stripe_bytes;
    const Prediction prediction = predict(outline->second, machine_, work);
    forecasts.push_back({index, algorithm.name, prediction.seconds + profile_.call_s, bound(prediction.path)});
  }
  if (flat_serves(terms_, collective, class_begin(place))) forecasts.push_back(flat(work.bytes));
  std::ranges::stable_sort(forecasts, {}, &Forecast::seconds);
  return forecasts;
}

}  // namespace tutti
