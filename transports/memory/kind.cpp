// `memory` as a kind: for ranks that are threads of one process and were created together.
#include "memory_transport.h"
#include "transport_kind.h"

namespace tutti::memory {
namespace {

Result<std::optional<Card>> make_card(const CardTerms& terms) {
  if (!terms.process) return std::optional<Card>();
  return std::optional<Card>(Card{.reaches_all = true});
}

bool reach(const RankCard& mine, const RankCard& theirs) {
  return mine.host_id == theirs.host_id && mine.pid == theirs.pid && mine.pid_namespace == theirs.pid_namespace;
}

Result<Opened> open(const Opening& opening) {
  auto bytes = opening.process->arena_memory(opening.shape);
  if (!bytes.ok()) return bytes.status();
  const Arena arena(bytes->get(), opening.shape);
  const auto place = static_cast<uint32_t>(opening.places[static_cast<size_t>(opening.rank)]);
  return Opened{.transport = std::make_unique<MemoryTransport>(arena, place, opening.places), .arena = arena, .memory = *bytes};
}

}  // namespace

TransportKind kind() {
  return {.name = "memory",
          .whom = "ranks of one process, as threads",
          .shares_memory = true,
          .card = make_card,
          .reach = reach,
          .open = open};
}

}  // namespace tutti::memory
