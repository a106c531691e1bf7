// `ucx` as a kind: for all ranks, where it was asked for.
#include "settings.h"
#include "transport_kind.h"
#include "ucx_transport.h"

namespace tutti::ucx {
namespace {

// tcp reaches everybody and stands before this kind, so where both are allowed nobody needs libucp, and no program
// should load it.
bool tcp_serves(const TransportSet& allowed) { return TUTTI_UCX_BESIDE_TCP && allowed.allows("tcp"); }

Result<std::optional<Card>> make_card(const CardTerms& terms) {
  const TransportSet& allowed = terms.settings.transport;
  if (tcp_serves(allowed)) return std::optional<Card>();
  const auto ucx = Ucx::load();
  if (ucx.ok()) return std::optional<Card>(Card());
  if (allowed.excludes) return std::optional<Card>();  // nobody has named it
  return Status(Code::unsupported, "TUTTI_TRANSPORT asks for ucx, but " + ucx.status().message() +
                                       "; install UCX 1.13 or later (Debian: libucx0), or name another transport");
}

bool reach(const RankCard&, const RankCard&) { return true; }

Result<Opened> open(const Opening& opening) {
  return open_by_addresses(opening, [](const Opening& here) {
    return UcxTransport::open({here.rank, here.size, here.pool, here.communicator, here.log});
  });
}

}  // namespace

TransportKind kind() {
  return {.name = "ucx", .whom = "all hosts, by UCX", .everywhere = true, .card = make_card, .reach = reach, .open = open};
}

}  // namespace tutti::ucx
