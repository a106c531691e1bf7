// A connection to a neighbour in the control tree: frames in, frames out, never blocking, bounded memory.
#pragma once

#include <string>

#include "control_frames.h"
#include "owned_fd.h"

namespace tutti {

class ControlSocket {
 public:
  ControlSocket() = default;
  explicit ControlSocket(OwnedFd fd);

  int fd() const { return fd_.get(); }
  bool open() const { return static_cast<bool>(fd_); }
  void close() { fd_.reset(); }
  void hang_up();  // closes so that what was sent arrives: unread input would reset the connection

  // Takes in what has come.  False: the peer closed, or the connection broke; frames that came before are still there.
  bool fill();
  // The next frame.  Malformed: the peer does not speak this protocol.
  Decoding next(int size, ControlFrame& frame);
  // Whether a frame of that kind has come and still waits for next().
  bool holds(int size, FrameKind kind) const;

  // Queues a frame and sends what the system takes.  A frame that will be repeated or only informs may be dropped when
  // much is queued.
  void send(const ControlFrame& frame, bool may_drop = false);
  void flush();
  bool has_queued() const { return !out_.empty(); }

 private:
  OwnedFd fd_;
  std::string in_, out_;
};

}  // namespace tutti
