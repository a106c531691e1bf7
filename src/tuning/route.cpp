#include "route.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <vector>

#include "algorithms.h"
#include "arena.h"
#include "byte_units.h"
#include "fixed_sizes.h"
#include "table.h"
#include "words.h"

namespace tutti {
namespace {

constexpr uint64_t kAskFrom = 4 << 20;  // bytes from which asking whether buffers are lent costs next to nothing
// A ring encodes each sum at every hop, so it must be three halves as fast as the best other algorithm.
constexpr uint64_t kRingHandicap = 3, kNoHandicap = 2;

Route taken(uint8_t index, std::string reason) { return {index, algorithms()[index].name, std::move(reason)}; }
double seconds_of(const TuningRule& line, const CallKind& call) {
  return static_cast<double>(line.predicted_ns(call.bytes)) * 1e-9;
}
Route flat(std::string reason) { return {kFlat, "flat", std::move(reason)}; }

bool flat_serves(const RouteTerms& terms, const CallKind& call) {
  return !call.packed && !call.custom && tutti::flat_serves(terms, call.collective, call.bytes);
}

bool excluded(const RouteTerms& terms, const CallKind& call, std::string_view name) {
  return std::ranges::any_of(terms.rules, [&](const AlgorithmRule& rule) {
    return rule.exclude && rule.name == name && rule.matches(call.collective, call.bytes);
  });
}

Status no_such_plan(Collective collective, std::string_view name) {
  if (std::ranges::find(kAlgorithmNames, name) == std::end(kAlgorithmNames))
    return Status(Code::invalid_argument, "no algorithm is called " + in_quotes(name) + "; there are " + listed(kAlgorithmNames) +
                                              suggestion(name, kAlgorithmNames));
  std::vector<std::string_view> known;
  for (const Algorithm& row : algorithms())
    if (row.collective == collective) known.push_back(row.name);
  return Status(Code::unsupported, "algorithm " + std::string(name) + " does not serve " + std::string(tutti::name(collective)) +
                                       "; there are " + listed(known));
}

Status flat_does_not_serve(const RouteTerms& terms, const CallKind& call) {
  if (call.packed)
    return Status(Code::unsupported, "algorithm flat cannot carry a codec: everyone reads everyone's elements as they are");
  if (call.custom) return Status(Code::unsupported, "algorithm flat reduces by the library's own operators only");
  return Status(Code::unsupported, "algorithm flat serves all_reduce and barrier of at most " +
                                       format_bytes(memory::flat_bytes(static_cast<uint32_t>(terms.size))) +
                                       " within one host of " + std::to_string(terms.size) + " ranks only; this is " +
                                       std::string(name(call.collective)) + " of " + format_bytes(call.bytes));
}

// Only plans whose mass proof holds and whose messages fit into slots can carry a codec.
Status carries(const RouteTerms& terms, const Packed& packed, uint8_t index) {
  const std::string name(algorithms()[index].name);
  if (!algorithms()[index].may_carry_codec)
    return Status(Code::unsupported, "algorithm " + name +
                                         " cannot carry a codec: its ranks would encode some elements several times, so one "
                                         "residual could not hold what was left out");
  const size_t message = packed.packet_bytes * packed.widest_run(index);
  if (message <= terms.slot_bytes) return {};
  return Status(Code::unsupported, "algorithm " + name + " would send messages of at least " + format_bytes(message) +
                                       " with codec " + std::string(packed.codec) + ", and a slot holds " +
                                       format_bytes(terms.slot_bytes) +
                                       "; ring and direct send smaller ones, TUTTI_SLOT_BYTES makes larger slots");
}

// The algorithm of that name, or why it does not serve the call.
Result<Route> named(const RouteTerms& terms, const CallKind& call, std::string_view name, std::string reason) {
  if (name == "flat") {
    if (flat_serves(terms, call)) return flat(std::move(reason));
    return flat_does_not_serve(terms, call);
  }
  const auto index = find_algorithm(call.collective, name);
  if (!index) return no_such_plan(call.collective, name);
  if (call.packed)
    if (Status status = carries(terms, *call.packed, *index); !status.ok()) return status;
  return taken(*index, std::move(reason));
}

// ---- the rungs ----

std::optional<Result<Route>> by_deterministic(const RouteTerms& terms, const CallKind& call) {
  if (!terms.deterministic) return {};
  if (call.packed) return named(terms, call, "direct", "TUTTI_DETERMINISTIC: one order");
  if (flat_serves(terms, call)) return flat("TUTTI_DETERMINISTIC: rank order");
  if (find_algorithm(call.collective, "direct")) return named(terms, call, "direct", "TUTTI_DETERMINISTIC: rank order");
  return {};
}

std::optional<Result<Route>> by_option(const RouteTerms& terms, const CallKind& call) {
  if (call.wanted.empty()) return {};
  return named(terms, call, call.wanted, "option of the call");
}

// A rule that names no plan of the collective is not meant for it; one that cannot carry the codec is an error.
std::optional<Result<Route>> by_setting(const RouteTerms& terms, const CallKind& call) {
  for (const AlgorithmRule& rule : terms.rules) {
    if (rule.exclude || !rule.matches(call.collective, call.bytes)) continue;
    if (call.packed || (rule.name == "flat" ? flat_serves(terms, call) : find_algorithm(call.collective, rule.name).has_value()))
      return named(terms, call, rule.name, "TUTTI_ALGORITHM");
  }
  return {};
}

std::optional<Result<Route>> by_file(const RouteTerms& terms, const CallKind& call, bool on_device = false) {
  const int hosts = terms.file.empty() ? 1 : terms.team.hosts();
  for (const TuningRule& rule : terms.file) {
    if (rule.device.has_value() != on_device || !rule.matches(call.collective, terms.size, hosts, call.bytes) ||
        excluded(terms, call, rule.algorithm))
      continue;
    auto route = named(terms, call, rule.algorithm, "TUTTI_TUNING_FILE, line " + std::to_string(rule.line));
    if (!route.ok()) continue;
    route->wish = {rule.lanes, rule.stripe_bytes};
    route->protocol = rule.device;
    return route;
  }
  return {};
}

// Two ranks need not ask: their ring copies nothing either.
bool may_be_lent(const RouteTerms& terms, const CallKind& call) {
  return call.collective == Collective::all_reduce && !call.packed && call.bytes >= kAskFrom && terms.size > 2 &&
         terms.single_host && !excluded(terms, call, "direct");
}

std::optional<Result<Route>> by_lent_memory(const RouteTerms& terms, const CallKind& call) {
  if (!call.all_lent || !may_be_lent(terms, call)) return {};
  return named(terms, call, "direct", "large, and all ranks' buffers are of tutti_alloc");
}

std::vector<uint8_t> carriers(const RouteTerms& terms, const CallKind& call) {
  std::vector<uint8_t> open;
  for (size_t i = 0; i < algorithms().size(); ++i) {
    const Algorithm& algorithm = algorithms()[i];
    if (algorithm.collective != call.collective || (algorithm.needs_hosts && terms.team.hosts() == 1)) continue;
    const auto index = static_cast<uint8_t>(i);
    if (!excluded(terms, call, algorithm.name) && carries(terms, *call.packed, index).ok()) open.push_back(index);
  }
  return open;
}

// The table's lines that fit the call, best first, without what is excluded.
std::vector<const TuningRule*> lines_for(const RouteTerms& terms, const CallKind& call) {
  std::vector<const TuningRule*> lines;
  for (const TuningRule& rule : terms.table)
    if (rule.matches(call.collective, call.bytes) && !excluded(terms, call, rule.algorithm)) lines.push_back(&rule);
  return lines;
}

std::string in_words(const TuningRule& line, const CallKind& call) { return tutti::in_words(seconds_of(line, call)); }

std::optional<Route> fastest_carrier(const RouteTerms& terms, const CallKind& call, const std::vector<uint8_t>& open) {
  const TuningRule* best = nullptr;
  uint64_t least = UINT64_MAX;
  for (const TuningRule* line : lines_for(terms, call)) {
    const auto index = find_algorithm(call.collective, line->algorithm);
    if (!index || std::ranges::find(open, *index) == open.end()) continue;
    const uint64_t handicap = line->algorithm == "ring" && terms.size > 2 ? kRingHandicap : kNoHandicap;
    const uint64_t weighted = line->predicted_ns(call.bytes) * handicap;
    if (weighted >= least) continue;
    least = weighted;
    best = line;
  }
  if (!best) return {};
  return taken(*find_algorithm(call.collective, best->algorithm), "predicted " + in_words(*best, call) + " for its packets");
}

std::optional<Result<Route>> by_codec(const RouteTerms& terms, const CallKind& call) {
  if (!call.packed) return {};
  const std::vector<uint8_t> open = carriers(terms, call);
  if (open.empty())
    return Status(Code::unsupported,
                  "TUTTI_ALGORITHM excludes every algorithm that can carry codec " + std::string(call.packed->codec));
  if (auto best = fastest_carrier(terms, call, open)) return std::move(*best);
  // Few ranks or one host: two hops, each sum encoded once.  Many: few hops.
  const bool near = terms.size <= 8 || terms.single_host;
  for (const std::string_view name : {"hierarchical", near ? "direct" : "recursive", "recursive", "direct", "tree", "ring"})
    for (const uint8_t index : open)
      if (algorithms()[index].name == name)
        return taken(index, near ? "few ranks: each sum is encoded once" : "many ranks: few encodings of each sum");
  return Status(Code::internal, "no algorithm for a codec");
}

// Where it serves at all no plan was ever measured to be faster, and a forecast of so little time is mostly of what
// it leaves out.
std::optional<Result<Route>> by_flat(const RouteTerms& terms, const CallKind& call) {
  if (!flat_serves(terms, call) || excluded(terms, call, "flat")) return {};
  return flat("one host, at most " + format_bytes(memory::flat_bytes(static_cast<uint32_t>(terms.size))));
}

Status none_left(const CallKind& call) {
  return Status(Code::unsupported, "TUTTI_ALGORITHM excludes every algorithm for " + std::string(name(call.collective)) + " of " +
                                       format_bytes(call.bytes));
}

// The first line, and what comes next.
Result<Route> predicted(const RouteTerms& terms, const CallKind& call) {
  std::vector<const TuningRule*> lines = lines_for(terms, call);
  std::erase_if(lines, [&](const TuningRule* line) { return line->algorithm == "flat"; });  // has a rung of its own
  if (lines.empty()) return none_left(call);
  const TuningRule& best = *lines[0];
  std::string reason = "predicted " + in_words(best, call) + ", mostly " + best.bound;
  if (lines.size() > 1) {
    const TuningRule& next = *lines[1];
    const bool is_tie = next.predicted_ns(call.bytes) < best.predicted_ns(call.bytes);
    reason += (is_tie ? "; tied with " : "; next ") + next.algorithm + " " + in_words(next, call);
  }
  return named(terms, call, best.algorithm, std::move(reason));
}

// Where TUTTI_ALGORITHM excludes it, the first plan that is left; on devices direct before others.
Result<Route> usual_or_another(const RouteTerms& terms, const CallKind& call, const Usual& usual, std::string_view then = {}) {
  if (!excluded(terms, call, usual.name)) return named(terms, call, usual.name, std::string(usual.reason));
  const std::string reason = "TUTTI_ALGORITHM excludes " + std::string(usual.name);
  if (find_algorithm(call.collective, then) && !excluded(terms, call, then)) return named(terms, call, then, reason);
  for (const Algorithm& row : algorithms())
    if (row.collective == call.collective && !excluded(terms, call, row.name)) return named(terms, call, row.name, reason);
  return none_left(call);
}

Result<Route> by_fixed_sizes(const RouteTerms& terms, const CallKind& call) {
  return usual_or_another(terms, call, usual_algorithm(terms, call.collective, call.bytes));
}

Result<Route> by_table(const RouteTerms& terms, const CallKind& call) {
  // Between ranks that share memory, plans with partial sums lose more by their longer messages than they win.
  if (call.rounds_once && terms.single_host && terms.size > 2 && find_algorithm(call.collective, "direct") &&
      !excluded(terms, call, "direct"))
    return named(terms, call, "direct", "16-bit average, one host: each element is reduced in one go");
  const bool priced = !terms.table.empty() && is_priced(call.collective);
  return priced ? predicted(terms, call) : by_fixed_sizes(terms, call);
}

// The rungs on which somebody has said what to take.
std::optional<Result<Route>> told(const RouteTerms& terms, const CallKind& call) {
  if (auto route = by_deterministic(terms, call)) return route;
  if (auto route = by_option(terms, call)) return route;
  if (auto route = by_setting(terms, call)) return route;
  return by_file(terms, call);
}

Result<Route> climb(const RouteTerms& terms, const CallKind& call) {
  if (auto route = told(terms, call)) return std::move(*route);
  if (auto route = by_lent_memory(terms, call)) return std::move(*route);
  if (auto route = by_codec(terms, call)) return std::move(*route);
  if (auto route = by_flat(terms, call)) return std::move(*route);
  return by_table(terms, call);
}

}  // namespace

Result<Route> route(const RouteTerms& terms, const CallKind& call) {
  auto route = climb(terms, call);
  if (!route.ok() || call.packed || call.all_lent) return route;  // predictions are of plain calls
  const auto line = std::ranges::find_if(terms.table, [&](const TuningRule& rule) {
    return rule.algorithm == route->name && rule.matches(call.collective, call.bytes);
  });
  if (line != terms.table.end()) route->seconds = seconds_of(*line, call);
  return route;
}

Result<Route> route_on_device(const RouteTerms& terms, const CallKind& call) {
  const Usual usual = usual_on_device(call.collective, call.bytes, terms.size);
  const bool keeps_order = find_algorithm(call.collective, "direct").has_value();  // which is usual then, or exchange
  if (terms.deterministic && keeps_order) return named(terms, call, usual.name, "TUTTI_DETERMINISTIC: rank order");
  if (auto route = by_option(terms, call)) return std::move(*route);
  if (auto route = by_setting(terms, call)) return std::move(*route);
  if (auto route = by_file(terms, call, true)) return std::move(*route);
  return usual_or_another(terms, call, usual, "direct");
}

bool asks_whether_lent(const RouteTerms& terms, const CallKind& call) { return may_be_lent(terms, call) && !told(terms, call); }

bool flat_serves(const RouteTerms& terms, Collective collective, uint64_t bytes) {
  return terms.single_host && bytes <= memory::flat_bytes(static_cast<uint32_t>(terms.size)) && bytes > 0 &&
         (collective == Collective::all_reduce || collective == Collective::barrier);
}

std::string in_words(double seconds) {
  char text[32];
  const double us = seconds * 1e6;
  if (us < 1000)
    std::snprintf(text, sizeof text, us < 10 ? "%.2f µs" : "%.0f µs", us);
  else
    std::snprintf(text, sizeof text, "%.1f ms", us / 1e3);
  return text;
}

}  // namespace tutti
