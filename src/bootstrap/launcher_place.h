// Only one process can use a rank's place in its launcher's key store (PMI, PMIx).  A second one would take part in
// fences that are not its own, and the job's next fence would fail.  But programs that a rank starts inherit the
// launcher's variables and descriptors.
//
// So the process that uses the place holds a name on this host, an abstract unix socket, until it exits, and a program
// that finds the name held gets an error.  Unlike a mark in the environment this needs no setenv, which races with
// other threads' getenv, and it ends with its process.  Unlike a look at the parent it distinguishes mpirun's wrappers
// (sh, numactl) from ranks.
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
  // `place`: distinguishes this rank from all others of this host; its descendants inherit it.  `variables`: the
  // launcher's, for the sentence.  Without such sockets nothing is held, and nothing refused.
  Status take(const std::string& place, const std::string& variables);

  bool taken() const { return process_ != 0; }
  // By this very process, rather than by one that it was forked from.
  bool is_ours() const;
  // The sentence for a process that inherited another one's place.
  Status refusal(const std::string& variables) const;

 private:
  OwnedFd name_;
  pid_t process_ = 0;
};

}  // namespace tutti
