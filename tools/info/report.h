// Facts as text for people and as JSON for programs.
#pragma once

#include <string>

#include "facts.h"

namespace tutti::info {

std::string as_text(const Facts& facts);
std::string as_json(const Facts& facts);

}  // namespace tutti::info
