// `rdma` as a kind: for ranks that have a port of the same fabric, on whatever host.
#include <unistd.h>

#include <algorithm>
#include <atomic>

#include "private_memory.h"
#include "rdma_transport.h"
#include "settings.h"
#include "transport_kind.h"
#include "words.h"

namespace tutti::rdma {
namespace {

// What a rank must be able to register: at least its own slots of a communicator of up to 300 ranks.
constexpr size_t kRegistered = 16 << 20;

std::string why_none(const std::vector<Port>& ports) {
  if (ports.empty()) return "this host has no RDMA device (`ibv_devices` lists them)";
  std::string text;
  for (const Port& port : ports) text += (text.empty() ? "" : "; ") + port.name() + ": " + port.objection;
  return "no RDMA port of this host serves: " + text;
}

// Tried when another transport can still be used, once in a process.
Status try_to_register(const Verbs& verbs, const std::string& name) {
  static std::atomic<bool> worked = false;
  if (worked) return {};
  const auto device = Device::open(verbs, name);
  if (!device.ok()) return device.status();
  const auto memory = memory::private_memory(kRegistered);
  if (!memory.ok()) return memory.status();
  const auto region = (*device)->register_memory(memory->get(), kRegistered, IBV_ACCESS_LOCAL_WRITE);
  worked = region.ok();
  return region.status();
}

// Of ports in the order of find_ports(): those that are used, which are of the first one's fabric.
std::vector<Port> used_ports(std::vector<Port> ports) {
  const std::string fabric = ports.empty() ? "" : ports.front().fabric();
  std::erase_if(ports, [&](const Port& port) { return !port.serves() || port.fabric() != fabric; });
  return ports;
}

// Ranks of one host take turns with the ports that are near to them, or else with all.  So many of `used`, the first:
size_t ports_in_turn(const std::vector<Port>& used) {
  const auto near = static_cast<size_t>(std::count_if(used.begin(), used.end(), [](const Port& port) { return port.near; }));
  return near > 0 ? near : used.size();
}

// Which ranks of a host use a port that serves, if not all do.
std::string whom(const Port& port, const std::vector<Port>& used) {
  const size_t turns = ports_in_turn(used);
  const auto first = static_cast<size_t>(
      std::find_if(used.begin(), used.end(), [&](const Port& each) { return each.name() == port.name(); }) - used.begin());
  if (first == used.size()) return " but is not used, since " + used[0].name() + " is of another fabric";
  if (first >= turns) return " but is not used, since " + used[0].name() + " is nearer";
  if (turns == 1) return "";
  const auto text = [&](size_t turn) { return std::to_string(first + turn * turns) + (turn < 2 ? ", " : " … of a host"); };
  return " for ranks " + text(0) + text(1) + text(2);
}

Result<std::vector<Port>> usable_ports(const CardTerms& terms) {
  const auto verbs = Verbs::load();
  if (!verbs.ok())
    return Status(Code::unsupported, verbs.status().message() + "; the package is libibverbs1 (Debian) or libibverbs (Fedora)");
  auto ports = find_ports(**verbs, terms.settings.interface);
  if (!ports.ok()) return ports.status();
  if (ports->empty() || !ports->front().serves()) return Status(Code::unreachable, why_none(*ports));
  *ports = used_ports(std::move(*ports));
  for (const Port& port : *ports)
    if (const auto gid = choose_gid(port.gids, terms.settings.rdma_gid, ""); !gid.ok())
      return Status(gid.status().code(), port.name() + ": " + gid.status().message());
  if (Status status = try_to_register(**verbs, ports->front().device); !status.ok()) return status;
  return ports;
}

Result<std::optional<Card>> make_card(const CardTerms& terms) {
  const bool asked = terms.settings.transport.asks_for("rdma");
  if (!asked && ::access(class_folder().c_str(), F_OK) != 0) return std::optional<Card>();  // most hosts: nothing is loaded
  auto ports = usable_ports(terms);
  if (!ports.ok() && asked) return Status(ports.status().code(), "TUTTI_TRANSPORT asks for rdma, but " + ports.status().message());
  if (!ports.ok()) {
    terms.log.info("rdma is not used: " + ports.status().message());
    return std::optional<Card>();
  }
  Card card{.text = ports->front().fabric()};
  card.kept = std::make_shared<std::vector<Port>>(std::move(*ports));
  return std::optional(std::move(card));
}

std::vector<TransportDevice> devices(const Settings& settings) {
  const auto verbs = Verbs::load();
  if (!verbs.ok()) return {{"no device", verbs.status().message()}};
  const auto ports = find_ports(**verbs, settings.interface);
  if (!ports.ok()) return {{"no device", ports.status().message()}};
  const std::vector<Port> used = used_ports(*ports);
  std::vector<TransportDevice> all;
  for (const Port& port : *ports) {
    std::string text = port.ethernet ? "RoCE" : "InfiniBand";
    text += ", packets of " + std::to_string(bytes_of(port.mtu)) + " bytes" + (port.near ? ", near" : "") + ": ";
    const auto gid = choose_gid(port.gids, settings.rdma_gid, "");
    text += !port.serves() ? port.objection
            : !gid.ok()    ? gid.status().message()
                           : "serves by GID " + std::to_string(gid->index) + whom(port, used);
    for (const Gid& each : port.gids)
      text += "; GID " + std::to_string(each.index) + " " + each.to_text() + " (" + std::string(name(each.type)) + ")";
    all.push_back({port.name() + (port.network_interface.empty() ? "" : " (" + port.network_interface + ")"), std::move(text)});
  }
  if (all.empty()) all.push_back({"no device", why_none({})});
  return all;
}

bool reach(const RankCard& mine, const RankCard& theirs) { return !mine.text.empty() && mine.text == theirs.text; }

Result<std::unique_ptr<RdmaTransport>> open_port(const Opening& opening) {
  const auto& used = *std::static_pointer_cast<std::vector<Port>>(opening.card->kept);
  const Port& port = used[static_cast<size_t>(opening.place_on_host) % ports_in_turn(used)];
  const auto verbs = Verbs::load();
  if (!verbs.ok()) return verbs.status();
  const auto gid = choose_gid(port.gids, opening.settings->rdma_gid, opening.address);
  if (!gid.ok()) return gid.status();
  auto device = Device::open(**verbs, port.device);
  if (!device.ok()) return device.status();
  RdmaOptions options;
  options.rank = opening.rank;
  options.size = opening.size;
  options.listen_address = opening.address;
  options.context = opening.context;
  options.pool = opening.pool;
  options.message_pools = opening.message_pools;
  options.serves = opening.serves;
  options.memory = opening.slots;
  options.name = opening.communicator;
  options.log = opening.log;
  auto opened = RdmaTransport::open(std::move(options), std::move(*device), port, *gid);
  if (opened.ok())
    opening.log.info("rdma: " + port.name() + ", " + std::string(name(gid->type)) + ", GID " + std::to_string(gid->index) + " " +
                     gid->to_text() + ", packets of " + std::to_string(bytes_of(port.mtu)) + " bytes");
  return opened;
}

// The card promised what then may be impossible: the slots are to be locked in memory, and other memory was meanwhile.
Result<Opened> open(const Opening& opening) {
  return open_by_addresses(opening, [](const Opening& here) -> Result<std::unique_ptr<RdmaTransport>> {
    auto made = open_port(here);
    if (made.ok() || here.settings->transport.asks_for("rdma")) return made;
    here.log.warn("communicator " + here.communicator + ": rdma is not used by this rank: " + made.status().message());
    return std::unique_ptr<RdmaTransport>();
  });
}

}  // namespace

TransportKind kind() {
  return {.name = "rdma",
          .whom = "hosts with InfiniBand or RoCE",
          .puts = true,
          .card = make_card,
          .reach = reach,
          .open = open,
          .devices = devices};
}

}  // namespace tutti::rdma
