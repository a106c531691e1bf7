// The listening side: connections become arrivals by their hellos.
//
// Pending connections touch nothing but the listener, and nobody waits for them.  A peer says hello as soon as it is
// connected, and the kernel hands over a connection once something has been said, so a peer is admitted when it is
// accepted.  A peer that had to leave before its hello tries again (tcp_connector.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "listener.h"
#include "log.h"
#include "owned_fd.h"
#include "status.h"
#include "tcp_frames.h"

namespace tutti::tcp {

// A connection whose hello was right.
struct Arrival {
  int rank;
  uint32_t connection;
  OwnedFd fd;
};

class TcpAcceptor final : private Gatekeeper {
 public:
  static constexpr size_t kPending = 64;
  static constexpr uint64_t kPatienceNs = 5 * kSecond;

  // Listens on a port that the kernel picks.  `who`: of this acceptor, for warnings.
  static Result<TcpAcceptor> listen(const SocketAddress& address, const Terms& terms, std::string who, const Log& log,
                                    uint64_t patience_ns = kPatienceNs);

  const SocketAddress& address() const { return address_; }

  // The arrivals since the last call.  Never blocks.
  Result<std::vector<Arrival>> poll();

 private:
  TcpAcceptor(OwnedFd fd, const SocketAddress& address, const Terms& terms, std::string who, const Log& log, uint64_t patience_ns);
  Verdict judge(PendingConnection& connection) override;
  void starved(int error) override;

  SocketAddress address_;
  Terms terms_;
  std::string who_;
  Log log_;
  Listener listener_;
  std::vector<Arrival> arrivals_;  // of this poll()
  bool logged_shortage_ = false;
};

}  // namespace tutti::tcp
