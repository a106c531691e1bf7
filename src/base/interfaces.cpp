// The interfaces of this host, and the one that this rank advertises.
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>

#include "files.h"
#include "net_address.h"
#include "words.h"

namespace tutti {
namespace {

// Interfaces that lead only to containers or virtual machines of this host.
bool leads_nowhere(std::string_view name) {
  constexpr std::string_view kPrefixes[] = {"docker", "virbr",  "veth", "br-",  "lxcbr",  "lxdbr",
                                            "cni",    "podman", "vnet", "cali", "flannel"};
  return std::any_of(std::begin(kPrefixes), std::end(kPrefixes), [&](std::string_view prefix) { return name.starts_with(prefix); });
}

// Lower is better.  A link-local IPv6 address is valid only for hosts on the same cable that give the interface the
// same name.
int penalty(const Interface& interface, bool prefer_v6, bool by_kind) {
  int result = interface.address.is_v6() == prefer_v6 ? 0 : 1;
  if (interface.address.is_v6() && interface.address.is_link_local()) result += 2;
  if (by_kind && leads_nowhere(interface.name)) result += 4;
  if (by_kind && interface.loopback) result += 8;
  return result;
}

const Interface* best_of(const std::vector<const Interface*>& candidates, bool prefer_v6, bool by_kind) {
  const auto best = std::min_element(candidates.begin(), candidates.end(), [&](const Interface* a, const Interface* b) {
    return penalty(*a, prefer_v6, by_kind) < penalty(*b, prefer_v6, by_kind);
  });
  return best == candidates.end() ? nullptr : *best;
}

// By interface.
std::multimap<std::string, std::string> list_rdma_devices() {
  std::multimap<std::string, std::string> devices;
  std::error_code none;
  for (const auto& device : std::filesystem::directory_iterator("/sys/class/infiniband", none))
    for (const auto& port : std::filesystem::directory_iterator(device.path() / "ports", none))
      if (const auto interface = read_file(port.path() / "gid_attrs/ndevs/0", 256, "the interface of an RDMA device");
          interface.ok())
        devices.emplace(trim(*interface), device.path().filename());
  return devices;
}

std::string listing(const std::vector<Interface>& interfaces) {
  std::string text;
  for (const Interface& interface : interfaces)
    text += (text.empty() ? "" : ", ") + interface.name + (interface.up ? " (" : " (down, ") + interface.address.host() + ")";
  return text.empty() ? "none" : text;
}

Result<LocalAddress> choose_by_setting(std::string_view setting, bool prefer_v6, const std::vector<Interface>& interfaces) {
  const auto selector = InterfaceSelector::parse(setting);
  if (!selector.ok()) return selector.status();
  std::vector<const Interface*> candidates;
  std::vector<std::string_view> names;
  bool any_down = false;
  for (const Interface& interface : interfaces) {
    names.push_back(interface.name);
    const auto named = [&](const std::string& device) { return selector->names(device); };
    const bool by_device = !selector->exclude && std::any_of(interface.rdma_devices.begin(), interface.rdma_devices.end(), named);
    if (!selector->selects(interface.name) && !by_device) continue;
    if (interface.up) candidates.push_back(&interface);
    any_down = any_down || !interface.up;
  }
  const Interface* best = best_of(candidates, prefer_v6, selector->exclude);
  if (best == nullptr)
    return Status(Code::invalid_argument, "TUTTI_INTERFACE=" + in_quotes(setting) +
                                              (any_down ? " matches only interfaces that are down" : " matches no interface") +
                                              (selector->exclude ? "" : suggestion(selector->words.front(), names)) +
                                              "; this host has: " + listing(interfaces));
  return LocalAddress{best->address, best->name, "TUTTI_INTERFACE=" + std::string(setting)};
}

}  // namespace

bool InterfaceSelector::names(std::string_view name) const {
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view word) { return exact ? name == word : name.starts_with(word); });
}

Result<InterfaceSelector> InterfaceSelector::parse(std::string_view setting) {
  InterfaceSelector selector;
  std::string_view rest = setting;
  if (rest.starts_with('^')) selector.exclude = true, rest.remove_prefix(1);
  if (rest.starts_with('=')) selector.exact = true, rest.remove_prefix(1);
  for (const std::string_view word : split(rest, ',')) {
    if (trim(word).empty())
      return Status(Code::invalid_argument, "TUTTI_INTERFACE=" + in_quotes(setting) +
                                                ": an interface name is missing; expected eth,ib (prefixes), =eth0 (exactly), "
                                                "^docker,lo (all but) or ^=eth0");
    selector.words.push_back(trim(word));
  }
  return selector;
}

Result<std::vector<Interface>> list_interfaces() {
  ifaddrs* found = nullptr;
  if (::getifaddrs(&found) != 0) return system_error("listing network interfaces");
  std::vector<Interface> interfaces;
  for (const ifaddrs* entry = found; entry != nullptr; entry = entry->ifa_next) {
    const bool is_v4 = entry->ifa_addr != nullptr && entry->ifa_addr->sa_family == AF_INET;
    const bool is_v6 = entry->ifa_addr != nullptr && entry->ifa_addr->sa_family == AF_INET6;
    if (!is_v4 && !is_v6) continue;
    const socklen_t length = is_v4 ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    sockaddr_storage storage{};
    std::memcpy(&storage, entry->ifa_addr, length);
    Interface interface;
    interface.name = entry->ifa_name;
    interface.up = (entry->ifa_flags & IFF_UP) != 0 && (entry->ifa_flags & IFF_RUNNING) != 0;
    interface.loopback = (entry->ifa_flags & IFF_LOOPBACK) != 0;
    interface.address = SocketAddress::from(storage, length);
    interfaces.push_back(std::move(interface));
  }
  ::freeifaddrs(found);
  for (const auto& [name, device] : list_rdma_devices())
    for (Interface& interface : interfaces)
      if (interface.name == name) interface.rdma_devices.push_back(device);
  return interfaces;
}

Result<LocalAddress> choose_local_address(std::string_view setting, const std::optional<SocketAddress>& rendezvous_local_end,
                                          const std::vector<Interface>& interfaces) {
  const bool prefer_v6 = rendezvous_local_end && rendezvous_local_end->is_v6();
  if (!setting.empty()) return choose_by_setting(setting, prefer_v6, interfaces);

  if (rendezvous_local_end && !rendezvous_local_end->is_loopback() && !rendezvous_local_end->is_any()) {
    LocalAddress local{*rendezvous_local_end, "", "it routes to the rendezvous"};
    local.address.set_port(0);
    const auto same = [&](const Interface& interface) { return interface.address == local.address; };
    const auto owner = std::find_if(interfaces.begin(), interfaces.end(), same);
    if (owner != interfaces.end()) local.interface = owner->name;
    return local;
  }

  std::vector<const Interface*> candidates;
  for (const Interface& interface : interfaces)
    if (interface.up) candidates.push_back(&interface);
  const Interface* best = best_of(candidates, prefer_v6, true);
  if (best == nullptr) return Status(Code::unreachable, "no network interface is up; this host has: " + listing(interfaces));
  if (best->loopback) return LocalAddress{best->address, best->name, "only loopback is up, so other hosts cannot connect"};
  return LocalAddress{best->address, best->name, "the first interface that is up and not loopback"};
}

Result<LocalAddress> choose_local_address(std::string_view setting, const std::optional<SocketAddress>& rendezvous_local_end) {
  const auto interfaces = list_interfaces();
  if (!interfaces.ok()) return interfaces.status();
  return choose_local_address(setting, rendezvous_local_end, *interfaces);
}

}  // namespace tutti
