// Listening sockets that tell ranks from everybody else who connects.
//
// A connection is pending until its first bytes have shown that it belongs here.  Pending connections cost a bounded
// number of descriptors and a bounded number of bytes each, for a bounded time.  When there are too many, the oldest
// leaves after one last look at its bytes.
//
// A process without a free descriptor goes on: it holds one in reserve, with which it hears who connects.
#pragma once

#include <poll.h>

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "clock.h"
#include "log.h"
#include "owned_fd.h"
#include "status.h"

namespace tutti {

struct PendingConnection {
  OwnedFd fd;
  std::string said;    // so far
  uint64_t since = 0;  // by clock.h
  // It has its farewell and is kept until the other end closes: closing with unread input would destroy the farewell.
  bool refused = false;
};

struct Verdict {
  enum class Kind : uint8_t { pending, admitted, refused };
  Kind kind = Kind::pending;
  std::string why;       // of a refusal, for the log; "": not worth a line
  std::string farewell;  // sent to who is refused

  static Verdict admitted() { return {Kind::admitted, "", ""}; }
  static Verdict refused(std::string why, std::string farewell = "") {
    return {Kind::refused, std::move(why), std::move(farewell)};
  }
};

// The user of a listener.
class Gatekeeper {
 public:
  // Called after each part of the hello.  To admit the connection is to take its descriptor.
  virtual Verdict judge(PendingConnection& connection) = 0;
  // There is no descriptor, or no memory, for one more connection, and no pending one to give up.  `error`: the errno
  // of accept.
  virtual void starved(int error) = 0;

 protected:
  ~Gatekeeper() = default;
};

class Listener {
 public:
  struct Options {
    std::string name;                     // begins lines of the log: "communicator world"
    size_t longest_hello = 0;             // nothing behind so many bytes is read
    size_t most_pending = 64;             // at least 1
    uint64_t patience_ns = 5 * kSecond;   // with a pending connection
    uint64_t grace_ns = 0;                // of which none so young is given up for want of a descriptor
    std::string greeting;                 // sent to whoever connects
    Log log;
  };
  Listener() = default;
  Listener(std::vector<OwnedFd> sockets, Options options);

  // Appends the entries that poll() is to watch for serve().
  void watch(std::vector<pollfd>& set, uint64_t now) const;
  uint64_t next_deadline(uint64_t now) const;  // of serve(), though nothing watched is ready
  // Accepts and hears; never blocks.  `ready`: the entries of watch(), after poll(), with nothing else called in
  // between.  An error: a socket does not accept.
  Status serve(Gatekeeper& keeper, std::span<const pollfd> ready);
  Status serve(Gatekeeper& keeper) { return serve(keeper, {}); }  // without poll(): all are asked

  void set_most_pending(size_t most) { options_.most_pending = most; }
  // Accepts nobody any more.  Pending connections are closed, except for those that have their farewell.  judge() may
  // call it.
  void close();
  bool empty() const { return pending_.empty(); }

 private:
  Status accept(size_t socket, Gatekeeper& keeper);
  void add(OwnedFd fd, Gatekeeper& keeper);
  void keep_reserve();
  bool make_room(int error, Gatekeeper& keeper);
  void drop_oldest(const std::string& why, Gatekeeper& keeper);
  bool receive(PendingConnection& connection) const;
  void hear(PendingConnection& connection, Gatekeeper& keeper);
  void end_if_overdue(PendingConnection& connection, uint64_t now);
  void refuse(PendingConnection& connection, const std::string& why, const std::string& farewell = "");
  uint64_t deadline_of(const PendingConnection& connection) const;

  std::vector<OwnedFd> sockets_;
  Options options_;
  OwnedFd reserve_;  // empty while its descriptor is in use
  std::deque<PendingConnection> pending_;  // the oldest first
  uint64_t accept_again_ = 0;              // after accepting has failed
  int refusals_ = 0;                       // in the log
};

}  // namespace tutti
