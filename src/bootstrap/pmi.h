// Key stores that launchers run: PMIx (Open MPI's mpirun, Slurm's srun --mpi=pmix) and PMI-1 (MPICH's hydra).  One use:
// rank 0 gives all ranks one text.  Collective over all processes of the job; one at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "settings.h"
#include "status.h"

namespace tutti {

class LauncherStore {
 public:
  virtual ~LauncherStore() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Rank 0's text, on every rank.  The deadline (clock.h) bounds the wait for the other ranks.
  virtual Result<std::string> share(const std::string& text, uint64_t deadline) = 0;
};

// The key of this process's next bootstrap by its launcher's store; equal on all ranks, since bootstraps are
// collective.  A launcher's store keeps a value for as long as the job lives, and some refuse to put a key twice.
// Names in use outlive every communicator, and so must the counter.
std::string next_bootstrap_key();

// PMI-1, at the descriptor that PMI_FD names; rank and size from PMI_RANK and PMI_SIZE.
std::unique_ptr<LauncherStore> open_pmi(int fd, int rank, int size);

// PMIx, by libpmix.so.2, which is loaded here and not before.  Connects this process to its launcher, once, until it
// exits.
Result<std::unique_ptr<LauncherStore>> open_pmix();

}  // namespace tutti
