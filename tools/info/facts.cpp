#include "facts.h"

#include <thread>

#include "build_features.h"
#include "cores.h"
#include "host_identity.h"
#include "kernels.h"
#include "registry.h"
#include "tutti/tutti.h"

namespace tutti::info {
namespace {

constexpr size_t kFloats = 1 << 18;  // 1 MiB

// Memory that rank `comm` holds before and after an all-reduce; ends the communicator.
std::string measure(tutti_comm* comm, MemoryFacts& facts) {
  std::string error;
  const auto check = [&](tutti_status status) {
    if (status != TUTTI_SUCCESS && error.empty()) error = tutti_last_error(comm);
  };
  tutti_stats stats{};
  stats.struct_size = sizeof stats;
  check(tutti_comm_stats(comm, &stats));
  facts.at_creation = stats.memory_bytes;
  std::vector<float> data(kFloats, 1.0f);
  check(tutti_all_reduce(comm, data.data(), data.data(), data.size(), TUTTI_FLOAT32, TUTTI_SUM, nullptr));
  check(tutti_comm_stats(comm, &stats));
  facts.after_all_reduce = stats.memory_bytes;
  check(tutti_comm_destroy(comm));
  return error;
}

void gather_memory(int ranks, Facts& facts) {
  std::vector<tutti_comm*> comms(static_cast<size_t>(ranks));
  if (tutti_comm_create_local(comms.data(), ranks) != TUTTI_SUCCESS) {
    facts.errors.push_back("no communicator of " + std::to_string(ranks) + " local ranks: " + tutti_last_error(nullptr));
    return;
  }
  std::vector<MemoryFacts> found(comms.size());
  std::vector<std::string> errors(comms.size());
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < comms.size(); ++rank)
    threads.emplace_back([&, rank] { errors[rank] = measure(comms[rank], found[rank]); });
  for (std::thread& thread : threads) thread.join();
  if (!errors[0].empty()) {
    facts.errors.push_back("measuring a communicator's memory: " + errors[0]);
    return;
  }
  found[0].ranks = ranks;
  facts.memory.push_back(found[0]);
}

void gather_network(Facts& facts) {
  if (auto interfaces = list_interfaces(); interfaces.ok())
    facts.interfaces = std::move(*interfaces);
  else
    facts.errors.push_back(interfaces.status().message());
  if (auto address = choose_local_address(facts.settings.interface, std::nullopt, facts.interfaces); address.ok())
    facts.address = std::move(*address);
  else
    facts.errors.push_back(address.status().message());
}

void gather_transports(Facts& facts) {
  if (const Status status = check_transports(facts.settings, transport_names()); !status.ok())
    facts.errors.push_back(status.message());
  std::string hosts = "none: no address to tell them";
  if (facts.address) hosts = "hosts that reach " + facts.address->address.host() + " (" + facts.address->interface + ")";
  for (const TransportKind& kind : transport_kinds())
    facts.transports.push_back({std::string(kind.name), kind.built(), facts.settings.transport.allows(kind.name),
                                kind.everywhere ? hosts : std::string(kind.whom),
                                kind.devices ? kind.devices(facts.settings) : std::vector<TransportDevice>()});
}

}  // namespace

Facts gather() {
  Facts facts;
  facts.version = tutti_version();
  facts.build = build_features();
  facts.kernels = kernels::target_name();
  if (auto settings = load_settings(tutti_environment(), facts.warnings); settings.ok())
    facts.settings = std::move(*settings);
  else
    facts.errors.push_back(settings.status().message());
  facts.host = host_name();
  facts.host_id = host_id(facts.settings.host_id);
  facts.topology = discover_topology();
  facts.locality = locality_of(allowed_cores());
  gather_network(facts);
  gather_transports(facts);
  facts.cuda = gather_cuda(facts.settings);
  if (facts.errors.empty())  // otherwise the library would say the same once more
    for (const int ranks : {1, 2}) gather_memory(ranks, facts);
  return facts;
}

}  // namespace tutti::info
