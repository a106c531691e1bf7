// `ucx` as a kind: for all ranks, where it was asked for.
#include "settings.h"
#include "transport_kind.h"
#include "ucx_transport.h"

namespace tutti::ucx {
namespace {

// tcp reaches everybody and stands before this kind, so where both are allowed nobody needs libucp, and no program
// should load it.
bool tcp_serves(const TransportSet& allowed) { return TUTTI_UCX_BESIDE_TCP && allowed.allows("tcp"); }

constexpr std::string_view kRemedy = "; install UCX 1.13 or later (Debian: libucx0)";

Result<std::optional<Card>> make_card(const CardTerms& terms) {
  const TransportSet& allowed = terms.settings.transport;
  if (tcp_serves(allowed)) return std::optional<Card>();
  const auto ucx = Ucx::load();
  if (ucx.ok()) return std::optional<Card>(Card());
  const std::string why = ucx.status().message() + std::string(kRemedy);
  if (allowed.asks_for("ucx"))
    return Status(Code::unsupported, "TUTTI_TRANSPORT asks for ucx, but " + why + ", or name another transport");
  terms.log.info("ucx is not used: " + why);
  return std::optional<Card>();
}

std::vector<TransportDevice> devices(const Settings& settings) {
  if (tcp_serves(settings.transport)) return {{"libucp", "not loaded, since tcp connects all ranks and stands before ucx"}};
  const auto ucx = Ucx::load();
  return {{"libucp", ucx.ok() ? "serves" : ucx.status().message() + std::string(kRemedy)}};
}

bool reach(const RankCard&, const RankCard&) { return true; }

Result<Opened> open(const Opening& opening) {
  return open_by_addresses(opening, [](const Opening& here) {
    return UcxTransport::open({here.rank, here.size, here.pool, here.communicator, here.log});
  });
}

}  // namespace

TransportKind kind() {
  return {.name = "ucx",
          .whom = "all hosts, by UCX",
          .everywhere = true,
          .card = make_card,
          .reach = reach,
          .open = open,
          .devices = devices};
}

}  // namespace tutti::ucx
