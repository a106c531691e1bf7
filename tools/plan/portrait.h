// The picture of an algorithm with its captions.
#pragma once

#include <string>

#include "plan.h"
#include "status.h"

namespace tutti {

// SVG.  Pictures have 2 to 24 ranks.
Result<std::string> portrait(const Algorithm& algorithm, int size, int root);

}  // namespace tutti
