// The registry of algorithms: every plan that Tutti can run, by collective and name.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "plan.h"

namespace tutti {

std::span<const Algorithm> algorithms();
// Index into algorithms(), the number that travels in signatures.
std::optional<uint8_t> find_algorithm(Collective collective, std::string_view name);

}  // namespace tutti
