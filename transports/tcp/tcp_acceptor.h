// The listening side: accepts connections, hears their hellos, and turns strangers away.
//
// Whoever connects is a stranger until its hello is right.  Strangers cost at most kPending descriptors, 40 bytes each, for at most
// the patience of the acceptor, and touch nothing else.  Nobody waits for them: when one more comes, the oldest leaves.  A peer says
// hello as soon as it is connected, and the kernel hands over connections once something has been said, so a peer is welcomed when
// it is accepted; one that had to leave before its hello tries again (tcp_connector.h).
//
// A process without a free descriptor keeps its communicator: a descriptor held in reserve serves to hear who comes.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

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

class TcpAcceptor {
 public:
  static constexpr size_t kPending = 64;
  static constexpr uint64_t kPatienceNs = 5'000'000'000;

  // Listens on a port that the kernel picks.  `who`: of this acceptor, for warnings.
  static Result<TcpAcceptor> listen(const SocketAddress& address, const Terms& terms, std::string who, const Log& log,
                                    uint64_t patience_ns = kPatienceNs);

  const SocketAddress& address() const { return address_; }

  // What arrived since the last call.  Never blocks.
  Result<std::vector<Arrival>> poll();

 private:
  struct Pending {
    OwnedFd fd;
    uint64_t since_ns = 0;
    size_t got = 0;
    std::byte bytes[sizeof(Hello)] = {};
  };
  enum class Verdict : uint8_t { wait, welcome, refuse };
  using Arrivals = std::vector<Arrival>;

  TcpAcceptor(OwnedFd fd, const SocketAddress& address, const Terms& terms, std::string who, const Log& log, uint64_t patience_ns);
  Status accept(Arrivals& arrivals);
  void drop_oldest(const std::string& why, Arrivals& arrivals);
  bool make_room(int error, Arrivals& arrivals);
  Verdict hear(Pending& pending, std::string& why) const;
  void judge(Pending& pending, Arrivals& arrivals);
  void refuse(Pending& pending, const std::string& why);

  OwnedFd fd_;
  OwnedFd reserve_;  // of /dev/null; empty while its number is in use
  SocketAddress address_;
  Terms terms_;
  std::string who_;
  Log log_;
  uint64_t patience_ns_;
  std::deque<Pending> pending_;  // oldest first
  int warnings_ = 0;
  bool told_of_shortage_ = false;
};

}  // namespace tutti::tcp
