// Prices a collective: how long the engine needs to run the programs of all ranks on a machine that is described by a
// dozen numbers. A discrete-event walk over what the programs say, not a formula per algorithm; pure, without a clock.
//
// The model (docs/simulation.md has the formulas):
//   engine      lanes, stripes and waves, the order of messages on a link, fused instructions; one thread per rank,
//               which carries its lanes in turn
//   messages    overhead at both ends, latency, bytes over the link, in a class of their own inside and between hosts
//   memory      reductions and copies
//   contention  messages of one direction of a link, all ranks of a host at its interface (each direction), ranks
//               that outnumber cores
// A run of more than a few waves of stripes is simulated for some waves and prolonged by the rate of the last ones.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "outline.h"

namespace tutti {

// Of one class of links.  Seconds, and seconds per byte.
struct LinkCost {
  double overhead_s = 0;        // of the processor, at each end, per message
  double latency_s = 0;         // from one hand to the other
  double byte_s = 0;            // of the link: in one direction, one message after the other
  double processor_byte_s = 0;  // of the processor, at each end; goes on while the link carries the message
  // A byte stream sends from and receives into the caller's memory.  Otherwise messages are slots: what a rank sends
  // of its own is copied into one, and what it receives and keeps is copied out.
  bool streams = false;

  bool operator==(const LinkCost&) const = default;
};

struct Machine {
  std::vector<int> host;  // by rank; empty: all on one
  LinkCost intra_host, inter_host;
  double interface_byte_s = 0;  // of a host to the others: its ranks share each direction; 0: no limit
  int cores = 0;                // of a host; 0: as many as it has ranks
  bool one_machine = false;     // the hosts are containers or network namespaces that share the cores of one
  double switch_s = 0;          // when a core turns to another rank; ranks outnumber cores
  double reduce_byte_s = 0;     // per byte received
  double copy_byte_s = 0;
};

struct Work {
  uint64_t bytes = 0;  // the whole vector, or the blocks of all ranks; in all_to_all, the blocks that one rank sends
  uint32_t lanes = 1;
  size_t stripe_bytes = 65536;  // of one block (src/tuning/pool_shape.h: cut)
  // How many messages to walk before the rest is prolonged; two waves of stripes in any case.
  uint64_t effort = 4096;
};

// Where the time of the critical path went: of the chain of messages and processors that made the last rank wait.
struct Split {
  double processor_s = 0;  // overheads, the processor's part of byte streams, waiting for a core
  double latency_s = 0;
  double link_s = 0;       // bytes on links, and waiting for a link's earlier messages
  double interface_s = 0;  // what sharing the hosts' interfaces adds
  double memory_s = 0;     // reductions and copies
  double total() const { return processor_s + latency_s + link_s + interface_s + memory_s; }
};
// "latency", "link", …: the largest part.
std::string_view bound(const Split& split);

struct Prediction {
  double seconds = 0;  // until the slowest rank is done; infinite if the plans do not come to an end
  Split path;          // sums up to `seconds`
  uint64_t messages = 0;
  double bytes_intra_host = 0, bytes_inter_host = 0;  // over all links of the class
  double busiest_interface = 0;                // bytes that leave the host that sends most to others
};

// Told now and then how far the walk has come, 0 to 1.
using Watcher = std::function<void(double)>;

Prediction predict(const Outline& outline, const Machine& machine, const Work& work, const Watcher& watcher = {});

}  // namespace tutti
