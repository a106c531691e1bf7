// How long a plan takes, by formula: for teams with more messages than the simulator can walk at bootstrap.
//
// The plans are read once, those of some ranks if there are very many: how many messages and blocks each rank sends,
// receives, reduces and copies.  A call then takes as long as the busiest of processors, cores, links and hosts'
// interfaces, and at least as long as one stripe needs for the rounds that wait for each other (algorithm.h).  Roots
// are taken to be rank 0.
#pragma once

#include <cstdint>
#include <vector>

#include "algorithms.h"
#include "simulator.h"
#include "team.h"

namespace tutti {

class PlanLoad {
 public:
  PlanLoad(const Algorithm& algorithm, const Team& team);

  uint32_t blocks() const { return blocks_; }
  uint32_t widest_run() const { return widest_run_; }

  // The seconds of the critical path, by what they are spent on.
  Split price(const Machine& machine, const Work& work) const;

 private:
  struct Traffic {  // of one rank over one class of links
    double messages_in = 0, messages_out = 0;
    double blocks_in = 0, blocks_out = 0;
    double busiest_link = 0;  // blocks to or from one peer

    double messages() const { return messages_in + messages_out; }
  };
  struct Rank {
    size_t host = 0;
    Traffic intra, inter;
    double reduced = 0, copied = 0;  // blocks; copied only where slots are handed over

    double messages_in() const { return intra.messages_in + inter.messages_in; }
    double messages() const { return intra.messages() + inter.messages(); }
  };
  struct Pieces {  // of a call
    double block = 0, stripe = 0;  // bytes
    double stripes = 1, lanes = 1;
    double filled = 1;  // which part of the blocks have bytes at all

    double waves() const;
  };
  struct Busy {  // in seconds, what is shared
    double cores = 0, link = 0, interface = 0;
    bool crowded = false;  // ranks take turns on cores
  };

  void read(const Plan& plan, const Team& team, int rank);
  double rounds_between_hosts(const Algorithm& algorithm, const Team& team) const;
  Pieces pieces_of(const Work& work) const;
  static Split work_of(const Rank& rank, const Machine& machine, const Pieces& pieces, double stripes);
  static double under_way(const Traffic& traffic, const LinkCost& link, double rounds);
  Busy busy(const Machine& machine, const Pieces& pieces) const;
  double latency(const Machine& machine) const;
  double rounds() const { return rounds_intra_ + rounds_inter_; }
  Split first_stripe(const Machine& machine, const Pieces& pieces, const Split& most, bool crowded) const;

  Collective collective_;
  uint32_t blocks_ = 0, widest_run_ = 1;
  double rounds_intra_ = 0, rounds_inter_ = 0;
  double fan_ = 1;             // messages that a rank sends or receives at once in one round
  std::vector<Rank> ranks_;    // whose plans were read
  std::vector<double> weight_;  // by host: how many ranks each of them stands for
};

}  // namespace tutti
