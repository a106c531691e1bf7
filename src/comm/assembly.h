// Puts a communicator together, once its ranks have met: who shares a host, which transport serves which pair, the pool,
// the control tree.  Collective; every rank goes through the same rounds of exchange.
#pragma once

#include <memory>
#include <string>

#include "join_job.h"
#include "communicator.h"
#include "control.h"
#include "log.h"
#include "settings.h"
#include "status.h"

namespace tutti {

// Memory that the ranks of one process share when they are threads (tutti_comm_create_local).
class LocalArena;
std::shared_ptr<LocalArena> make_local_arena();

struct AssemblyOptions {
  int rank = 0, size = 1;
  std::string name;
  Settings settings;  // this rank's; rank 0's wire-shaping ones replace them
  std::shared_ptr<Bootstrap> bootstrap;
  std::string local_end;                          // of this rank's connection to the rendezvous, numeric; "" if there was none
  std::shared_ptr<Domain> domain;                 // of the parent; null: a new one
  std::shared_ptr<LocalArena> local_arena;        // ranks are threads of this process; null: processes
  std::shared_ptr<const Tuning> tuning;           // of the parent; null: agreed on now
};

Result<std::unique_ptr<Communicator>> assemble(AssemblyOptions options);

// Splits: collective over `parent`.  null for a rank that gives color -1.
Result<std::unique_ptr<Communicator>> split(Communicator& parent, int color, int key);

}  // namespace tutti
