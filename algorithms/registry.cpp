#include "algorithms.h"

namespace tutti {
std::span<const Algorithm> algorithms() { return {}; }
std::optional<uint8_t> find_algorithm(Collective, std::string_view) { return std::nullopt; }
}  // namespace tutti
