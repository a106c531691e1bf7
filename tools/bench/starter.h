// Starts this program once per rank on this machine and watches over the ranks.
#pragma once

namespace tutti::bench {

// Runs this very command line as `ranks` processes that find each other by TUTTI_RANK, TUTTI_SIZE and TUTTI_STORE, and
// waits for them.  The first rank that fails is reported; the others get a moment to say what they saw, then they are
// ended.  Interrupts are passed on.  Returns the exit status of the whole: 0 if every rank's was, else the first bad
// rank's, 128 + signal if it or we were killed.  `binds`: each rank is bound to cores of its own, if there are enough
// (binding.h).
int start_ranks(int ranks, char** argv, bool binds = true);

}  // namespace tutti::bench
