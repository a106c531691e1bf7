// The registry of algorithms: every plan that Tutti can run, by collective and name.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "algorithm.h"

namespace tutti {

std::span<const Algorithm> algorithms();
// Index into algorithms(), the number that travels in signatures.
std::optional<uint8_t> find_algorithm(Collective collective, std::string_view name);

// As Algorithm::makes_partial_sums; false where the row has none.
bool makes_partial_sums(Collective collective, std::string_view name, const Team& team);

}  // namespace tutti
