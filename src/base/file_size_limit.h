// The limit on the size of files that this process writes (ulimit -f), which batch systems set.  Whoever exceeds it gets SIGXFSZ, whose
// default action ends the process; so it is asked first.
#pragma once

#include <cstdint>
#include <string>

#include "status.h"

namespace tutti {

// Whether a file, shared memory included, may grow to `bytes`.  `doing` begins the sentence: "sizing shared memory".
Status within_file_size_limit(uint64_t bytes, const std::string& doing);

}  // namespace tutti
