// Plans as text, for people and for error messages.
#pragma once

#include <string>
#include <string_view>

#include "plan.h"
#include "program.h"

namespace tutti {

std::string_view name(Verb verb);  // "recv_reduce"

// "recv_reduce blocks 3-5 from rank 2, completes"
std::string describe(const Plan& plan, const Step& step);

// One line per step, each ending in a newline.  `program`: what the plan compiles to.
std::string describe(const Plan& plan, const Program& program);

}  // namespace tutti
