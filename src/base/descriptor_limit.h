// The limit on open files (ulimit -n), which batch systems and containers set.
#pragma once

#include <cstdint>
#include <string>

#include "status.h"

namespace tutti {

inline constexpr uint64_t kDescriptorsOfOne = 64;  // that a process with a communicator needs, generously

// Whether a system call failed because this process (EMFILE) or this host (ENFILE) has no descriptor left.
bool is_descriptor_shortage(int error);

// "DOING: Too many open files …": what the limit is, how many descriptors this takes, and what raises it.  Keeps errno.
Status out_of_descriptors(const std::string& doing, uint64_t needed);

}  // namespace tutti
