// The addresses of a host that may have no name yet: a cluster's name service lags behind the start of its hosts.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "log.h"
#include "net_address.h"
#include "rendezvous.h"

namespace tutti {

// Asks again about once a second, so that a name that appears, or moves, is seen.  The first failure is logged at once,
// since the name may be misspelt.  The system's resolver may take any time, so it runs in a thread of its own, for
// which nobody waits.
class HostLookup {
 public:
  HostLookup(HostPort host, uint64_t deadline, Log log);
  Located locate();  // see Locate

 private:
  struct Question;
  void ask();
  void hear();

  const HostPort host_;
  const uint64_t deadline_;
  const Log log_;
  std::shared_ptr<Question> question_;  // under way
  uint64_t ask_again_ = 0;
  bool logged_ = false;
  std::optional<std::vector<SocketAddress>> known_;
  Status why_not_;
};

}  // namespace tutti
