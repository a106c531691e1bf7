// A machine and a number of ranks to price plans for, as the options of tutti-plan or a file describe them.
#pragma once

#include <optional>
#include <string>

#include "outline.h"
#include "simulator.h"
#include "status.h"
#include "team.h"

namespace tutti {

struct ScenarioOptions {
  int ranks = 8, ranks_per_host = 1;
  std::string machine_file;  // what it says can be said otherwise by the options below; "" for none
  // Empty: as in the file, or else the standard below.
  std::string link;      // "100Gb/s,5us": of a host's interface and of one connection, and the latency
  std::string flow;      // "25Gb/s": if one connection is slower than the interface
  std::string overhead;  // of the processor, of a message between hosts, at each end
  std::string sockets;   // "5GB/s": how fast a processor feeds and empties connections; "0": they do without it
  std::string inside;    // "0.3us": from rank to rank of a host
  std::string inside_overhead;
  std::string copy, reduce;  // "10GB/s"
  std::string change;        // of ranks on a crowded core
  int cores = -1;            // of a host; -1: as in the file, or else one for each rank
  uint32_t lanes = 0;        // 0: what the engine would take
  uint64_t slot_bytes = 0, stripe_bytes = 0;
};

struct Scenario {
  Team team;
  Machine machine;
  uint32_t lanes;
  uint64_t slot_bytes, stripe_bytes;  // as in the options

  bool single_host() const { return team.hosts() == 1; }
  // As the engine would cut `bytes` for these plans.
  Work work(const Outline& outline, uint64_t bytes) const;
  // "4096 ranks on 512 hosts, 12.5 GB/s and 5 us between them, …"
  std::string summary() const;
  std::string machine_summary() const;  // the same without the ranks
};

Result<Scenario> make_scenario(const ScenarioOptions& options);

// JSON: the members of Machine by name, "inside" and "between" those of LinkCost; what is absent keeps its value.
Status read_machine(const std::string& text, Machine& machine);
std::string write_machine(const Machine& machine);

}  // namespace tutti
