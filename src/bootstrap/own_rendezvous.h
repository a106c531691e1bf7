// The sockets and the secret of a rendezvous that a rank opens at addresses of its own choice.
#pragma once

#include <string>
#include <vector>

#include "log.h"
#include "rendezvous.h"

namespace tutti {

struct OwnRendezvous {
  std::vector<OwnedFd> listeners;
  RendezvousPoint point;  // for the others
};

// Listens on an abstract unix socket and, where an interface is up, on the network.  `interface`: see
// choose_local_address.
Result<OwnRendezvous> open_rendezvous(const std::string& interface, int size, const Log& log);

}  // namespace tutti
