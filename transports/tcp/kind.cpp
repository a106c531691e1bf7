// `tcp` as a kind: for all ranks.
#include "settings.h"
#include "tcp_transport.h"
#include "transport_kind.h"

namespace tutti::tcp {
namespace {

// SO_SNDBUF within one host whose ranks outnumber the cores; the kernel doubles it.  Measured: 3 and 4 ranks on 2
// cores take two thirds of the time.  Presumably bytes that wait until their receiver has a core stay in the caches.
constexpr int kLoopbackSendBuffer = 256 << 10;

Result<std::optional<Card>> make_card(const CardTerms&) { return std::optional<Card>(Card()); }

// Addresses are exchanged by open(): where no pair needs tcp, no rank listens.
bool reach(const RankCard&, const RankCard&) { return true; }

TcpOptions options_for(const Opening& opening) {
  TcpOptions options;
  options.rank = opening.rank;
  options.size = opening.size;
  options.listen_address = opening.address;
  options.connections = opening.settings->tcp_connections;
  options.congestion = opening.settings->tcp_congestion;
  if (opening.crowded && opening.within_one_host) {
    options.send_buffer = kLoopbackSendBuffer;
    if (options.congestion.empty()) options.congestion = kSystemCongestion;  // bbr keeps still less under way
  }
  options.context = opening.context;
  options.pool = opening.pool;
  options.name = opening.communicator;
  options.log = opening.log;
  return options;
}

Result<Opened> open(const Opening& opening) {
  return open_by_addresses(opening, [](const Opening& here) { return TcpTransport::open(options_for(here)); });
}

}  // namespace

TransportKind kind() {
  return {.name = "tcp", .whom = "all hosts", .everywhere = true, .card = make_card, .reach = reach, .open = open};
}

}  // namespace tutti::tcp
