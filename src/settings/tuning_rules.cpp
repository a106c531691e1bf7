#include "tuning_rules.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <limits>

#include "algorithm_rules.h"
#include "byte_units.h"
#include "words.h"

namespace tutti {
namespace {

constexpr std::string_view kFormat = "tutti-tuning 1";
constexpr std::string_view kKeys[] = {"ranks", "hosts", "bytes", "use", "lanes", "stripe", "ns", "bound", "device"};
constexpr uint64_t kAnyRanks = std::numeric_limits<int>::max();
constexpr uint64_t kMostLanes = 64;
constexpr uint64_t kSmallestStripe = 64, kLargestStripe = 1 << 20;
constexpr uint64_t kLongestNs = 1'000'000'000'000'000;  // eleven days
constexpr std::string_view kMachine = "machine ";

Status refused(const std::string& why) { return Status(Code::invalid_argument, why); }

// "4", "2-8", "2-"
Status read_interval(std::string_view key, std::string_view text, int& least, int& most) {
  const size_t dash = text.find('-');
  const auto from = parse_number(text.substr(0, dash));
  const bool open = dash != std::string_view::npos && dash + 1 == text.size();
  const auto to = dash == std::string_view::npos ? from : open ? std::optional(kAnyRanks) : parse_number(text.substr(dash + 1));
  if (!from || !to || *from < 1 || *from > *to || *to > kAnyRanks)
    return refused(std::string(key) + "=" + in_quotes(text) + " is neither a number from 1 up, nor from-to, nor from-");
  least = static_cast<int>(*from);
  most = static_cast<int>(*to);
  return {};
}

Status read_bytes(std::string_view text, TuningRule& rule) {
  const size_t dash = text.find('-');
  if (dash == std::string_view::npos) return refused("the range " + in_quotes(text) + " has no \"-\"; expected from-to or from-");
  const auto from = parse_bytes(text.substr(0, dash));
  if (!from.ok()) return from.status();
  rule.from = *from;
  if (dash + 1 == text.size()) return {};
  const auto to = parse_bytes(text.substr(dash + 1));
  if (!to.ok()) return to.status();
  rule.to = *to;
  if (rule.to <= rule.from) return refused("the range " + in_quotes(text) + " is empty; it holds sizes from ≤ bytes < to");
  return {};
}

Status read_use(std::string_view text, TuningRule& rule) {
  if (std::find(std::begin(kAlgorithmNames), std::end(kAlgorithmNames), text) == std::end(kAlgorithmNames))
    return refused(in_quotes(text) + " is no algorithm; there are " + listed(kAlgorithmNames) + suggestion(text, kAlgorithmNames));
  rule.algorithm = text;
  return {};
}

Status read_lanes(std::string_view text, TuningRule& rule) {
  const auto lanes = parse_number(text);
  if (!lanes || *lanes < 1 || *lanes > kMostLanes) return refused("lanes=" + in_quotes(text) + " is no number from 1 to 64");
  rule.lanes = static_cast<uint32_t>(*lanes);
  return {};
}

Status read_stripe(std::string_view text, TuningRule& rule) {
  const auto bytes = parse_bytes(text);
  if (!bytes.ok()) return bytes.status();
  if (*bytes < kSmallestStripe || *bytes > kLargestStripe || *bytes % kSmallestStripe != 0)
    return refused("stripe=" + in_quotes(text) + " is no multiple of 64 from 64 to 1M");
  rule.stripe_bytes = *bytes;
  return {};
}

Status read_ns(std::string_view text, TuningRule& rule) {
  const size_t dash = text.find('-');
  const auto from = parse_number(text.substr(0, dash));
  const auto to = dash == std::string_view::npos ? from : parse_number(text.substr(dash + 1));
  if (!from || !to || std::min(*from, *to) < 1 || std::max(*from, *to) > kLongestNs)
    return refused("ns=" + in_quotes(text) + " is neither nanoseconds nor from-to");
  rule.from_ns = *from;
  rule.to_ns = *to;
  return {};
}

Status read_bound(std::string_view text, TuningRule& rule) {
  if (std::ranges::find(kBounds, text) == std::end(kBounds))
    return refused("bound=" + in_quotes(text) + " is none of " + listed(kBounds) + suggestion(text, kBounds));
  rule.bound = text;
  return {};
}

Status read_device(std::string_view text, TuningRule& rule) {
  const auto found = std::ranges::find(kDeviceProtocols, text);
  if (found == std::end(kDeviceProtocols))
    return refused("device=" + in_quotes(text) + " is none of " + listed(kDeviceProtocols) + suggestion(text, kDeviceProtocols));
  rule.device = static_cast<DeviceProtocol>(found - std::begin(kDeviceProtocols));
  return {};
}

Status read_pair(std::string_view key, std::string_view value, TuningRule& rule) {
  if (key == "ranks") return read_interval(key, value, rule.least_ranks, rule.most_ranks);
  if (key == "hosts") return read_interval(key, value, rule.least_hosts, rule.most_hosts);
  if (key == "bytes") return read_bytes(value, rule);
  if (key == "use") return read_use(value, rule);
  if (key == "lanes") return read_lanes(value, rule);
  if (key == "stripe") return read_stripe(value, rule);
  if (key == "ns") return read_ns(value, rule);
  if (key == "bound") return read_bound(value, rule);
  if (key == "device") return read_device(value, rule);
  return refused(in_quotes(key) + " is unknown; there are " + listed(kKeys) + suggestion(key, kKeys));
}

Status read_collective(std::string_view word, TuningRule& rule) {
  const auto collective = collective_named(word);
  if (collective && *collective != Collective::point_to_point) {
    rule.collective = *collective;
    return {};
  }
  std::array<std::string_view, kCollectives - 1> names;  // point_to_point, the last one, has no algorithms
  for (size_t i = 0; i < names.size(); ++i) names[i] = name(static_cast<Collective>(i));
  return refused(in_quotes(word) + " is no collective" + suggestion(word, names));
}

Status read_line(std::string_view line, TuningRule& rule) {
  std::vector<std::string_view> seen;
  bool first = true;
  for (const std::string_view word : split(line, ' ')) {
    if (word.empty()) continue;
    if (first) {
      if (Status status = read_collective(word, rule); !status.ok()) return status;
      first = false;
      continue;
    }
    const size_t equals = word.find('=');
    if (equals == std::string_view::npos) return refused("expected key=value, not " + in_quotes(word));
    const std::string_view key = word.substr(0, equals);
    if (std::find(seen.begin(), seen.end(), key) != seen.end()) return refused(in_quotes(key) + " stands there twice");
    seen.push_back(key);
    if (Status status = read_pair(key, word.substr(equals + 1), rule); !status.ok()) return status;
  }
  if (rule.algorithm.empty()) return refused("use=algorithm is missing");
  if (rule.algorithm == "flat" && rule.collective != Collective::all_reduce && rule.collective != Collective::barrier)
    return refused("flat serves all_reduce and barrier only");
  if (rule.algorithm == "flat" && rule.device) return refused("flat is the host's; kernels of a device run plans");
  if (rule.to == UINT64_MAX && rule.from_ns != rule.to_ns) return refused("ns=from-to needs bytes=from-to");
  return {};
}

void append_interval(std::string& text, std::string_view key, int least, int most) {
  if (least == 1 && most == INT32_MAX) return;
  text.append(" ").append(key).append("=").append(std::to_string(least));
  if (most == INT32_MAX)
    text.append("-");
  else if (most != least)
    text.append("-").append(std::to_string(most));
}

}  // namespace

uint64_t TuningRule::predicted_ns(uint64_t bytes) const {
  using Wide = unsigned __int128;
  const bool is_open = to == UINT64_MAX;
  if (bytes <= from || (is_open && from == 0)) return from_ns;
  const Wide beyond = std::min(bytes, to) - from, rise = is_open ? from_ns : std::max(to_ns, from_ns) - std::min(to_ns, from_ns);
  const Wide change = rise * beyond / (is_open ? from : to - from);
  if (to_ns < from_ns) return from_ns - static_cast<uint64_t>(change);
  return from_ns + static_cast<uint64_t>(std::min<Wide>(change, INT64_MAX));
}

Result<TuningFile> parse_tuning_file(std::string_view content, const std::string& path) {
  const auto at = [&](uint32_t line, const std::string& why) {
    return Status(Code::invalid_argument, path + ":" + std::to_string(line) + ": " + why);
  };
  if (content.size() > kLongestTuningFile)
    return refused(path + " is larger than " + describe_bytes(kLongestTuningFile) + ", the most that ranks share at bootstrap");
  TuningFile file;
  bool named = false;
  uint32_t number = 0;
  for (std::string_view line : split(content, '\n')) {
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    line = trim(line);
    if (line.empty() || line.front() == '#') continue;
    if (!named) {
      if (line != kFormat)
        return at(number, "a tuning file begins with the line " + in_quotes(kFormat) + ", not " + in_quotes(line));
      named = true;
      continue;
    }
    if (line.starts_with(kMachine)) {
      file.machine.emplace_back(line.substr(kMachine.size()));
      continue;
    }
    TuningRule rule;
    rule.line = number;
    if (const Status status = read_line(line, rule); !status.ok()) return at(number, status.message());
    file.rules.push_back(std::move(rule));
  }
  if (!named) return at(number, "the file is empty; a tuning file begins with the line " + in_quotes(kFormat));
  return file;
}

std::string format_tuning_file(const TuningFile& file) {
  std::string text(kFormat);
  text += '\n';
  for (const std::string& line : file.machine) text.append(kMachine).append(line) += '\n';
  for (const TuningRule& rule : file.rules) {
    text += name(rule.collective);
    append_interval(text, "ranks", rule.least_ranks, rule.most_ranks);
    append_interval(text, "hosts", rule.least_hosts, rule.most_hosts);
    if (rule.from != 0 || rule.to != UINT64_MAX)
      text += " bytes=" + format_bytes(rule.from) + "-" + (rule.to == UINT64_MAX ? "" : format_bytes(rule.to));
    text += " use=" + rule.algorithm;
    if (rule.lanes > 0) text += " lanes=" + std::to_string(rule.lanes);
    if (rule.stripe_bytes > 0) text += " stripe=" + format_bytes(rule.stripe_bytes);
    if (rule.from_ns > 0) text += " ns=" + std::to_string(rule.from_ns);
    if (rule.to_ns != rule.from_ns) text += "-" + std::to_string(rule.to_ns);
    if (!rule.bound.empty()) text += " bound=" + rule.bound;
    if (rule.device) text.append(" device=").append(kDeviceProtocols[static_cast<size_t>(*rule.device)]);
    text += '\n';
  }
  return text;
}

}  // namespace tutti
