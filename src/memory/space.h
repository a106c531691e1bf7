// Where bytes live.  An executor (src/engine/executor.h) computes in the spaces that it knows; a stream reads and
// writes the host's memory only.
#pragma once

#include <cstdint>

namespace tutti {

enum class Space : uint8_t { host };

}  // namespace tutti
