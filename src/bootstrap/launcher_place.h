// A rank's place in its launcher's key store (PMI, PMIx) can be used by one process only: whoever else speaks there in its name takes part in
// fences that are not his, and the job's next one fails.  But programs that a rank starts inherit the launcher's variables and descriptors.
//
// So the process that uses the place holds a name of this host, an abstract unix socket, until it exits, and a program that finds the name
// held is told.  Unlike a mark in the environment it needs no setenv, which other threads' getenv does not bear, and it ends with the
// process that it speaks of; unlike a look at the parent it knows mpirun's wrappers (sh, numactl) from ranks.
#pragma once

#include <sys/types.h>

#include <string>

#include "owned_fd.h"
#include "status.h"

namespace tutti {

// The remedy, for sentences.
inline constexpr const char* kHowToRunInside =
    "set TUTTI_RANK=0 and TUTTI_SIZE=1 to run it alone, or TUTTI_RANK, TUTTI_SIZE and TUTTI_STORE for a job of its own";

class LauncherPlace {
 public:
  // `place`: what tells this rank from all others of this host, as its descendants inherit it.  `variables`: the launcher's, for the sentence.
  // Without such sockets nothing is held, and nothing refused.
  Status take(const std::string& place, const std::string& variables);

  bool taken() const { return process_ != 0; }
  // By this very process, rather than by one that it was forked from.
  bool is_ours() const;
  // The sentence for a process that another one's place was handed down to.
  Status refusal(const std::string& variables) const;

 private:
  OwnedFd name_;
  pid_t process_ = 0;
};

}  // namespace tutti
