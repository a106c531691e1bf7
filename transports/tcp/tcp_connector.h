// Makes one connection of a link, from the lower rank's side: connects and says hello.  A listener that closes before
// it has heard the hello is asked again, for about a minute.
#pragma once

#include <cstdint>

#include "owned_fd.h"
#include "status.h"
#include "tcp_frames.h"

namespace tutti::tcp {

class TcpConnector {
 public:
  TcpConnector(const Endpoint& target, const Hello& hello) : target_(target), hello_(hello) {}

  // The socket, once hello is said; an empty one means: ask again.
  Result<OwnedFd> advance();

 private:
  Result<bool> connected();
  Result<bool> dropped();

  Endpoint target_;
  Hello hello_;
  OwnedFd fd_;
  uint64_t pause_ns_ = 0;  // after the last time that the listener dropped us; 0: it never did
  uint64_t first_drop_ns_ = 0, next_try_ns_ = 0;
};

}  // namespace tutti::tcp
