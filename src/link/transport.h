// Links and transports: how the engine moves messages, whatever carries them.
//
// Contract.  Everything here is called by the one thread that drives the engine.  Nothing blocks: `busy` means ask again.
// A link is ordered and reliable, in both directions independently.  Both ends know which message comes next, how long it is and
// what its signature is; a message that differs is reported as `mismatch`, never delivered.
#pragma once

#include <poll.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "slot.h"
#include "status.h"
#include "vocabulary.h"

namespace tutti {

// Consecutive parts of one message in the caller's memory.
struct Piece {
  std::byte* data;
  size_t bytes;
};
using Pieces = std::span<const Piece>;
inline constexpr size_t kMaxPieces = 64;

enum class Progress : uint8_t {
  done,
  busy,      // ask again with the same arguments
  lost,      // the peer is gone; see error()
  mismatch,  // the peer's message is of another call; see offender()
};

class Link {
 public:
  virtual ~Link() = default;

  // True: a byte stream, which sends from and receives into the caller's memory (use the Pieces forms, or slots as scratch).
  // False: slots themselves are handed over (use the Slot forms only).
  virtual bool streams() const = 0;

  // Sends the first `bytes` of `slot`; on done one holder's reference has passed to the link.
  virtual Progress send(Slot slot, size_t bytes, const Signature& signature) = 0;

  // Streams only.  Sends from the caller's memory, which must not change until sent(ticket): then this message and all before it have
  // left it.  done: accepted, perhaps still queued; ticket 0: nothing is.  Caller's memory is touched only inside send, receive and
  // the transport's progress().
  virtual Progress send(Pieces pieces, const Signature& signature, uint64_t& ticket);
  virtual bool sent(uint64_t ticket) const { return ticket == 0; }
  // The ticket of the last message that either send accepted; 0 if nothing is queued.  A call must not return before sent(it): nobody
  // might drive this link afterwards, and the peer would wait in vain.
  virtual uint64_t last_ticket() const { return 0; }

  // Not streams.  The next message in place: `bytes` long, of this signature.
  virtual Progress receive(Slot& slot, size_t bytes, const Signature& expected);

  // Streams only.  The next message into `pieces`; called again with the same arguments until not busy.
  virtual Progress receive(Pieces pieces, const Signature& expected);

  virtual Status error() const = 0;        // after lost: why
  virtual Signature offender() const = 0;  // after mismatch: what the peer's message says
};

// What moving bytes through streams costs the processor: seconds a byte of the system's calls that moved at least kLeast bytes at once, of which
// the call itself is a small part.  Notes them while on.
struct StreamMeter {
  static constexpr size_t kLeast = 16 << 10, kMost = 4096;
  bool on = false;
  std::vector<double> sent, received;  // kMost at most
};

class Transport {
 public:
  virtual ~Transport() = default;
  virtual std::string_view name() const = 0;     // "shm"
  virtual bool streams() const = 0;              // what its links are, see Link::streams
  virtual Link& link(int peer, LinkUse use) = 0;  // made when first asked for; never a full mesh
  Link& link(int peer) { return link(peer, LinkUse::collectives); }
  virtual Status progress() = 0;              // moves what is queued, accepts connections; cheap when idle

  // The descriptors that the links' last answers of `busy` wait for, if one of these becoming ready is all that can change an answer:
  // whoever waits may then sleep in poll().  False: it must ask again by itself.
  virtual bool awaited(std::vector<pollfd>& /*descriptors*/) { return false; }

  // What this rank has sent has reached its peers' systems: nobody misses it if this process ends now.
  virtual bool drained() { return true; }

  virtual StreamMeter* meter() { return nullptr; }  // of all links; null: they are no streams

  virtual size_t memory_bytes() const = 0;  // besides the pool
  virtual uint64_t sent_bytes() const { return 0; }
};

}  // namespace tutti
