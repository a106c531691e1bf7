#include "simulator.h"

#include <algorithm>
#include <cmath>

#include "simulator_walk.h"

namespace tutti {
namespace {

Split operator+(const Split& a, const Split& b) {
  return {a.processor_s + b.processor_s, a.latency_s + b.latency_s, a.link_s + b.link_s, a.interface_s + b.interface_s,
          a.memory_s + b.memory_s};
}
Split operator*(const Split& a, double f) {
  return {a.processor_s * f, a.latency_s * f, a.link_s * f, a.interface_s * f, a.memory_s * f};
}

}  // namespace

std::string_view bound(const Split& split) {
  const std::array<std::pair<double, std::string_view>, 5> parts{{{split.processor_s, "processor"},
                                                                  {split.latency_s, "latency"},
                                                                  {split.link_s, "link"},
                                                                  {split.interface_s, "interface"},
                                                                  {split.memory_s, "memory"}}};
  return std::ranges::max_element(parts, {}, [](const auto& part) { return part.first; })->second;
}

Prediction predict(const Outline& outline, const Machine& machine, const Work& work, const Watcher& watcher) {
  const uint64_t bytes = outline.collective() == Collective::barrier ? std::max<uint64_t>(work.bytes, 1) : work.bytes;
  const Stripes stripes(outline.collective(), outline.size(), outline.blocks(), bytes, work.stripe_bytes);
  if (stripes.count() == 0 || outline.messages() == 0) return {};
  const uint64_t lanes = std::clamp<uint64_t>(work.lanes, 1, stripes.count());
  const uint64_t waves = std::max<uint64_t>(2, work.effort / (outline.messages() * lanes));
  const uint64_t count = waves >= stripes.count() / lanes ? stripes.count() : waves * lanes;
  simulator::Walk walk(outline, machine, stripes, count, static_cast<uint32_t>(lanes));
  walk.run(watcher);
  Prediction prediction = walk.result();
  const simulator::Milestone& last = walk.waves().back();
  prediction.seconds = walk.ended() ? last.time : simulator::kNever;
  prediction.path = last.spent;
  if (count == stripes.count() || !walk.ended()) return prediction;

  // The waves in the second half set the pace for all that follow.
  const simulator::Milestone& middle = walk.waves()[walk.waves().size() / 2 - 1];
  const double done = stripes.share(count), begun = stripes.share((walk.waves().size() / 2) * lanes);
  const double more = (1 - done) / (done - begun);
  prediction.seconds += (last.time - middle.time) * more;
  prediction.path = last.spent + (last.spent + middle.spent * -1) * more;
  prediction.messages = static_cast<uint64_t>(std::llround(static_cast<double>(prediction.messages) / done));
  prediction.bytes_intra_host /= done;
  prediction.bytes_inter_host /= done;
  prediction.busiest_interface /= done;
  return prediction;
}

}  // namespace tutti
