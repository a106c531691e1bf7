// The kinds of transports, those of this build and those that it lacks.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "transport_kind.h"

namespace tutti {

// In order of preference: the first that reaches a pair of ranks serves it.
std::span<const TransportKind> transport_kinds();
std::vector<std::string_view> transport_names();

// One more, before the first communicator of the process is created.
void add_transport_kind(const TransportKind& kind);

}  // namespace tutti
