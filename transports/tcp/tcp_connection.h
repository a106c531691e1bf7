// One socket of a link: the messages waiting to be written to it, and the message being read from it.
//
// Invariants
//   1. Messages are written whole and in the order they were accepted; before the socket is there they wait in the
//      queue.
//   2. Never reads beyond the current message, so each payload goes from the kernel straight to where the caller wants
//      it.
//   3. Touches the caller's memory only inside send, flush and read.
#pragma once

#include <sys/uio.h>

#include <vector>

#include "owned_fd.h"
#include "tcp_frames.h"
#include "transport.h"

namespace tutti::tcp {

// done, busy or lost; after lost the error number, 0 if the peer closed the connection.
struct Outcome {
  Progress progress;
  int error = 0;
};

class TcpConnection {
 public:
  // Messages that wait at most; plans may count on one for each lane (TUTTI_LANES).
  static constexpr size_t kQueued = 64;

  TcpConnection(SlotPool& pool, StreamMeter& meter);
  TcpConnection(const TcpConnection&) = delete;
  ~TcpConnection();  // forgets what is queued; leaves the pool alone, whose memory may be gone by then

  int fd() const { return fd_.get(); }
  bool is_open() const { return static_cast<bool>(fd_); }
  void open(OwnedFd fd) { fd_ = std::move(fd); }
  void close();  // forgets what is queued and returns its slots to the pool

  // Writes the message, or queues what the socket does not take at once.  `slot`, if there is one, holds the payload;
  // on done one of its references is ours.  busy: the queue is full.
  Outcome send(const Header& header, Pieces pieces, Slot slot);
  Outcome flush();  // done: nothing is queued any more
  bool idle() const { return queued_ == 0; }
  uint64_t written() const { return written_; }              // messages, whole
  uint64_t written_bytes() const { return written_bytes_; }  // headers included

  // Reads the next message, `bytes` long in all its pieces; again with the same arguments until not busy.  Before
  // has_header() also without pieces: only the header.
  Outcome read(Pieces pieces, size_t bytes);
  bool has_header() const { return got_ >= sizeof(Header); }
  const Header& header() const { return incoming_; }  // of the message being read, once has_header()
  bool between_messages() const { return got_ == 0; }
  void next_message() { got_ = 0; }

  bool drained() const;  // nothing is queued here, and nothing unacknowledged in the system

  size_t memory_bytes() const;

 private:
  struct Outgoing {
    Header header;
    std::vector<iovec> parts;  // the header and the pieces, as far as they are not written yet from `next` on
    size_t next = 0;
    Slot slot;
  };

  void hang_up();
  void enqueue(const Header& header, Pieces pieces, Slot slot, size_t already_written);
  ssize_t write(iovec* parts, size_t count);
  void message_written(Slot slot);

  SlotPool* pool_;
  StreamMeter* meter_;
  OwnedFd fd_;
  std::vector<Outgoing> queue_;  // a ring; made when first needed
  size_t first_ = 0, queued_ = 0;
  uint64_t written_ = 0, written_bytes_ = 0;
  Header incoming_;
  size_t got_ = 0;  // bytes of the current message, header included
};

}  // namespace tutti::tcp
