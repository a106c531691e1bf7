// Transports: they make the links to peers and move what is queued.  The one thread that drives the engine calls
// everything here.
#pragma once

#include <poll.h>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "link_forms.h"

namespace tutti {

// Measures how many seconds a byte costs the processor in system calls on streams.  It notes calls that moved at least
// kLeast bytes at once, of which the call itself is a small part; and only while it is on.
struct StreamMeter {
  static constexpr size_t kLeast = 16 << 10, kMost = 4096;
  bool on = false;
  std::vector<double> sent, received;  // kMost at most
};

class Transport {
 public:
  virtual ~Transport() = default;
  virtual std::string_view name() const = 0;      // "shm"
  virtual LinkForm form() const = 0;              // of all its links
  virtual Link& link(int peer, LinkUse use) = 0;  // made when first asked for; never a full mesh
  Link& link(int peer) { return link(peer, LinkUse::collectives); }
  virtual Status progress() = 0;                  // moves what is queued, accepts connections; cheap when idle

  // The descriptors that the links' last answers of `busy` wait for, if one of these becoming ready is all that can
  // change an answer: the engine may then sleep in poll().  False: it must ask again by itself.
  virtual bool awaited(std::vector<pollfd>& /*descriptors*/) { return false; }

  // All messages of this rank have reached its peers' systems: none is missed if this process ends now.
  virtual bool drained() { return true; }

  // The communicator has failed and its calls return: from now on nothing reads or writes their memory, and no link is
  // used.  Only for transports where others than this rank's own calls move bytes, as devices do.
  virtual void give_up() {}

  virtual StreamMeter* meter() { return nullptr; }  // of all links; null: they are no streams

  virtual size_t memory_bytes() const = 0;  // besides the pool
  virtual uint64_t sent_bytes() const { return 0; }
};

}  // namespace tutti
