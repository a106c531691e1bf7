// hierarchical: within a host first, then between hosts, then within again, so that a host sends and receives the
// least it can and all of its ranks take part in that.
//
// Source: J. L. Träff, S. Hunold, "Decomposing MPI Collectives for Exploiting Multi-lane Communication", IEEE
// International Conference on Cluster Computing (2020), here for hosts of any numbers of ranks.  Within a host ranks
// do what `direct` does, between hosts what `recursive` (all_reduce), `direct` (reduce_scatter, all_gather) or `tree`
// (broadcast, reduce) does, each taken as it is with hosts for ranks.
//
// all_reduce cuts the data into as many slices as the largest host has ranks.  Every host deals them out to its
// ranks, in runs as equal as can be, so no rank is idle in any phase, and where hosts are equal each rank owns one.
// Each slice is all-reduced between its owners, one of each host, and for that consists of h blocks.  So a host of
// any number of ranks sends 2(h-1)/h·n bytes to others and receives as many, n being all the data.
#include <algorithm>
#include <vector>

#include "formulas.h"
#include "plans.h"

namespace tutti::hierarchical {
namespace {

// Where this rank stands among hosts and within its own.
struct Standing {
  Standing(int rank, const Team& team) : hosts(team.ranks_by_host()), host(team.host_of(rank)) {
    local = static_cast<int>(std::ranges::find(mates(), rank) - mates().begin());
  }

  int count() const { return static_cast<int>(hosts.size()); }
  const std::vector<int>& mates() const { return hosts[static_cast<size_t>(host)]; }  // the host's ranks, this one too
  int size() const { return static_cast<int>(mates().size()); }
  int mate(int i) const { return mates()[static_cast<size_t>(i)]; }

  // The rank of a host that stands for the i-th rank of another: its ranks in turn.
  size_t counterpart(int at_host, int of_host, size_t i) const {
    for (int before = 0; before < of_host; ++before) i += hosts[static_cast<size_t>(before)].size();
    return i % hosts[static_cast<size_t>(at_host)].size();
  }

  std::vector<std::vector<int>> hosts;
  int host, local;
};

std::vector<int> without(std::vector<int> ranks, int rank) {
  std::erase(ranks, rank);
  return ranks;
}

// ---- all_reduce ----

struct Slices : Standing {
  Slices(int me, const Team& team) : Standing(me, team), rank(me), parts(blocks(count())) {
    int least = team.size, from_others = 0;
    for (const auto& ranks : hosts) {
      least = std::min(least, static_cast<int>(ranks.size()));
      slices = std::max(slices, static_cast<int>(ranks.size()));
    }
    // Messages for each slice.
    for (int held = count(); held > 1; held = (held + 1) / 2) from_others += held > 3 ? 3 : 2;
    // A stripe has about two slots for each rank of the team (src/tuning/pool_shape.cpp).  Where hosts differ so much
    // that a rank of the smallest would take more messages, fewer slices are cut, and some ranks of larger hosts own
    // none.
    const auto taken = [&] { return (slices + least - 1) / least * (least + from_others) + slices; };
    while (slices > least && taken() > 2 * (team.size + 8)) --slices;
  }

  // Those of the i-th mate are first_slice(i) … first_slice(i + 1) - 1.
  int first_slice(int i) const { return i * slices / size(); }
  int owner(int at_host, int slice) const {
    const auto& ranks = hosts[static_cast<size_t>(at_host)];
    return ranks[static_cast<size_t>(((slice + 1) * static_cast<int>(ranks.size()) - 1) / slices)];
  }

  // Rounds: the first slices of all owners, then the second ones …
  int rounds() const { return (slices + size() - 1) / size(); }
  int slice(int i, int round) const {  // of the i-th mate; -1: it has no more
    const int slice = first_slice(i) + round;
    return slice < first_slice(i + 1) ? slice : -1;
  }
  uint32_t block(int slice) const { return blocks(slice) * parts; }

  int rank;
  int slices = 1;
  uint32_t parts;  // blocks of a slice
};

void reduce_scatter_within(Plan& plan, const Slices& s) {
  for (int round = 0; round < s.rounds() && s.size() > 1; ++round) {
    for (int d = 1; d < s.size(); ++d) {
      const int to = around(s.local + d, s.size()), slice = s.slice(to, round);
      if (slice >= 0) plan.send(s.mate(to), s.block(slice), s.parts);
    }
    if (const int own = s.slice(s.local, round); own >= 0)
      plan.fold(without(s.mates(), s.rank), s.block(own), s.parts, s.count() == 1);
  }
}

// A step of the hosts' plan for one slice.
void take_step(Plan& plan, const Slices& s, const Step& step, int slice) {
  const int peer = s.owner(static_cast<int>(step.peer), slice);
  const auto part = [&](uint32_t first, uint32_t count) {
    if (step.verb == Verb::send) plan.send(peer, s.block(slice) + first, count);
    if (step.verb == Verb::recv) plan.recv(peer, s.block(slice) + first, count);
    if (step.verb == Verb::recv_reduce) plan.recv_reduce(peer, s.block(slice) + first, count, step.completes);
  };
  // A run that passes the slice's end goes on at its beginning: only where that is the plan's, too, it is still one
  // run.
  const uint32_t before_end = s.slices == 1 ? step.count : std::min(step.count, s.parts - step.block);
  part(step.block, before_end);
  part(0, step.count - before_end);
}

// Each exchange of the hosts' plan is done for all own slices before the next one.  What goes to different peers is
// sent before anything is awaited, so that both directions of the network are busy.
void all_reduce_between(Plan& plan, const Slices& s) {
  const Plan hosts_plan = recursive::all_reduce.plan(s.host, s.count(), 0);
  const auto& steps = hosts_plan.steps();
  const int end = s.first_slice(s.local + 1);
  for (size_t i = 0; i < steps.size(); i += 2) {
    const auto to = [&](int slice) { return s.owner(static_cast<int>(steps[i].peer), slice); };
    for (int first = s.first_slice(s.local), last = first; first < end; first = last) {
      do take_step(plan, s, steps[i], last++);
      while (last < end && to(last) != to(last - 1));
      for (int slice = first; slice < last; ++slice) take_step(plan, s, steps[i + 1], slice);
    }
  }
}

void all_gather_within(Plan& plan, const Slices& s) {
  for (int round = 0; round < s.rounds(); ++round) {
    const int own = s.slice(s.local, round);
    for (int d = 1; d < s.size() && own >= 0; ++d) plan.send(s.mate(around(s.local + d, s.size())), s.block(own), s.parts);
    for (int d = 1; d < s.size(); ++d) {
      const int from = around(s.local - d, s.size()), slice = s.slice(from, round);
      if (slice >= 0) plan.recv(s.mate(from), s.block(slice), s.parts);
    }
  }
}

// ---- reduce_scatter and all_gather ----

// Blocks are ranks'.  At each host one rank, the owner's counterpart, deals with a block of another host's rank.
// These are the i-th mate's, host after host from the next one on.
std::vector<int> foreign_blocks(const Standing& s, int i) {
  std::vector<int> list;
  for (int d = 1; d < s.count(); ++d) {
    const int host = around(s.host + d, s.count());
    const auto& owners = s.hosts[static_cast<size_t>(host)];
    const size_t first = s.counterpart(s.host, host, 0), mates = s.mates().size();  // stands for owner 0
    for (size_t owner = (static_cast<size_t>(i) + mates - first) % mates; owner < owners.size(); owner += mates)
      list.push_back(owners[owner]);
  }
  return list;
}

struct Foreign {
  explicit Foreign(const Standing& s) {
    for (int i = 0; i < s.size(); ++i) {
      blocks.push_back(foreign_blocks(s, i));
      rounds = std::max(rounds, blocks.back().size());
    }
  }
  int block(int i, size_t round) const {  // of the i-th mate; -1: it has no more
    const auto& list = blocks[static_cast<size_t>(i)];
    return round < list.size() ? list[round] : -1;
  }
  std::vector<std::vector<int>> blocks;
  size_t rounds = 0;
};

// The rank that stands for this one at another host.
int counterpart(const Standing& s, int at_host) {
  return s.hosts[static_cast<size_t>(at_host)][s.counterpart(at_host, s.host, static_cast<size_t>(s.local))];
}

// ---- broadcast and reduce ----

// One rank of each host, the root for its own.
std::vector<int> leaders(const Standing& s, int root, const Team& team) {
  std::vector<int> list;
  for (const auto& ranks : s.hosts) list.push_back(ranks[0]);
  list[static_cast<size_t>(team.host_of(root))] = root;
  return list;
}

// The blocks of a plan over hosts in the order in which it is done with them.
std::vector<uint32_t> done_blocks(const Plan& hosts_plan) {
  std::vector<uint32_t> order;
  for (uint32_t block = 0; block < hosts_plan.blocks(); ++block) order.push_back(block);
  const auto last = [&](uint32_t block) {
    const auto& steps = hosts_plan.steps();
    return std::ranges::find(steps.rbegin(), steps.rend(), block, &Step::block).base() - steps.begin();
  };
  std::ranges::stable_sort(order, {}, last);
  return order;
}

Plan all_reduce_plan(int rank, const Team& team, int root) {
  const Slices slices(rank, team);
  // Slots are made for runs of half of the ranks' number of blocks, or of 64; so many hosts of so few ranks gain
  // little anyway.
  if (slices.parts > 64 && 2 * slices.parts > blocks(team.size)) return recursive::all_reduce.plan(rank, team, root);
  Plan plan(blocks(slices.slices) * slices.parts, slices.slices > 1 ? slices.parts : std::max(1u, slices.parts / 2));
  reduce_scatter_within(plan, slices);
  all_reduce_between(plan, slices);
  all_gather_within(plan, slices);
  return plan;
}

// The host's sum of each block goes to the block's owner, which folds those of all hosts.
Plan reduce_scatter_plan(int rank, const Team& team, int /*root*/) {
  Plan plan(blocks(team.size));
  const Standing s(rank, team);
  const Foreign foreign(s);
  const std::vector<int> others = without(s.mates(), rank);
  const auto sum_up = [&](auto block_of, bool completes) {
    for (int d = 1; d < s.size(); ++d) {
      const int to = around(s.local + d, s.size()), block = block_of(to);
      if (block >= 0) plan.send(s.mate(to), blocks(block));
    }
    if (const int own = block_of(s.local); own >= 0 && !others.empty()) plan.fold(others, blocks(own), 1, completes);
  };
  for (size_t round = 0; round < foreign.rounds; ++round) {
    sum_up([&](int i) { return foreign.block(i, round); }, false);
    if (const int block = foreign.block(s.local, round); block >= 0) plan.send(block, blocks(block));
  }
  sum_up([&](int i) { return s.mate(i); }, s.count() == 1);
  std::vector<int> counterparts;
  for (int host = 0; host < s.count(); ++host)
    if (host != s.host) counterparts.push_back(counterpart(s, host));
  std::ranges::sort(counterparts);
  if (!counterparts.empty()) plan.fold(counterparts, blocks(rank));
  return plan;
}

// Each block goes to every host once, and there to every rank.
Plan all_gather_plan(int rank, const Team& team, int /*root*/) {
  Plan plan(blocks(team.size));
  const Standing s(rank, team);
  const Foreign foreign(s);
  const auto to_mates = [&](int block) {
    for (int d = 1; d < s.size(); ++d) plan.send(s.mate(around(s.local + d, s.size())), blocks(block));
  };
  for (int d = 1; d < s.count(); ++d) plan.send(counterpart(s, around(s.host + d, s.count())), blocks(rank));
  to_mates(rank);
  for (int d = 1; d < s.size(); ++d) {
    const int mate = s.mate(around(s.local - d, s.size()));
    plan.recv(mate, blocks(mate));
  }
  for (size_t round = 0; round < foreign.rounds; ++round) {
    if (const int own = foreign.block(s.local, round); own >= 0) {
      plan.recv(own, blocks(own));
      to_mates(own);
    }
    for (int d = 1; d < s.size(); ++d) {
      const int from = around(s.local - d, s.size()), block = foreign.block(from, round);
      if (block >= 0) plan.recv(s.mate(from), blocks(block));
    }
  }
  return plan;
}

// Down the hosts' two trees, and from each host's leader to all of its ranks at once.
Plan broadcast_plan(int rank, const Team& team, int root) {
  const Standing s(rank, team);
  const std::vector<int> leader = leaders(s, root, team);
  const Plan hosts_plan = tree::broadcast.plan(s.host, s.count(), team.host_of(root));
  Plan plan(hosts_plan.blocks());
  const int above = leader[static_cast<size_t>(s.host)];
  const auto& steps = hosts_plan.steps();
  for (const uint32_t block : done_blocks(hosts_plan)) {
    if (rank != above) {
      plan.recv(above, block);
      continue;
    }
    for (const Step& step : steps) {
      if (step.block != block) continue;
      if (step.verb == Verb::recv) plan.recv(leader[step.peer], block);
      if (step.verb == Verb::send) plan.send(leader[step.peer], block);
    }
    for (int d = 1; d < s.size(); ++d) plan.send(s.mate(around(s.local + d, s.size())), block);
  }
  return plan;
}

// The broadcast backwards.
Plan reduce_plan(int rank, const Team& team, int root) {
  const Standing s(rank, team);
  const std::vector<int> leader = leaders(s, root, team);
  const Plan hosts_plan = tree::reduce.plan(s.host, s.count(), team.host_of(root));
  Plan plan(hosts_plan.blocks());
  const int above = leader[static_cast<size_t>(s.host)];
  const std::vector<int> below = without(s.mates(), above);
  for (uint32_t block = 0; block < plan.blocks(); ++block) {
    if (rank != above) plan.send(above, block);
    if (rank == above && !below.empty()) plan.fold(below, block, 1, s.count() == 1);
  }
  for (const Step& step : hosts_plan.steps()) {
    if (rank != above) break;
    if (step.verb == Verb::send) plan.send(leader[step.peer], step.block);
    if (step.verb == Verb::recv_reduce) plan.recv_reduce(leader[step.peer], step.block, 1, step.completes);
  }
  return plan;
}

// ---- costs ----

using namespace formulas;
constexpr std::string_view kSource = "Träff, Hunold 2020";
// Within hosts like direct, between them like recursive, tree or direct.  Of the runs that recursive moves between h
// hosts, those of more than one block go in two messages where they pass the end of a slice, most of all at the last
// host.
constexpr P within(P p, P h) { return p > h ? 1 : 0; }
constexpr P between(P h) { return h > 1 ? 1 : 0; }
constexpr Formula kTwoLevels{"2 + 2⌈log₂ h⌉", [](P p, P h) -> P { return 2 * within(p, h) + 2 * log_up(h); }};
constexpr Formula kLanes{"2(p/h−1) + ≤3⌈log₂ h⌉", [](P p, P h) -> P {
                           if (p == h) return 2 * log_up(h);
                           P messages = 2 * (p / h - 1);
                           for (P held = h; held > 1; held = (held + 1) / 2) messages += held > 3 ? 3 : 2;
                           return messages;
                         }};
constexpr Formula kLeader{"≤2p/h", [](P p, P h) -> P { return 2 * (p / h - 1 + between(h)); }};
constexpr Formula kHosts{"h", [](P p, P h) -> P { return p > h ? h : 1; }};
constexpr Formula kHostsDepth{"2 + ⌊log₂(h−1)⌋", [](P p, P h) -> P { return within(p, h) + (h > 1 ? 1 + log_down(h - 1) : 0); }};
constexpr Formula kLeaderData{"≤p/h·n", kLeader.value};

// On one host it does what direct does; reduce_scatter also where each host has one rank.
bool between_hosts(const Team& team) { return team.size > 2 && team.hosts() > 1; }
bool on_two_levels(const Team& team) { return between_hosts(team) && team.hosts() < team.size; }

}  // namespace

const Method all_reduce{.plan = all_reduce_plan, .cost = {kTwoLevels, kLanes, kTwiceShares, kShares},
                        .source = kSource, .makes_partial_sums = between_hosts, .needs_hosts = true};
const Method reduce_scatter{.plan = reduce_scatter_plan, .cost = {kHosts, kOthers, kShares, kShares},
                            .source = kSource, .makes_partial_sums = on_two_levels, .needs_hosts = true};
const Method all_gather{.plan = all_gather_plan, .cost = {kHosts, kOthers, kShares, kNone},
                        .source = kSource, .needs_hosts = true};
const Method broadcast{.plan = broadcast_plan, .cost = {kHostsDepth, kLeader, kLeaderData, kNone},
                       .source = kSource, .needs_hosts = true};
const Method reduce{.plan = reduce_plan, .cost = {kHostsDepth, kLeader, kLeaderData, kLeaderData},
                    .source = kSource, .makes_partial_sums = between_hosts, .needs_hosts = true};

}  // namespace tutti::hierarchical
