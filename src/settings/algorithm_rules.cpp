#include "algorithm_rules.h"

#include <algorithm>
#include <array>
#include <iterator>

#include "byte_units.h"
#include "words.h"

namespace tutti {
namespace {

Status refused(std::string_view rule, const std::string& why) {
  return Status(Code::invalid_argument, "in rule " + in_quotes(rule) + ", " + why);
}

Result<Collective> read_collective(std::string_view rule, std::string_view word) {
  if (const auto collective = collective_named(word); collective && *collective != Collective::point_to_point) return *collective;
  std::array<std::string_view, kCollectives - 1> names;  // point_to_point, the last one, has no algorithms
  for (size_t i = 0; i < names.size(); ++i) names[i] = name(static_cast<Collective>(i));
  return refused(rule, in_quotes(word) + " is no collective" + suggestion(word, names));
}

// "64K-1M", "64K-", "0-64K"
Status read_range(std::string_view rule, std::string_view range, AlgorithmRule& result) {
  const size_t dash = range.find('-');
  if (dash == std::string_view::npos)
    return refused(rule, "the range " + in_quotes(range) + " has no \"-\"; expected from-to or from-");
  const auto from = parse_bytes(range.substr(0, dash));
  if (!from.ok()) return refused(rule, from.status().message());
  result.from = *from;
  const std::string_view end = trim(range.substr(dash + 1));
  if (end.empty()) return {};
  const auto to = parse_bytes(end);
  if (!to.ok()) return refused(rule, to.status().message());
  if (*to <= *from) return refused(rule, "the range " + in_quotes(range) + " is empty; it holds sizes from ≤ bytes < to");
  result.to = *to;
  return {};
}

Result<AlgorithmRule> read_rule(std::string_view rule) {
  AlgorithmRule result;
  std::string_view rest = trim(rule);
  if (const size_t at = rest.find('@'); at != std::string_view::npos) {
    if (Status status = read_range(rule, trim(rest.substr(at + 1)), result); !status.ok()) return status;
    rest = trim(rest.substr(0, at));
  }
  if (const size_t colon = rest.find(':'); colon != std::string_view::npos) {
    const auto collective = read_collective(rule, trim(rest.substr(0, colon)));
    if (!collective.ok()) return collective.status();
    result.collective = *collective;
    rest = trim(rest.substr(colon + 1));
  }
  if (rest.starts_with('^')) {
    result.exclude = true;
    rest = trim(rest.substr(1));
  }
  if (rest.empty()) return refused(rule, "the algorithm is missing");
  if (std::find(std::begin(kAlgorithmNames), std::end(kAlgorithmNames), rest) == std::end(kAlgorithmNames))
    return refused(rule, in_quotes(rest) + " is no algorithm" + suggestion(rest, kAlgorithmNames));
  result.name = rest;
  const bool has_flat = result.collective == Collective::all_reduce || result.collective == Collective::barrier;
  if (result.name == "flat" && !result.exclude && !has_flat)
    return refused(rule, "flat serves all_reduce and barrier only; write all_reduce:flat, barrier:flat or ^flat");
  return result;
}

}  // namespace

Result<std::vector<AlgorithmRule>> parse_algorithm_rules(std::string_view text) {
  std::vector<AlgorithmRule> rules;
  if (trim(text).empty()) return rules;
  for (const std::string_view part : split(text, ',')) {
    auto rule = read_rule(part);
    if (!rule.ok()) return rule.status();
    rules.push_back(std::move(*rule));
  }
  return rules;
}

std::string format_algorithm_rules(const std::vector<AlgorithmRule>& rules) {
  std::string text;
  for (const AlgorithmRule& rule : rules) {
    if (!text.empty()) text += ',';
    if (rule.collective) text.append(name(*rule.collective)).append(":");
    if (rule.exclude) text += '^';
    text += rule.name;
    if (rule.from == 0 && rule.to == UINT64_MAX) continue;
    text += "@" + format_bytes(rule.from) + "-";
    if (rule.to != UINT64_MAX) text += format_bytes(rule.to);
  }
  return text;
}

}  // namespace tutti
