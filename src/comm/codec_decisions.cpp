#include "codec_decisions.h"

#include <cstdio>

#include "codec_rates.h"
#include "standard_floats.h"
#include "tensor_codec.h"

namespace tutti {
namespace {

std::string rate(double bytes_per_second) {
  char text[32];
  std::snprintf(text, sizeof text, bytes_per_second < 1e10 ? "%.2f GB/s" : "%.0f GB/s", bytes_per_second * 1e-9);
  return text;
}

}  // namespace

Result<const CodecDecision*> CodecDecisions::of(const Call& call, const RouteTerms& terms, const Tuning* tuning,
                                                const AskMost& ask_most) {
  static const CodecDecision kAsked{true, "asked for"};
  const TensorCodec& tensor = *call.codec;
  if (!tensor.spec().automatic) return &kAsked;
  Entry& entry = known_[tensor.text()];
  if (entry.decision) return &*entry.decision;
  const kernels::StandardFloats mode;
  const MachineProfile profile = tuning ? tuning->profile : MachineProfile::standard(parts_.intra_host_streams);
  auto decision = decide(call, entry, link_seconds_per_byte(terms, profile), ask_most);
  if (!decision.ok()) return decision.status();
  if (parts_.rank == 0) parts_.log.info("codec " + tensor.text() + ": " + decision->why);
  entry.decision = std::move(*decision);
  return &*entry.decision;
}

Result<CodecDecision> CodecDecisions::decide(const Call& call, Entry& entry, double link, const AskMost& ask_most) const {
  if (parts_.size == 1) return CodecDecision{false, kAlone};
  if (link <= 0) return CodecDecision{false, "nothing is compressed, since messages go through memory"};
  if (!entry.most) {
    const auto mine = static_cast<float>(break_even(measure_rates(call.codec->codec())) * 1e9);  // nanoseconds per byte
    const auto most = ask_most(mine, call);
    if (!most.ok()) return most.status();
    entry.most = *most;
  }
  const double slowest = *entry.most;
  CodecDecision decision;
  decision.compresses = link * 1e9 > slowest;
  decision.why = std::string(decision.compresses ? "compressed" : "not compressed") + ", since the links carry " + rate(1 / link) +
                 " and compressing pays below " + rate(1e9 / slowest);
  return decision;
}

}  // namespace tutti
