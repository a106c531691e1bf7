// Links: how the engine moves messages to one peer and from it, whatever carries them.
//
// Contract.  The one thread that drives the engine calls everything here.  Nothing blocks: `busy` means ask again.  A
// link is ordered and reliable, in both directions independently.  Whoever receives knows which message comes next, how
// long it is and what its signature is, if only since it has peeked; a message that differs is reported as `mismatch`,
// never delivered.
//
// A link has one of three forms, which differ in where the bytes of a message lie.  The engine asks for the form when
// it makes its entry for the peer, and from then on uses the functions of that form.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

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

enum class LinkForm : uint8_t { slots, bytes, puts };

// Common to links of every form.
class Link {
 public:
  virtual ~Link();
  virtual LinkForm form() const = 0;  // of a SlotLink, a ByteLink or a PutLink

  // Sends the first `bytes` of `slot`; on done one holder has passed to the link.  An empty message needs no slot.
  virtual Progress send(Slot slot, size_t bytes, const Signature& signature) = 0;

  // The ticket of the last message that was accepted; 0 if nothing is under way.  sent(ticket): this message and all
  // before it have left this rank's memory.  A call returns only when its last message is sent: afterwards no thread
  // might drive this link, and the peer would wait in vain.
  virtual uint64_t last_ticket() const = 0;
  virtual bool sent(uint64_t ticket) const = 0;

  // The signature of the next message, once that has begun to arrive; it stays the next.  `lost` as from receive().
  virtual Progress peek(Signature& next) = 0;

  virtual Status error() const = 0;        // after lost: why
  virtual Signature offender() const = 0;  // after mismatch: the signature of the peer's message
};

// Hands slots themselves over, between ranks that share a pool.
class SlotLink : public Link {
 public:
  LinkForm form() const final { return LinkForm::slots; }
  uint64_t last_ticket() const final { return 0; }  // what is handed over has left
  bool sent(uint64_t) const final { return true; }

  // The next message in place, `bytes` long, of this signature.  On done the caller holds the slot.
  virtual Progress receive(Slot& slot, size_t bytes, const Signature& expected) = 0;
};

// A byte stream, which sends from and receives into the caller's memory, slots included.
class ByteLink : public Link {
 public:
  LinkForm form() const final { return LinkForm::bytes; }

  using Link::send;
  // Sends from the caller's memory, which must not change until sent(ticket).  done: accepted, perhaps still queued.
  // The link touches the caller's memory only inside send, receive and the transport's progress().
  virtual Progress send(Pieces pieces, const Signature& signature, uint64_t& ticket) = 0;

  // The next message into `pieces`; called again with the same arguments until not busy.
  virtual Progress receive(Pieces pieces, const Signature& expected) = 0;
};

// Puts messages into slots of the receiver's pool, as RDMA does: the sender writes into memory that is registered.
//
// Landing slots.  When a link is made, its receiver sets some slots of its pool aside (SlotPool::set_aside) and tells
// the sender where they lie.  These are the sender's credits: each message needs one, and without one send() is busy.
// receive() is given a free slot of the same pool in exchange for the one that holds the message.  So the number of
// credits stays, and a receiver that keeps a message, or passes it on, delays no sender.
//
// Slots sent are read until they are written to the peer; then the link drops its holder.  Writes may complete in any
// order.  All slots of this rank's arena are registered.  Loans are not, so the engine sends none over such a link.
// Slot::target does not travel.
//
// A short message may travel with its header, without a credit; receive() copies it into the slot that it was given.
class PutLink : public Link {
 public:
  LinkForm form() const final { return LinkForm::puts; }

  // The next message, `bytes` long, of this signature.  `slot`: a free slot of this rank's pool with one holder (none
  // for an empty message), the same until not busy.  On done it is the slot that holds the message, likewise this
  // rank's, with one holder.
  virtual Progress receive(Slot& slot, size_t bytes, const Signature& expected) = 0;
};

}  // namespace tutti
