#include "coded.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "algorithms.h"
#include "byte_units.h"
#include "clock.h"
#include "forecast.h"
#include "standard_floats.h"
#include "words.h"

namespace tutti {
namespace {

constexpr double kRingMustWin = 1.5;               // times faster than the best other
constexpr size_t kLeastStripeBytes = 64 << 10;     // of the tensor in one message: less costs more in messages than it overlaps
constexpr size_t kLargestStripeBytes = 512 << 10;  // stays in a core's own cache with its residual

// Why algorithms()[index] cannot carry the codec, "" if it can.
std::string hindrance(const ChoiceTerms& terms, const Packed& packed, uint8_t index,
                      const std::function<uint32_t(uint8_t)>& widest_run) {
  const std::string name(algorithms()[index].name);
  if (!algorithms()[index].may_carry_codec)
    return "algorithm " + name +
           " cannot carry a codec: its ranks would encode some elements several times, so one residual could not "
           "hold what was left out";
  const size_t message = packed.packet_bytes * widest_run(index);
  if (message <= terms.slot_bytes) return {};
  return "algorithm " + name + " would send messages of at least " + format_bytes(message) + " with codec " +
         std::string(packed.codec) + ", and a slot holds " + format_bytes(terms.slot_bytes) +
         "; ring and direct send smaller ones, TUTTI_SLOT_BYTES makes larger slots";
}

}  // namespace

Result<Choice> choose_coded(const ChoiceTerms& terms, const Packed& packed, std::string_view wanted, Forecaster* forecaster,
                            const std::function<uint32_t(uint8_t)>& widest_run) {
  const auto named = [&](std::string_view name, std::string reason) -> Result<Choice> {
    const auto index = find_algorithm(Collective::all_reduce, name);
    if (!index) {  // flat, or no algorithm at all
      if (name != "flat") return choose(terms, Collective::all_reduce, packed.bytes, name);
      return Status(Code::unsupported, "algorithm flat cannot carry a codec: everyone reads everyone's elements as they are");
    }
    if (const std::string why = hindrance(terms, packed, *index, widest_run); !why.empty()) return Status(Code::unsupported, why);
    return Choice{*index, algorithms()[*index].name, std::move(reason)};
  };
  const kernels::StandardFloats mode;  // all ranks must foresee the same
  if (terms.deterministic) return named("direct", "TUTTI_DETERMINISTIC: one order");
  if (!wanted.empty()) return named(wanted, "option of the call");
  std::vector<uint8_t> open;
  for (size_t i = 0; i < algorithms().size(); ++i) {
    const Algorithm& algorithm = algorithms()[i];
    const auto index = static_cast<uint8_t>(i);
    if (algorithm.collective != Collective::all_reduce || (algorithm.needs_hosts && terms.team.hosts() == 1)) continue;
    const bool excluded = std::ranges::any_of(terms.rules, [&](const AlgorithmRule& rule) {
      return rule.exclude && rule.name == algorithm.name && rule.matches(Collective::all_reduce, packed.bytes);
    });
    if (!excluded && hindrance(terms, packed, index, widest_run).empty()) open.push_back(index);
  }
  for (const AlgorithmRule& rule : terms.rules)
    if (!rule.exclude && rule.matches(Collective::all_reduce, packed.bytes)) return named(rule.name, "TUTTI_ALGORITHM");
  if (open.empty())
    return Status(Code::unsupported, "TUTTI_ALGORITHM excludes every algorithm that can carry codec " + std::string(packed.codec));
  if (forecaster) {
    const Forecast* best = nullptr;
    double least = std::numeric_limits<double>::infinity();
    for (const Forecast& forecast : forecaster->of(Collective::all_reduce, packed.bytes)) {
      if (std::ranges::find(open, forecast.algorithm) == open.end()) continue;
      const double seconds = forecast.seconds(packed.bytes) * (forecast.name == "ring" && terms.size > 2 ? kRingMustWin : 1);
      if (seconds >= least) continue;
      least = seconds;
      best = &forecast;
    }
    if (best) return Choice{best->algorithm, best->name, "predicted " + in_words(best->seconds(packed.bytes)) + " for its packets"};
  }
  // Few ranks or one host: two hops, each sum encoded once.  Many: few hops.
  const bool near = terms.size <= 8 || terms.single_host;
  for (const std::string_view name : {"hierarchical", near ? "direct" : "recursive", "recursive", "direct", "tree", "ring"})
    for (const uint8_t index : open)
      if (algorithms()[index].name == name)
        return Choice{index, algorithms()[index].name,
                      near ? "few ranks: each sum is encoded once" : "many ranks: few encodings of each sum"};
  return Status(Code::internal, "no algorithm for a codec");
}

CodedCut cut_coded(const ChoiceTerms& terms, const Packed& packed, uint32_t blocks, uint32_t widest_run) {
  const uint32_t lanes = terms.lanes > 0 ? terms.lanes : standard_lanes(terms.single_host);
  const uint64_t most = std::max<uint64_t>(1, terms.slot_bytes / widest_run / packed.packet_bytes);
  const uint64_t of_block = (packed.chunks + blocks - 1) / blocks;
  const uint64_t even = (of_block + lanes - 1) / lanes;  // one stripe a lane
  const uint64_t least = std::max<uint64_t>(1, kLeastStripeBytes / widest_run / packed.chunk_bytes);
  const uint64_t largest = std::max<uint64_t>(least, kLargestStripeBytes / widest_run / packed.chunk_bytes);
  return {lanes, static_cast<size_t>(std::min(most, std::clamp(even, least, largest)))};
}

CodecRates measure_rates(const Codec& codec) {
  constexpr size_t kElements = 16 << 10;
  constexpr int kTurns = 5;  // the fastest counts
  const size_t n = std::min(codec.chunk(), kElements), chunks = std::max<size_t>(1, kElements / n);
  const size_t packet = codec.packet_bytes(n, 0);
  std::vector<float> value(n * chunks), residual(n * chunks), sum(n * chunks);
  for (size_t i = 0; i < value.size(); ++i) value[i] = static_cast<float>((i * 2654435761u >> 7 & 0xFFFF)) / 65536.0f - 0.5f;
  std::vector<std::byte> packets(packet * chunks);
  const auto fastest = [&](auto each) {
    uint64_t least = UINT64_MAX;
    for (int turn = 0; turn < kTurns; ++turn) {
      const uint64_t start = now_ns();
      for (size_t c = 0; c < chunks; ++c) each(c);
      least = std::min(least, now_ns() - start);
    }
    return static_cast<double>(value.size() * sizeof(float)) * 1e9 / static_cast<double>(std::max<uint64_t>(least, 1));
  };
  CodecRates rates;
  rates.encode = fastest([&](size_t c) {
    codec.encode({value.data() + c * n, residual.data() + c * n, nullptr, n}, {0, 0, 0, c * n}, packets.data() + c * packet);
  });
  const auto decode = [&](size_t c, const float* add) {  // of packets just made: they are sound
    (void)codec.decode(packets.data() + c * packet, n, {0, 0, 0, c * n}, {sum.data() + c * n, add});
  };
  rates.decode_add = fastest([&](size_t c) { decode(c, value.data() + c * n); });
  rates.decode = fastest([&](size_t c) { decode(c, nullptr); });
  return rates;
}

double break_even(const CodecRates& rates) { return (1 / rates.encode + 1 / rates.decode_add + 1 / rates.decode) / 2; }

double link_seconds_per_byte(const ChoiceTerms& terms, const MachineProfile& profile) {
  if (terms.single_host) return 0;
  const LinkCost& link = terms.team.hosts() > 1 ? profile.between : profile.inside;
  return std::max(link.byte_s, link.processor_byte_s);
}

}  // namespace tutti
