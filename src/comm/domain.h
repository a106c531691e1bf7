// A domain holds what a communicator and all that are split off it share at one rank: threads, the log file, and the
// memory of tutti_alloc.  Together, these communicators are a family.
#pragma once

#include <memory>

#include "control.h"
#include "family_memory.h"
#include "known_tables.h"
#include "owned_fd.h"
#include "workers.h"

namespace tutti {

// Set by the family's first communicator while it is put together.
struct Domain {
  OwnedFd log_file;  // of all logs of the family, if not stderr
  std::shared_ptr<ControlThread> control_thread;
  std::shared_ptr<Workers> workers;
  std::shared_ptr<FamilyMemory> memory;
  KnownTables tables;
};

}  // namespace tutti
