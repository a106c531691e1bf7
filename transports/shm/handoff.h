// How the lowest rank of a host gives the others the descriptor of their memory: over an abstract unix socket with a random name, to peers
// of the same user that know its secret, which both travelled through the bootstrap.  The user alone would not do: user 0 of another container
// may share this network namespace.
#pragma once

#include <poll.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "owned_fd.h"
#include "status.h"

namespace tutti::shm {

// Opened by every rank before addresses are exchanged.
class HandoffSocket {
 public:
  static Result<HandoffSocket> open();
  const std::string& name() const { return name_; }
  const std::string& secret() const { return secret_; }
  int fd() const { return socket_.get(); }

 private:
  OwnedFd socket_;
  std::string name_, secret_;
};

// How both sides wait.
struct Patience {
  // True once one of `set` is ready, false at `until` or the deadline; an error: there is nothing to wait for any more.
  std::function<Result<bool>(std::span<pollfd> set, uint64_t until)> wait;
  uint64_t deadline = 0;  // by clock.h
};

// Returns once every place but 0 has `memory`.  `names`: of the ranks of this host, by place.
Status hand_over(const HandoffSocket& socket, int memory, std::span<const std::string> names, const Patience& patience);

// What place 0 hands over at the socket `name`.
Result<OwnedFd> take_over(const std::string& name, const std::string& secret, uint32_t place, const std::string& leader,
                          const Patience& patience);

}  // namespace tutti::shm
