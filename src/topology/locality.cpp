#include "locality.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <optional>
#include <tuple>
#include <vector>

#include "bytes.h"
#include "words.h"

namespace tutti {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMostNumber = 1 << 20;  // of a hardware thread, a cache …

// Of a set as allowed_cores() gives it.
std::vector<int> members(std::string_view cores) {
  std::vector<int> threads;
  for (size_t i = 0; i < cores.size(); ++i) {
    const int digit = hex_value(cores[i]);
    for (size_t bit = 0; bit < 4 && digit >= 0; ++bit)
      if (digit >> bit & 1) threads.push_back(static_cast<int>(4 * i + bit));
  }
  return threads;
}

// The least number in a file that lists hardware threads, "0-3,8", if they include all of `threads`; else -1.
int first_in(const fs::path& file, const std::vector<int>& threads) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const std::string_view part : split(trim(line), ',')) {
    const auto ends = split(part, '-');
    const auto low = parse_number(ends.front()), high = parse_number(ends.back());
    if (ends.size() > 2 || !low || !high || *low > *high || *high > kMostNumber) return -1;
    ranges.emplace_back(*low, *high);
  }
  const auto listed = [&](int thread) {
    const auto t = static_cast<uint64_t>(thread);
    return std::ranges::any_of(ranges, [t](const auto& range) { return range.first <= t && t <= range.second; });
  };
  if (ranges.empty() || !std::ranges::all_of(threads, listed)) return -1;
  return static_cast<int>(std::ranges::min_element(ranges)->first);
}

// The number of the NUMA node that a hardware thread belongs to, as the name of a link in its folder says.
std::optional<uint64_t> node_of(const fs::path& processor) {
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(processor, none)) {
    const std::string name = entry.path().filename();
    if (const auto number = parse_number(std::string_view(name).substr(std::min<size_t>(name.size(), 4)));
        name.starts_with("node") && number && *number <= kMostNumber)
      return number;
  }
  return std::nullopt;
}

// "0-3, 8"
std::string listed(const std::vector<int>& ranks) {
  std::string text;
  for (size_t i = 0; i < ranks.size();) {
    size_t end = i + 1;
    while (end < ranks.size() && ranks[end] == ranks[end - 1] + 1) ++end;
    text += (text.empty() ? "" : ", ") + std::to_string(ranks[i]);
    if (end - i > 1) text += (end - i > 2 ? "-" : ", ") + std::to_string(ranks[end - 1]);
    i = end;
  }
  return text;
}

// "; ranks 0, 2 share an L3 cache", for each that several ranks share.
std::string shared(const Team& team, std::span<const RankPlace> ranks, int Locality::*part, const std::string& what) {
  std::map<std::pair<int, int>, std::vector<int>> groups;  // by host and number
  for (int rank = 0; rank < team.size; ++rank)
    if (const int number = ranks[static_cast<size_t>(rank)].locality.*part; number >= 0)
      groups[{team.host_of(rank), number}].push_back(rank);
  std::string text;
  for (const auto& [where, group] : groups)
    if (group.size() > 1) text += "; ranks " + listed(group) + " share " + what;
  return text;
}

}  // namespace

Locality locality_of(std::string_view cores, const std::string& root) {
  const std::vector<int> threads = members(cores);
  Locality locality;
  if (threads.empty()) return locality;
  const fs::path system(root + "/sys/devices/system"), processor = system / "cpu" / ("cpu" + std::to_string(threads[0]));
  if (const auto node = node_of(processor);
      node && first_in(system / "node" / ("node" + std::to_string(*node)) / "cpulist", threads) >= 0)
    locality.numa = static_cast<int>(*node);
  locality.l3 = first_in(processor / "cache/index3/shared_cpu_list", threads);
  locality.core = first_in(processor / "topology/thread_siblings_list", threads);
  if (threads.size() == 1) locality.thread = threads[0];
  return locality;
}

std::string encode(const Locality& locality) {
  std::string text;
  for (const int number : {locality.numa, locality.l3, locality.core, locality.thread})
    text += (text.empty() ? "" : " ") + (number < 0 ? "-" : std::to_string(number));
  return text;
}

Locality decode_locality(std::string_view text) {
  const auto words = split(text, ' ');
  std::array<int, 4> numbers{-1, -1, -1, -1};
  if (words.size() != numbers.size()) return {};
  for (size_t i = 0; i < numbers.size(); ++i) {
    if (words[i] == "-") continue;
    const auto number = parse_number(words[i]);
    if (!number || *number > kMostNumber) return {};
    numbers[i] = static_cast<int>(*number);
  }
  return {numbers[0], numbers[1], numbers[2], numbers[3]};
}

Team team_of(std::span<const RankPlace> ranks) {
  Team team(static_cast<int>(ranks.size()));
  std::map<std::string_view, int> number;
  for (const RankPlace& rank : ranks)
    team.host.push_back(number.try_emplace(rank.host_id, static_cast<int>(number.size())).first->second);
  team.order.resize(ranks.size());
  std::iota(team.order.begin(), team.order.end(), 0);
  std::ranges::sort(team.order, {}, [&](int rank) {
    const Locality& l = ranks[static_cast<size_t>(rank)].locality;
    return std::tuple(team.host_of(rank), l.numa, l.l3, l.core, l.thread, rank);
  });
  return team;
}

std::string describe(const Team& team, std::span<const std::string_view> hosts, std::span<const RankPlace> ranks) {
  const auto members = team.ranks_by_host();
  std::string text = members.size() == 1 ? "1 host: " : std::to_string(members.size()) + " hosts: ";
  for (size_t host = 0; host < members.size(); ++host)
    text += (host > 0 ? ", " : "") + std::string(hosts[static_cast<size_t>(members[host][0])]) +
            (members[host].size() == 1 ? " (rank " : " (ranks ") + listed(members[host]) + ")";
  if (!std::ranges::is_sorted(team.order)) text += "; order " + listed(team.order);
  return text + shared(team, ranks, &Locality::l3, "an L3 cache") + shared(team, ranks, &Locality::numa, "a NUMA node");
}

std::string describe(const Locality& locality) {
  std::string text;
  const auto add = [&](const char* what, int number) {
    if (number >= 0) text += (text.empty() ? "" : ", ") + std::string(what) + " " + std::to_string(number);
  };
  add("NUMA node", locality.numa);
  add("L3 cache", locality.l3);
  add("core", locality.core);
  add("hardware thread", locality.thread);
  return text;
}

}  // namespace tutti
