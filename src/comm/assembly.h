// Puts a communicator together, once its ranks have met: hosts, transports, pools and the control tree.  Collective;
// every rank goes through the same rounds of exchange.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "join_job.h"
#include "communicator.h"
#include "control.h"
#include "log.h"
#include "settings.h"
#include "status.h"

namespace tutti {

class LocalArena;
std::shared_ptr<LocalArena> make_local_arena();

struct AssemblyOptions {
  int rank = 0, size = 1;
  std::string name;
  Settings settings;  // this rank's; rank 0's wire-shaping ones replace them
  std::shared_ptr<Bootstrap> bootstrap;
  std::vector<std::string> warnings;        // about this rank's settings, not logged yet
  std::string local_end;                    // numeric, of this rank's connection to the rendezvous; "" without one
  std::shared_ptr<Domain> domain;           // of the parent; null: a new one
  std::shared_ptr<LocalArena> local_arena;  // if the ranks are threads of this process; null: they are processes
  std::shared_ptr<const Tuning> tuning;     // of the parent; null: the ranks agree on it now
};

Result<std::unique_ptr<Communicator>> assemble(AssemblyOptions options);

// The bootstrap of a rank that is alone.
std::shared_ptr<Bootstrap> bootstrap_alone(uint64_t deadline);
// A communicator of some of the parent's ranks: what it takes over from the parent; neither bootstrap nor local arena.
AssemblyOptions options_of_child(const Communicator& parent, int rank, int size, const std::string& name);

// Collective over `parent`.  Null for a rank that gives color -1.
Result<std::unique_ptr<Communicator>> split(Communicator& parent, int color, int key);

// Collective over `members`, ranks of `parent` of which this one is number `me`.
Result<std::unique_ptr<Communicator>> create_group(Communicator& parent, const std::vector<int>& members, int me, int key,
                                                   uint64_t timeout_ns);  // 0: of the settings

}  // namespace tutti
