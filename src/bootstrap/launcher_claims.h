// The claims of launchers' variables about a process: a pure function of its environment.
//
// Launchers are nested: Slurm starts mpirun's helpers, mpirun starts torchrun, and each sets its variables for all
// below.  The innermost one that says both rank and size is right; those of an outer level may say something else.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "settings.h"
#include "status.h"

namespace tutti {

enum class LauncherLevel : uint8_t {
  allocation,  // Slurm, Flux, PALS: start programs on the hosts of an allocation
  job,         // mpirun and mpiexec
  group,       // torchrun
};

// The means that a launcher offers for its ranks to find each other.
enum class LauncherRendezvous : uint8_t { none, master_port, pmix, pmi };

struct LauncherClaim {
  std::string launcher;  // for messages: "Open MPI", "hydra (PMI)"
  LauncherLevel level = LauncherLevel::job;
  std::optional<int> rank, size;
  LauncherRendezvous rendezvous = LauncherRendezvous::none;
  std::string seen;       // its variables that are set: "OMPI_COMM_WORLD_RANK=1, OMPI_COMM_WORLD_SIZE=4"
  std::string missing;    // its variables that are not, of those that say rank and size
  std::string_view hint;  // how its ranks may find each other without TUTTI_STORE

  // PMIx says the size only when asked.
  bool complete() const { return rank && (size || rendezvous == LauncherRendezvous::pmix); }
  bool contradicts(const LauncherClaim& other) const;
  std::string says() const;  // "Open MPI says rank 1 of 4 (OMPI_COMM_WORLD_RANK=1, OMPI_COMM_WORLD_SIZE=4)"
};

// The variables of this process.
Environment process_environment();

// The value of a variable; null where it is not set, or empty.
const std::string* variable(const Environment& environment, std::string_view name);

// In a task that srun started, rather than in a batch script or a shell inside an allocation.
bool in_slurm_step(const Environment& environment);

// Innermost level first.  An error: a variable of rank or size that holds no such number.
Result<std::vector<LauncherClaim>> launcher_claims(const Environment& environment);

// The innermost claim that says all; among those of its level one with a size.  Null: none.
const LauncherClaim* chosen_claim(const std::vector<LauncherClaim>& claims);

// The rank that TUTTI_RANK or a launcher gave this process; -1 if it is no number; none if nobody gave one.
std::optional<int> launched_rank(const Environment& environment);

}  // namespace tutti
