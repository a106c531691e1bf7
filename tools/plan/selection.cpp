#include "selection.h"

#include <algorithm>

#include "algorithms.h"
#include "words.h"

namespace tutti {
namespace {

constexpr int kMostPlanRanks = 4096;

std::vector<std::string_view> distinct(std::vector<std::string_view> names) {
  std::vector<std::string_view> found;
  for (const std::string_view name : names) {
    if (std::ranges::find(found, name) == found.end()) found.push_back(name);
  }
  return found;
}

Status unknown(const std::string& absent, std::string_view text, const std::vector<std::string_view>& names) {
  std::string meant = suggestion(text, names);
  if (meant.empty()) meant = "; there " + std::string(names.size() == 1 ? "is " : "are ") + listed(names);
  return Status(Code::invalid_argument, absent + " " + in_quotes(text) + meant);
}

}  // namespace

Result<std::vector<Algorithm>> select_algorithms(std::string_view collective, std::string_view algorithm) {
  std::vector<std::string_view> collectives, names;
  std::vector<Algorithm> rows;
  for (const Algorithm& row : algorithms()) {
    collectives.push_back(name(row.collective));
    if (!collective.empty() && name(row.collective) != collective) continue;
    names.push_back(row.name);
    if (algorithm.empty() || row.name == algorithm) rows.push_back(row);
  }
  if (names.empty()) return unknown("there is no collective", collective, distinct(collectives));
  if (rows.empty()) {
    return unknown((collective.empty() ? "there is" : std::string(collective) + " has") + " no algorithm", algorithm,
                   distinct(names));
  }
  return rows;
}

Result<RankRange> parse_ranks(std::string_view text) {
  const std::vector<std::string_view> ends = split(text, '-');
  const auto first = parse_number(ends.front()), last = parse_number(ends.back());
  if (ends.size() > 2 || !first || !last || *first < 1 || *first > *last || *last > kMostPlanRanks) {
    return Status(Code::invalid_argument, "--ranks takes a number or a range such as 1-130, of at most " +
                                              std::to_string(kMostPlanRanks) + " ranks, not " + in_quotes(text));
  }
  return RankRange{static_cast<int>(*first), static_cast<int>(*last)};
}

Result<Team> parse_team(std::string_view ranks, std::string_view hosts) {
  const auto wanted = parse_ranks(ranks.empty() ? "4" : ranks);
  if (!wanted.ok()) return wanted.status();
  if (wanted->first != wanted->last) return Status(Code::invalid_argument, "this takes one number of ranks, not a range");
  if (hosts.empty()) return Team(wanted->first);
  Team team(0);
  for (const std::string_view part : split(hosts, ',')) {
    const auto count = parse_number(part);
    if (!count || *count < 1 || *count > kMostPlanRanks)
      return Status(Code::invalid_argument, "--hosts takes the ranks on each host, such as 3,1,2, not " + in_quotes(hosts));
    const int host = team.host.empty() ? 0 : team.host.back() + 1;
    team.host.insert(team.host.end(), *count, host);
    if (team.host.size() > kMostPlanRanks)
      return Status(Code::invalid_argument,
                    "--hosts " + std::string(hosts) + " are more than " + std::to_string(kMostPlanRanks) + " ranks");
  }
  team.size = static_cast<int>(team.host.size());
  if (!ranks.empty() && team.size != wanted->first)
    return Status(Code::invalid_argument, "--hosts " + std::string(hosts) + " are " + std::to_string(team.size) +
                                              " ranks, --ranks says " + std::to_string(wanted->first) + "; leave it out");
  return team;
}

std::vector<Plan> plans_of_all_ranks(const Algorithm& algorithm, const Team& team, int root) {
  std::vector<Plan> plans;
  for (int rank = 0; rank < team.size; ++rank) plans.push_back(algorithm.plan(rank, team, root));
  return plans;
}

}  // namespace tutti
