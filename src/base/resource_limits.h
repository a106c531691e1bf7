// The limits that batch systems and containers set on a process (ulimit), for sentences about what could not be had.
#pragma once

#include <cstdint>
#include <string>

#include "status.h"

namespace tutti {

// `doing` begins each sentence: "sizing shared memory".

// ---- open files (ulimit -n) ----

inline constexpr uint64_t kDescriptorsOfOne = 64;  // that a process with a communicator needs, generously

// Whether a system call failed because this process (EMFILE) or this host (ENFILE) has no descriptor left.
bool is_descriptor_shortage(int error);

// "DOING: Too many open files …": what the limit is, how many descriptors this takes, and what raises it.  Keeps errno.
Status out_of_descriptors(const std::string& doing, uint64_t needed = kDescriptorsOfOne);
// After a call that makes a descriptor failed, with the current errno: that sentence if it fits, the system's if not.
// Keeps errno.
Status no_descriptor(const std::string& doing, uint64_t needed = kDescriptorsOfOne);

// ---- the size of files (ulimit -f) ----

// Whether a file, shared memory included, may grow to `bytes`.  Asked first: a process that writes more gets SIGXFSZ,
// which ends it.
Status within_file_size_limit(uint64_t bytes, const std::string& doing);

// ---- memory (ulimit -v, ulimit -l) ----

// "DOING takes 4 MiB: Cannot allocate memory …", after mmap failed, with the current errno: which limit stands in the
// way and what raises it.
Status cannot_map(const std::string& doing, uint64_t bytes);

}  // namespace tutti
