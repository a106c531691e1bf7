// Slots: the memory that messages travel in, and the pool that a rank takes them from.
//
// Slots.  A message that is not sent from the caller's memory travels in a slot of the rank's pool.  Ranks that share
// memory share pools: the receiver gets the sender's slot itself, may change it when it is the only holder, and may
// pass it on.  A slot is held by `holders` references; each send hands one to the receiver, release() drops one.
//
// Loans.  Where ranks can reach each other's memory, a slot may be a loan: its bytes are not the pool's but the
// sender's own memory, which must not change until the loan is returned.  A loan is read, passed on and released like
// any slot, and never written.
#pragma once

#include <cstddef>
#include <cstdint>

#include "space.h"
#include "vocabulary.h"

namespace tutti {

struct Slot {
  // The id of a message that brings nothing: its bytes are already where the receiver wanted them.
  static constexpr uint32_t kDelivered = UINT32_MAX;

  std::byte* data = nullptr;  // null: none
  uint32_t id = 0;            // pool-wide number, meaningful to every rank that shares the pool
  Space space = Space::host;  // of the data
  // Travels with a message: where its sender wants the result of these blocks, if the receiver can reach it.
  std::byte* target = nullptr;
  explicit operator bool() const { return data != nullptr; }
};

// Slots that a link sets aside whose peer writes into them (PutLink).  Messages follow one another less closely.
constexpr uint32_t landing_slots(LinkUse use) { return use == LinkUse::collectives ? 4 : 2; }

class SlotPool {
 public:
  virtual ~SlotPool() = default;
  virtual Slot acquire() = 0;                           // one of this rank's own slots with one holder, or none yet
  virtual void add_holders(Slot slot, uint32_t n) = 0;  // before handing it to n more receivers
  virtual void release(Slot slot) = 0;                  // drops one holder; any rank's slot

  // As acquire(), for a link that keeps this slot, or others in exchange, for good.  slots() no longer counts it.
  virtual Slot set_aside() = 0;

  // Loans.  `lends`: there may be some.  `reaches`: the ranks that share the pool can read and write this memory.
  // `lend`: a loan with one holder, or none, then the bytes must be copied.  `returned`: no holder is left.
  virtual bool lends() const { return false; }
  virtual bool reaches(const std::byte* /*memory*/, size_t /*bytes*/) const { return false; }
  virtual Slot lend(const std::byte* /*memory*/, size_t /*bytes*/) { return {}; }
  virtual bool returned(Slot /*loan*/) const { return true; }
  virtual bool writable(Slot /*slot*/) const { return true; }

  virtual size_t slot_bytes() const = 0;
  virtual uint32_t slots() const = 0;               // of this rank
  // So many acquire() would succeed now; looks for more up to `wanted`.
  virtual uint32_t available(uint32_t wanted) = 0;
  virtual size_t memory_bytes() const = 0;          // what this rank pays for the pool
};

}  // namespace tutti
