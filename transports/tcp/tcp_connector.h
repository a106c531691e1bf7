// Makes one connection of a link, from the lower rank's side: connects and says hello.
#pragma once

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

  Endpoint target_;
  Hello hello_;
  OwnedFd fd_;
  int dropped_ = 0;  // times that the listener closed before it heard us
};

}  // namespace tutti::tcp
