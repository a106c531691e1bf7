#include "pricing.h"

#include <algorithm>
#include <cmath>

#include "algorithms.h"
#include "pool_shape.h"

namespace tutti {
namespace {

// A table takes rank 0 about a millisecond for 2 ranks, 2 for 4 and 3 for 8 by the simulator, whose messages grow with
// the square of the ranks; by formula less than 1 for up to 128.  TUTTI_DEBUG=info logs it.
constexpr int kMostSimulated = 8;  // ranks
constexpr uint64_t kEffort = 384;  // messages walked for one prediction; two waves of stripes in any case

}  // namespace

// Everyone writes a cell and reads all others', one after the other; ranks that outnumber cores take turns.  Bytes of
// calls below 64 KiB are dear because of plans' messages, of which there are none here.
Price Pricing::of_flat(uint64_t bytes) const {
  const Machine machine = machine_for(profile_, terms_.team, std::max<uint64_t>(bytes, 64 << 10));
  const double ranks = terms_.size, turns = std::ceil(ranks / profile_.cores) - 1;
  return {machine.intra_host.latency_s + ranks * machine.intra_host.overhead_s + turns * machine.switch_s * ranks +
              static_cast<double>(bytes) * (machine.copy_byte_s + (ranks - 1) * machine.reduce_byte_s),
          "latency"};
}

Price Pricing::simulated(const Outline& outline, uint64_t bytes) const {
  const auto blocks = each_rank_has_a_part(outline.collective()) ? static_cast<uint64_t>(terms_.size) : outline.blocks();
  const Cut pieces = cut(terms_, bytes / blocks, outline.widest_run());
  const Work work{bytes, pieces.lanes, pieces.stripe_bytes, kEffort};
  const Prediction prediction = predict(outline, machine_for(profile_, terms_.team, bytes), work);
  return {prediction.seconds + profile_.call_s, bound(prediction.path)};
}

Price Pricing::by_formula(const PlanLoad& load, Collective collective, uint64_t bytes) const {
  const auto blocks = each_rank_has_a_part(collective) ? static_cast<uint64_t>(terms_.size) : load.blocks();
  const Cut pieces = cut(terms_, bytes / blocks, load.widest_run());
  const Split split = load.price(machine_for(profile_, terms_.team, bytes), {bytes, pieces.lanes, pieces.stripe_bytes});
  return {split.total() + profile_.call_s, bound(split)};
}

Price Pricing::of(uint8_t algorithm, uint64_t bytes) {
  if (terms_.size > kMostSimulated) {
    auto load = loads_.find(algorithm);
    if (load == loads_.end()) load = loads_.emplace(algorithm, PlanLoad(algorithms()[algorithm], terms_.team)).first;
    return by_formula(load->second, algorithms()[algorithm].collective, bytes);
  }
  auto outline = outlines_.find(algorithm);
  if (outline == outlines_.end()) outline = outlines_.emplace(algorithm, outline_of(algorithms()[algorithm], terms_.team, 0)).first;
  return simulated(outline->second, bytes);
}

}  // namespace tutti
