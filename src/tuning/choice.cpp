#include "choice.h"

#include <algorithm>
#include <cstdio>

#include "algorithms.h"
#include "arena.h"
#include "byte_units.h"
#include "forecast.h"
#include "standard_floats.h"
#include "words.h"

namespace tutti {
namespace {

// Sizes at which one algorithm overtakes another, measured with `tutti-bench all_reduce --algorithm all` (bench/README.md).
constexpr uint64_t kHostDoublingUntil = 8 << 10;
constexpr uint64_t kHostDirectUntilPerRank = 128 << 10;  // with more than two ranks; two ranks go from doubling to ring at once
constexpr uint64_t kNetDoublingUntil = 64 << 10;
constexpr uint64_t kNetRecursiveUntil = 1 << 20;
// Smaller messages cost more in hand-overs and system calls than they win by overlap.
constexpr size_t kHostLeastStripe = 8 << 10;
constexpr size_t kNetLeastStripe = 32 << 10;
constexpr size_t kLoopbackLeastStripe = 64 << 10;  // over TCP within a host nothing overlaps: the cores that reduce also carry

// Predictions that differ by less tell nothing apart: then what the fixed sizes say is taken, which follow measurements.
constexpr double kTie = 1.05;

constexpr size_t kLargestShare = 16 << 20;   // bytes of each rank: slots, and what they take to be handed over
constexpr uint32_t kMessageSlots = 16;       // of each rank for messages, divided among its peers; one for each at least
constexpr size_t kHostSlotBytes = 64 << 10;  // four lanes stay in a core's own cache
constexpr size_t kNetSlotBytes = 512 << 10;  // few system calls

// No plan takes more slots for one lane: one for each peer's send or receive, and a few.
uint32_t slots_of_a_lane(int size) { return 2 * (static_cast<uint32_t>(size) + 8); }

std::string_view standard(const ChoiceTerms& terms, Collective collective, uint64_t bytes, std::string& reason) {
  const bool host = terms.single_host;
  const bool many_hosts = terms.team.hosts() > 1 && terms.team.hosts() < terms.size;  // and more than one rank on some
  if (many_hosts && bytes > kNetDoublingUntil && find_algorithm(collective, "hierarchical")) {
    reason = "several hosts: each byte leaves a host once";
    return "hierarchical";
  }
  switch (collective) {
    case Collective::all_reduce:
      if (host) {
        const bool small = bytes <= kHostDoublingUntil;
        const bool middle = terms.size > 2 && bytes <= kHostDirectUntilPerRank * static_cast<uint64_t>(terms.size);
        reason = small    ? "small, one host: fewest messages"
                 : middle ? "middle, one host: two hops"
                          : "large, one host: one pass over the data";
        return small ? "doubling" : middle ? "direct" : "ring";
      }
      reason = bytes <= kNetDoublingUntil    ? "small: fewest messages"
               : bytes <= kNetRecursiveUntil ? "middle: few messages, few bytes"
                                             : "large: fewest bytes, neighbours only";
      return bytes <= kNetDoublingUntil ? "doubling" : bytes <= kNetRecursiveUntil ? "recursive" : "ring";
    case Collective::reduce_scatter:
    case Collective::all_gather:
      reason = host ? "one host: one hop" : bytes <= kNetRecursiveUntil ? "few messages" : "large: neighbours only";
      return host ? "direct" : bytes <= kNetRecursiveUntil ? "recursive" : "ring";
    case Collective::broadcast: reason = host ? "one host: one slot for all" : "logarithmic depth"; return host ? "direct" : "tree";
    case Collective::reduce: reason = host ? "one host: one hop" : "logarithmic depth"; return host ? "direct" : "tree";
    case Collective::barrier: reason = "fewest messages"; return "doubling";
    default: reason = "each block travels once"; return "direct";
  }
}

Result<Choice> named(const ChoiceTerms& terms, Collective collective, uint64_t bytes, std::string_view name, std::string reason) {
  if (name == "flat") {
    if (flat_serves(terms, collective, bytes)) return Choice{kFlat, "flat", std::move(reason)};
    return Status(Code::unsupported, "algorithm flat serves all_reduce and barrier of at most " +
                                         format_bytes(memory::flat_bytes(static_cast<uint32_t>(terms.size))) +
                                         " within one host of " + std::to_string(terms.size) + " ranks only; this is " +
                                         std::string(tutti::name(collective)) + " of " + format_bytes(bytes));
  }
  if (const auto index = find_algorithm(collective, name)) return Choice{*index, algorithms()[*index].name, std::move(reason)};
  if (std::find(std::begin(kAlgorithmNames), std::end(kAlgorithmNames), name) == std::end(kAlgorithmNames))
    return Status(Code::invalid_argument, "no algorithm is called " + in_quotes(name) + "; there are " + listed(kAlgorithmNames) +
                                              suggestion(name, kAlgorithmNames));
  std::vector<std::string_view> known;
  for (const Algorithm& row : algorithms())
    if (row.collective == collective) known.push_back(row.name);
  return Status(Code::unsupported, "algorithm " + std::string(name) + " does not serve " + std::string(tutti::name(collective)) +
                                       "; there are " + listed(known));
}

bool excluded(const ChoiceTerms& terms, Collective collective, uint64_t bytes, std::string_view name) {
  return std::any_of(terms.rules.begin(), terms.rules.end(), [&](const AlgorithmRule& rule) {
    return rule.exclude && rule.name == name && rule.matches(collective, bytes);
  });
}

Status none_left(Collective collective, uint64_t bytes) {
  return Status(Code::unsupported,
                "TUTTI_ALGORITHM excludes every algorithm for " + std::string(name(collective)) + " of " + format_bytes(bytes));
}

// The fastest that is not excluded, and what comes next; of two that are equally fast, the one that the fixed sizes prefer.
Result<Choice> foreseen(const ChoiceTerms& terms, Collective collective, uint64_t bytes, const std::vector<Forecast>& forecasts) {
  std::vector<const Forecast*> open;
  for (const Forecast& forecast : forecasts)
    if (!excluded(terms, collective, bytes, forecast.name) &&
        (forecast.algorithm != kFlat || flat_serves(terms, collective, bytes)))
      open.push_back(&forecast);
  if (open.empty()) return none_left(collective, bytes);
  std::ranges::stable_sort(open, {}, [bytes](const Forecast* forecast) { return forecast->seconds(bytes); });
  std::string why;
  const auto usual = std::ranges::find(open, standard(terms, collective, bytes, why), &Forecast::name);
  const bool is_tie = usual != open.begin() && usual != open.end() && (*usual)->seconds(bytes) <= kTie * open[0]->seconds(bytes);
  const Forecast& best = is_tie ? **usual : *open[0];
  std::string reason = "predicted " + in_words(best.seconds(bytes)) + ", mostly " + std::string(best.bound);
  if (open.size() > 1) {
    const Forecast& next = *open[is_tie ? 0 : 1];
    reason += (is_tie ? "; tied with " : "; next ") + std::string(next.name) + " " + in_words(next.seconds(bytes));
  }
  return Choice{best.algorithm, best.name, std::move(reason), best.seconds(bytes)};
}

// The file's rule for this call, if it can be obeyed.
const TuningRule* rule_of_file(const ChoiceTerms& terms, Collective collective, uint64_t bytes) {
  const int hosts = terms.team.hosts();
  for (const TuningRule& rule : terms.file) {
    if (!rule.matches(collective, terms.size, hosts, bytes)) continue;
    if (rule.algorithm == "flat" ? flat_serves(terms, collective, bytes) : find_algorithm(collective, rule.algorithm).has_value())
      return &rule;
  }
  return nullptr;
}

Result<Choice> decide(const ChoiceTerms& terms, Collective collective, uint64_t bytes, std::string_view wanted,
                      Forecaster* forecaster, bool rounds_once) {
  if (terms.deterministic) {
    if (flat_serves(terms, collective, bytes)) return Choice{kFlat, "flat", "TUTTI_DETERMINISTIC: rank order"};
    if (find_algorithm(collective, "direct")) return named(terms, collective, bytes, "direct", "TUTTI_DETERMINISTIC: rank order");
  }
  if (!wanted.empty()) return named(terms, collective, bytes, wanted, "option of the call");
  for (const AlgorithmRule& rule : terms.rules) {
    if (rule.exclude || !rule.matches(collective, bytes)) continue;
    if (rule.name == "flat" ? flat_serves(terms, collective, bytes) : find_algorithm(collective, rule.name).has_value())
      return named(terms, collective, bytes, rule.name, "TUTTI_ALGORITHM");
  }
  if (const TuningRule* rule = rule_of_file(terms, collective, bytes);
      rule && !excluded(terms, collective, bytes, rule->algorithm)) {
    auto choice = named(terms, collective, bytes, rule->algorithm, "TUTTI_TUNING_FILE, line " + std::to_string(rule->line));
    if (choice.ok()) choice->wish = {rule->lanes, rule->stripe_bytes};
    return choice;
  }
  // Where it serves at all no plan was ever measured to be faster, and a forecast of so little time is mostly of what it leaves out.
  if (flat_serves(terms, collective, bytes) && !excluded(terms, collective, bytes, "flat"))
    return Choice{kFlat, "flat", "one host, at most " + format_bytes(memory::flat_bytes(static_cast<uint32_t>(terms.size)))};
  if (rounds_once && terms.single_host && terms.size > 2 && find_algorithm(collective, "direct") &&
      !excluded(terms, collective, bytes, "direct"))
    return named(terms, collective, bytes, "direct", "16-bit average, one host: each element is reduced in one go");
  if (forecaster) return foreseen(terms, collective, bytes, forecaster->of(collective, bytes));
  std::string reason;
  const std::string_view first = standard(terms, collective, bytes, reason);
  if (!excluded(terms, collective, bytes, first)) return named(terms, collective, bytes, first, reason);
  for (const Algorithm& row : algorithms())
    if (row.collective == collective && !excluded(terms, collective, bytes, row.name))
      return named(terms, collective, bytes, row.name, "TUTTI_ALGORITHM excludes " + std::string(first));
  return none_left(collective, bytes);
}

}  // namespace

std::string in_words(double seconds) {
  char text[32];
  const double us = seconds * 1e6;
  if (us < 1000)
    std::snprintf(text, sizeof text, us < 10 ? "%.2f µs" : "%.0f µs", us);
  else
    std::snprintf(text, sizeof text, "%.1f ms", us / 1e3);
  return text;
}

bool flat_serves(const ChoiceTerms& terms, Collective collective, uint64_t bytes) {
  return terms.single_host && bytes <= memory::flat_bytes(static_cast<uint32_t>(terms.size)) && bytes > 0 &&
         (collective == Collective::all_reduce || collective == Collective::barrier);
}

Result<Choice> choose(const ChoiceTerms& terms, Collective collective, uint64_t bytes, std::string_view wanted,
                      Forecaster* forecaster, bool rounds_once) {
  const kernels::StandardFloats mode;  // all ranks must foresee the same
  auto choice = decide(terms, collective, bytes, wanted, forecaster, rounds_once);
  if (!choice.ok() || !forecaster) return choice;
  for (const Forecast& forecast : forecaster->of(collective, bytes))
    if (forecast.algorithm == choice->algorithm) choice->seconds = forecast.seconds(bytes);
  return choice;
}

PoolShape pool_shape(int size, uint32_t local_ranks, uint32_t lanes, size_t slot_bytes) {
  constexpr size_t kPage = 4096;
  const auto ranks = static_cast<uint32_t>(size);
  const bool single_host = local_ranks == ranks;
  if (lanes == 0) lanes = standard_lanes(single_host);
  if (slot_bytes == 0) slot_bytes = single_host ? kHostSlotBytes : kNetSlotBytes;
  const uint32_t least_slots = slots_of_a_lane(size);
  // No plan moves more blocks at once than half of the ranks', and no stripe of a block is shorter than a cache line.
  const size_t least_bytes = (memory::kLine * ((ranks + size_t{1}) / 2) + kPage - 1) / kPage * kPage;
  const uint32_t message_slots = local_ranks > 1 ? std::max(kMessageSlots / (local_ranks - 1), 1u) : 0;
  PoolShape shape{lanes * least_slots, 0, message_slots};  // two waves of lanes of most plans, one of the greediest
  const size_t beside = memory::ArenaShape{.ranks = ranks, .slots = shape.all_slots(local_ranks), .slot_bytes = 0}.bytes_beside_slots();
  const size_t room = kLargestShare - std::min(kLargestShare, beside);
  shape.slot_bytes = std::max(std::min(slot_bytes, room / shape.all_slots(local_ranks) / kPage * kPage), least_bytes);
  if (shape.all_slots(local_ranks) * shape.slot_bytes > room) {  // fewer lanes then, see cut
    shape.message_slots = local_ranks > 1 ? 1 : 0;
    const auto affordable = static_cast<uint32_t>(room / shape.slot_bytes);
    shape.slots = std::max(least_slots, affordable - std::min(affordable, local_ranks - 1));
  }
  return shape;
}

Cut cut(const ChoiceTerms& terms, uint64_t block_bytes, uint32_t widest_run, const Cut& wish) {
  uint32_t most_lanes = terms.lanes > 0 ? terms.lanes : standard_lanes(terms.single_host);
  // All lanes of a wave must be able to hold their slots at once: a message of one may have to follow one of the next.
  if (terms.slots > 0) most_lanes = std::clamp(terms.slots / slots_of_a_lane(terms.size), 1u, most_lanes);
  const uint32_t lanes = wish.lanes > 0 ? std::min(wish.lanes, most_lanes) : most_lanes;
  const size_t least = terms.single_host ? kHostLeastStripe : terms.loopback ? kLoopbackLeastStripe : kNetLeastStripe;
  const size_t most = std::max<size_t>(terms.slot_bytes / widest_run / 64 * 64, 64);
  if (wish.stripe_bytes > 0) return {lanes, std::min(wish.stripe_bytes, most)};
  const size_t even = (block_bytes + lanes - 1) / lanes;  // one stripe a lane
  const size_t wanted = std::max(least / std::max(widest_run, 1u), (even + 63) / 64 * 64);
  return {lanes, std::min(most, std::max<size_t>(wanted / 64 * 64, 64))};
}

}  // namespace tutti
