#include "own_rendezvous.h"

#include <algorithm>
#include <cerrno>

#include "resource_limits.h"

namespace tutti {
namespace {

// Up to two addresses of this host that other hosts may reach, IPv4 first; none where no interface is up.
Result<std::vector<SocketAddress>> own_addresses(const std::string& interface, uint16_t port) {
  std::vector<SocketAddress> addresses;
  for (const bool v6 : {false, true}) {
    const auto local = choose_local_address(interface, SocketAddress::any(v6, 0));
    if (local.status().code() == Code::unreachable) break;
    if (!local.ok()) return local.status();
    SocketAddress address = local->address;
    address.set_port(port);
    if (address.is_link_local() && v6) continue;  // its scope means nothing elsewhere
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end()) addresses.push_back(address);
  }
  return addresses;
}

// Ranks of this host come by the unix socket, which needs no network; those of other hosts are refused at once.
Status open_unix(OwnRendezvous& own) {
  const auto address = SocketAddress::random_unix();
  if (!address.ok()) return address.status();
  auto listener = listen_on(*address, kRendezvousBacklog);
  if (!listener.ok()) return listener.status();
  own.listeners.push_back(std::move(*listener));
  own.point.addresses.push_back(*address);
  return {};
}

// On every interface.
Status open_network(OwnRendezvous& own, const std::string& interface, const Log& log) {
  auto listener = listen_everywhere(0);
  if (!listener.ok()) return listener.status();
  const auto bound = local_address_of(listener->get());
  if (!bound.ok()) return bound.status();
  const auto addresses = own_addresses(interface, bound->port());
  if (!addresses.ok()) return addresses.status();
  if (addresses->empty()) {
    log.info("no network interface is up: only ranks of this host can meet");
    return {};
  }
  own.listeners.push_back(std::move(*listener));
  own.point.addresses.insert(own.point.addresses.end(), addresses->begin(), addresses->end());
  return {};
}

}  // namespace

Result<OwnRendezvous> open_rendezvous(const std::string& interface, int size, const Log& log) {
  OwnRendezvous own;
  const auto secret = Secret::random();
  if (!secret.ok()) return secret.status();
  own.point.secret = *secret;
  errno = 0;
  Status opened = open_unix(own);
  if (opened.ok()) opened = open_network(own, interface, log);
  if (!opened.ok() && is_descriptor_shortage(errno)) return out_of_descriptors("opening the rendezvous", descriptors_for(size));
  if (!opened.ok()) return opened;
  return own;
}

}  // namespace tutti
