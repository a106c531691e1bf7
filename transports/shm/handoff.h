// How the lowest rank of a host gives the others the descriptor of their memory: over an abstract unix socket with a
// random name, to peers of the same user that know its secret.  Name and secret travel through the bootstrap.  The user
// alone would not do: user 0 of another container may share this network namespace.
#pragma once

#include <poll.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "bytes.h"
#include "net_address.h"
#include "owned_fd.h"
#include "status.h"

namespace tutti::shm {

struct Patience;

// Opened by every rank before addresses are exchanged.
class HandoffSocket {
 public:
  static Result<HandoffSocket> open();
  std::string name() const { return std::string(address_.unix_name()); }
  std::string secret() const { return secret_.hex(); }

 private:
  friend Status hand_over(HandoffSocket&, int, std::span<const std::string>, const Patience&);
  OwnedFd socket_;
  SocketAddress address_;
  Secret secret_;
};

// How both sides wait.
struct Patience {
  // True once one of `set` is ready, false at `until` or the deadline; an error: there is nothing to wait for any more.
  std::function<Result<bool>(std::span<pollfd> set, uint64_t until)> wait;
  uint64_t deadline = 0;  // by clock.h
};

// Returns once every place but 0 has `memory`; closes the socket.  `names`: of the ranks of this host, by place.
Status hand_over(HandoffSocket& socket, int memory, std::span<const std::string> names, const Patience& patience);

// The memory that place 0 hands over at the socket `name`.
Result<OwnedFd> take_over(const std::string& name, const std::string& secret, uint32_t place, const std::string& leader,
                          const Patience& patience);

}  // namespace tutti::shm
