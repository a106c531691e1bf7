// The limits on a process's memory (ulimit -v, ulimit -l), for sentences about what could not be had.
#pragma once

#include <cstdint>
#include <string>

#include "status.h"

namespace tutti {

// "DOING takes 4 MiB: Cannot allocate memory …", after mmap failed, with the current errno: which limit stands in the way and what raises it.
Status cannot_map(const std::string& doing, uint64_t bytes);

}  // namespace tutti
