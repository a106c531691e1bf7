#include "plan_load.h"

#include <algorithm>
#include <cmath>

namespace tutti {
namespace {

constexpr int kMostRead = 32;           // plans
constexpr double kSmallestStripe = 64;  // bytes of a block; what remains of small calls goes to few blocks

double byte_time(const LinkCost& link) { return std::max(link.byte_s, link.processor_byte_s); }

// How often the longest way through a tree leads from one host to another: at each level of a tree of hosts, and
// twice where the halves into which it divides the ranks end inside a host.
double crossings(Collective collective, int ranks, int hosts) {
  const bool up_and_down = collective == Collective::all_reduce || collective == Collective::barrier;
  const bool binomial = collective == Collective::gather || collective == Collective::scatter;
  return std::ceil(std::log2(hosts)) * (up_and_down ? 2 : 1) * (binomial && ranks % hosts == 0 ? 1 : 2);
}

}  // namespace

PlanLoad::PlanLoad(const Algorithm& algorithm, const Team& team) : collective_(algorithm.collective) {
  const auto hosts = static_cast<size_t>(team.hosts());
  std::vector<double> all(hosts), seen(hosts);
  for (int rank = 0; rank < team.size; ++rank) ++all[static_cast<size_t>(team.host_of(rank))];
  const int step = (team.size + kMostRead - 1) / kMostRead;
  for (int rank = 0; rank < team.size; rank += step) {
    read(algorithm.plan(rank, team, 0), team, rank);
    ++seen[ranks_.back().host];
  }
  for (size_t host = 0; host < hosts; ++host) weight_.push_back(seen[host] > 0 ? all[host] / seen[host] : 0);
  if (algorithm.name == "tree") fan_ = 2;
  const Formula& rounds = algorithm.cost.rounds;
  const auto all_rounds = static_cast<double>(rounds.value(static_cast<uint64_t>(team.size), hosts));
  rounds_inter_ = hosts > 1 ? std::min(all_rounds, rounds_between_hosts(algorithm, team)) : 0;
  rounds_intra_ = all_rounds - rounds_inter_;
}

void PlanLoad::read(const Plan& plan, const Team& team, int rank) {
  blocks_ = plan.blocks();
  widest_run_ = plan.widest_run();
  Rank& load = ranks_.emplace_back();
  load.host = static_cast<size_t>(team.host_of(rank));
  // Blocks, by peer.
  std::vector<double> sent(static_cast<size_t>(team.size)), received(static_cast<size_t>(team.size));
  const Step* last = nullptr;
  for (const Step& step : plan.steps()) {
    const bool sends = step.verb == Verb::send;
    // The slot received or sent just before.
    const bool passes_on =
        last && last->block == step.block && last->count == step.count && !(last->verb == Verb::send && step.apart);
    for (const uint32_t peer : plan.peers_of(step)) {
      const bool near = team.host_of(static_cast<int>(peer)) == team.host_of(rank);
      Traffic& traffic = near ? load.intra : load.inter;
      (sends ? traffic.messages_out : traffic.messages_in) += 1;
      (sends ? traffic.blocks_out : traffic.blocks_in) += step.count;
      traffic.busiest_link = std::max(traffic.busiest_link, (sends ? sent : received)[peer] += step.count);
      if (near && (step.verb == Verb::recv || (sends && !passes_on))) load.copied += step.count;
    }
    if (step.verb == Verb::recv_reduce || step.verb == Verb::fold) load.reduced += double{1} * step.count * step.peers;
    last = &step;
  }
}

// How many of the rounds that wait for each other are messages between hosts.
double PlanLoad::rounds_between_hosts(const Algorithm& algorithm, const Team& team) const {
  const auto p = static_cast<uint64_t>(team.size), h = static_cast<uint64_t>(team.hosts());
  const Formula& rounds = algorithm.cost.rounds;
  if (algorithm.needs_hosts) return static_cast<double>(rounds.value(h, h));  // as if each host were a rank
  if (algorithm.name == "tree") return crossings(algorithm.collective, team.size, team.hosts());
  double inter = 0, all = 0, largest = 0;
  for (const Rank& rank : ranks_) {
    inter += rank.inter.messages();
    all += rank.messages();
    largest = std::max(largest, rank.inter.messages() / std::max(rank.messages(), 1.0));
  }
  // A ring's block crosses each border of hosts once; of a few parallel messages those between hosts come last.
  const double share = algorithm.name == "ring" ? inter / std::max(all, 1.0) : algorithm.name == "direct" ? inter > 0 : largest;
  return share * static_cast<double>(rounds.value(p, h));
}

double PlanLoad::Pieces::waves() const { return std::ceil(stripes / lanes); }

PlanLoad::Pieces PlanLoad::pieces_of(const Work& work) const {
  Pieces pieces;
  const auto bytes = static_cast<double>(std::max<uint64_t>(work.bytes, 1));
  // Of the bytes of one rank.
  const double blocks = collective_ == Collective::all_to_all ? std::sqrt(blocks_) : blocks_;
  pieces.block = bytes / blocks;
  pieces.stripes = std::max(1.0, std::ceil(pieces.block / static_cast<double>(work.stripe_bytes)));
  pieces.stripe = pieces.block / pieces.stripes;
  pieces.lanes = std::clamp<double>(work.lanes, 1, pieces.stripes);
  if (!each_rank_has_a_part(collective_)) pieces.filled = std::min(1.0, pieces.block / kSmallestStripe);
  return pieces;
}

// Of a rank's own processor.
Split PlanLoad::work_of(const Rank& rank, const Machine& machine, const Pieces& pieces, double stripes) {
  Split work;
  for (const auto& [traffic, link] : {std::pair{&rank.intra, &machine.intra_host}, std::pair{&rank.inter, &machine.inter_host}}) {
    work.processor_s += traffic->messages() * stripes * link->overhead_s;
    work.processor_s += (traffic->blocks_in + traffic->blocks_out) * pieces.block * link->processor_byte_s;
  }
  work.memory_s = rank.reduced * pieces.block * machine.reduce_byte_s;
  if (!machine.intra_host.streams) work.memory_s += rank.copied * pieces.block * machine.copy_byte_s;
  return work;
}

// For each byte of a block, how long the messages of so many rounds are on a link when the processors have done their
// part.
double PlanLoad::under_way(const Traffic& traffic, const LinkCost& link, double rounds) {
  if (traffic.messages_in == 0) return 0;
  return traffic.blocks_in * std::min(1.0, rounds / traffic.messages_in) * std::max(link.byte_s - link.processor_byte_s, 0.0);
}

PlanLoad::Busy PlanLoad::busy(const Machine& machine, const Pieces& pieces) const {
  struct Host {
    double out = 0, in = 0, ranks = 0, work = 0, switches = 0;
  };
  std::vector<Host> hosts(weight_.size());
  Busy busy;
  for (const Rank& rank : ranks_) {
    const double weight = weight_[rank.host];
    Host& host = hosts[rank.host];
    host.out += weight * rank.inter.blocks_out;
    host.in += weight * rank.inter.blocks_in;
    Host& cores = hosts[machine.one_machine ? 0 : rank.host];
    cores.ranks += weight;
    cores.work += weight * work_of(rank, machine, pieces, pieces.stripes * pieces.filled).total();
    // A rank that waits for its turn finds several messages then.
    cores.switches += weight * std::min({rank.messages_in(), rounds(), 1 + std::log2(std::max(rounds(), 1.0))});
    busy.link = std::max({busy.link, rank.intra.busiest_link * pieces.block * machine.intra_host.byte_s,
                          rank.inter.busiest_link * pieces.block * machine.inter_host.byte_s});
  }
  for (const Host& host : hosts) {
    busy.interface = std::max(busy.interface, std::max(host.out, host.in) * pieces.block * machine.interface_byte_s);
    if (machine.cores <= 0 || host.ranks <= machine.cores) continue;
    busy.crowded = true;
    busy.cores = std::max(busy.cores, (host.work + host.switches * pieces.waves() * machine.switch_s) / machine.cores);
  }
  return busy;
}

double PlanLoad::latency(const Machine& machine) const {
  return rounds_intra_ * machine.intra_host.latency_s + rounds_inter_ * machine.inter_host.latency_s;
}

// Where a rank waits for others until its stripes come, all rounds of the first stripe; `most`: the busiest rank's
// work.
Split PlanLoad::first_stripe(const Machine& machine, const Pieces& pieces, const Split& most, bool crowded) const {
  const auto hop = [&](const LinkCost& link, double at_once) {
    return 2 * link.overhead_s + at_once * pieces.stripe * byte_time(link) + (crowded ? machine.switch_s : 0);
  };
  Split split;
  split.latency_s = latency(machine);
  split.processor_s = rounds_intra_ * hop(machine.intra_host, 1) + rounds_inter_ * hop(machine.inter_host, fan_);
  double received = 1;
  for (const Rank& rank : ranks_) received = std::max(received, rank.messages_in());
  split.memory_s = rounds() * most.memory_s / pieces.stripes / received;
  return split;
}

Split PlanLoad::price(const Machine& machine, const Work& work) const {
  const Pieces pieces = pieces_of(work);
  Split most;
  double received = 0, on_links = 0;
  for (const Rank& rank : ranks_) {
    const Split mine = work_of(rank, machine, pieces, pieces.stripes);
    if (mine.total() > most.total()) most = mine;
    received = std::max(received, rank.messages_in());
    on_links = std::max(on_links, pieces.stripe * (under_way(rank.intra, machine.intra_host, rounds_intra_) +
                                                   under_way(rank.inter, machine.inter_host, rounds_inter_)));
  }
  const Busy shared = busy(machine, pieces);
  Split path = most;
  if (received >= rounds()) {  // ranks receive in every round: while one lane waits for its message, others work
    const double idle = pieces.waves() * (latency(machine) + on_links) - most.total() * (pieces.lanes - 1) / pieces.lanes;
    path.latency_s += std::max(0.0, idle);
  } else {
    const Split first = first_stripe(machine, pieces, most, shared.crowded);
    const double others = (pieces.stripes - 1) / pieces.stripes;
    path = {first.processor_s + most.processor_s * others, first.latency_s, 0, 0, first.memory_s + most.memory_s * others};
  }
  path.processor_s += std::max(0.0, shared.cores - path.total());
  path.link_s += std::max(0.0, shared.link + latency(machine) - path.total());
  path.interface_s += std::max(0.0, shared.interface + latency(machine) - path.total());
  return path;
}

}  // namespace tutti
