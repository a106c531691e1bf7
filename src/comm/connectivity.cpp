#include "connectivity.h"

#include <algorithm>
#include <map>

#include "words.h"

namespace tutti {

Connectivity::Connectivity(std::span<const TransportKind> kinds, std::span<const Introduction> ranks,
                           std::span<const std::string> names)
    : kinds_(kinds),
      ranks_(ranks),
      names_(names),
      groups_(kinds.size(), std::vector<int>(ranks.size(), -1)),
      sharing_(ranks.size(), -1) {
  for (size_t kind = 0; kind < kinds_.size(); ++kind)
    if (kinds_[kind].built()) make_groups(kind);
  settle_sharing();
}

std::optional<RankCard> Connectivity::card(size_t kind, int rank) const {
  const Introduction& i = ranks_[static_cast<size_t>(rank)];
  const auto found = i.cards.find(kinds_[kind].name);
  if (found == i.cards.end()) return std::nullopt;
  const std::string& name = names_[static_cast<size_t>(rank)];
  return RankCard{found->second, name, i.host_id, i.pid, i.user, i.pid_namespace, i.user_namespace};
}

// A rank joins the first group whose first rank it reaches.  Memory is shared within hosts, so for that only groups
// of the same host are asked.
void Connectivity::make_groups(size_t kind) {
  std::map<std::string_view, std::vector<int>> groups;  // their first ranks, by host or all together
  for (int rank = 0; rank < size(); ++rank) {
    const auto mine = card(kind, rank);
    if (!mine || !kinds_[kind].reach(*mine, *mine)) continue;
    std::vector<int>& candidates = groups[kinds_[kind].shares_memory ? mine->host_id : ""];
    const auto reached = std::find_if(candidates.begin(), candidates.end(),
                                      [&](int first) { return kinds_[kind].reach(*card(kind, first), *mine); });
    groups_[kind][static_cast<size_t>(rank)] = reached != candidates.end() ? *reached : rank;
    if (reached == candidates.end()) candidates.push_back(rank);
  }
}

// A rank has one arena: that of its largest group.  It shares it with those ranks of the group that have no larger one.
void Connectivity::settle_sharing() {
  std::vector<int> largest(ranks_.size(), 1);
  for (size_t kind = 0; kind < kinds_.size(); ++kind) {
    if (!kinds_[kind].shares_memory) continue;
    std::map<int, int> sizes;
    for (const int first : groups_[kind]) ++sizes[first];
    for (size_t rank = 0; rank < ranks_.size(); ++rank) {
      const int first = groups_[kind][rank];
      if (first < 0 || sizes[first] <= largest[rank]) continue;
      largest[rank] = sizes[first];
      sharing_[rank] = static_cast<int>(kind);
    }
  }
}

bool Connectivity::share_memory(int a, int b) const {
  const int kind = sharing(a);
  return kind >= 0 && kind == sharing(b) && group(static_cast<size_t>(kind), a) == group(static_cast<size_t>(kind), b);
}

int Connectivity::between(int a, int b) const {
  if (share_memory(a, b)) return sharing(a);
  for (size_t kind = 0; kind < kinds_.size(); ++kind)
    if (!kinds_[kind].shares_memory && group(kind, a) >= 0 && group(kind, a) == group(kind, b)) return static_cast<int>(kind);
  return -1;
}

bool Connectivity::joins_all(size_t kind) const {
  for (int rank = 0; rank < size(); ++rank) {
    if (group(kind, rank) != 0) return false;
    if (kinds_[kind].shares_memory && sharing(rank) != static_cast<int>(kind)) return false;
  }
  return true;
}

uint32_t Connectivity::most_sharing() const {
  std::map<std::pair<int, int>, uint32_t> sizes;  // by kind and group
  uint32_t most = 1;
  for (int rank = 0; rank < size(); ++rank)
    if (const int kind = sharing(rank); kind >= 0) most = std::max(most, ++sizes[{kind, group(static_cast<size_t>(kind), rank)}]);
  return most;
}

// Looking at each pair would take long.  No pair needs a kind if an earlier one joins all ranks.
bool Connectivity::needed(int kind) const {
  if (size() == 1) return false;
  for (size_t earlier = 0; earlier < static_cast<size_t>(kind); ++earlier)
    if (joins_all(earlier)) return false;
  const std::vector<int>& groups = groups_[static_cast<size_t>(kind)];
  return std::any_of(groups.begin(), groups.end(), [](int first) { return first >= 0; });
}

// Ranks of the same groups reach the same others, so one of them is enough.
bool Connectivity::all_connected() const {
  if (size() == 1) return true;
  std::map<std::vector<int>, int> first;
  for (int rank = 0; rank < size(); ++rank) {
    std::vector<int> groups{sharing(rank)};
    for (size_t kind = 0; kind < kinds_.size(); ++kind) groups.push_back(group(kind, rank));
    first.try_emplace(std::move(groups), rank);
  }
  for (const auto& [groups, a] : first)
    for (const auto& [others, b] : first)
      if (between(a, b) < 0) return false;  // even a rank and itself, if the rank is in no group
  return true;
}

Connectivity::Objection Connectivity::objection() const {
  for (size_t kind = 0; kind < kinds_.size(); ++kind) {
    std::map<std::string_view, int> first;  // of each host
    for (int rank = 0; rank < size() && kinds_[kind].objection; ++rank) {
      const auto mine = card(kind, rank);
      if (!mine) continue;
      const int other = first.try_emplace(mine->host_id, rank).first->second;
      if (std::string why = kinds_[kind].objection(*card(kind, other), *mine); !why.empty()) return {other, rank, std::move(why)};
    }
  }
  return {};
}

std::string Connectivity::warning() const {
  const Objection found = objection();
  const int kind = found.why.empty() ? -1 : between(found.a, found.b);
  if (kind < 0) return "";
  return found.why + ": they share no memory and use " + std::string(kinds_[static_cast<size_t>(kind)].name) + " instead";
}

std::string Connectivity::why_memory_is_not_shared() const {
  if (const std::string why = objection().why; !why.empty()) return why + ", so they share no memory";
  for (const Introduction& i : ranks_)
    if (i.host_id != ranks_[0].host_id) return "the ranks are not all on one host";
  return "the ranks may not all share memory, though on one host";
}

Status Connectivity::check() const {
  if (all_connected()) return {};
  const std::string cause = why_memory_is_not_shared();
  std::vector<std::string_view> universal;
  for (const TransportKind& kind : kinds_)
    if (kind.everywhere) universal.push_back(kind.name);
  for (size_t rank = 0; rank < ranks_.size(); ++rank)
    if (std::none_of(universal.begin(), universal.end(), [&](std::string_view name) { return ranks_[rank].cards.contains(name); }))
      return Status(Code::unreachable, cause + ", and " + names_[rank] + " may not use " + listed(universal) +
                                           " (TUTTI_TRANSPORT, or built without it)");
  return Status(Code::unreachable, cause + ", and they may use no transport in common (TUTTI_TRANSPORT)");
}

}  // namespace tutti
