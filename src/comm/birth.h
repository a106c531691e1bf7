// Birth: how ranks find each other.  Everything reduces to one operation, Exchange: each rank gives a blob, everyone gets all blobs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "log.h"
#include "status.h"

namespace tutti {

// Every rank calls it the same number of times.  Blobs are at most 64 KiB.
using Exchange = std::function<Result<std::vector<std::string>>(const std::string& mine)>;

// How this rank was told who it is: from an explicit config or from the launcher's environment.
struct Membership {
  int rank = -1;
  int size = -1;
  std::string source;        // "torchrun", "Open MPI (PMIx)", "Slurm (PMIx)", "hydra (PMI)", "TUTTI_RANK", "config" …  for messages
  std::string local_address; // of this rank towards the rendezvous, when known ("" otherwise); numeric
};

}  // namespace tutti
