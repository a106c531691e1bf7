// The picture of an algorithm with its captions.
#pragma once

#include <string>

#include "algorithm.h"
#include "status.h"

namespace tutti {

// SVG.  Pictures have 2 to 24 ranks.
Result<std::string> portrait(const Algorithm& algorithm, const Team& team, int root);

}  // namespace tutti
