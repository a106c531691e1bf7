// A lane: the cursor that carries one stripe of an operation through its program.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "coded_payload.h"
#include "executor.h"
#include "link_forms.h"
#include "slot.h"
#include "space.h"
#include "turn.h"

namespace tutti {

// A contiguous part of an instruction's blocks in one stripe.
struct Part {
  const std::byte* own;    // this rank's value
  std::byte* destination;  // of the new value; null if it is not kept
  size_t bytes;
  Space space;
};

struct Loan {
  Slot slot;
  size_t bytes;
  uint32_t link;  // its first receiver
};

// A send from this rank's memory.
struct Sending {
  Link* link;
  uint64_t ticket;
  const std::byte* data;
  size_t bytes;
};

// Memory of a peer that takes the result of an instruction.
struct Offer {
  uint32_t link;
  std::byte* destination;
};

// The next thing that a lane does with its instruction.
enum class Phase : uint8_t {
  prepare,
  take,     // messages from the in ports
  compute,  // give work to the executor
  settle,   // the work is done: return what it has read
  give,     // messages to the out ports
};

struct Lane {
  bool active = false;
  bool from_memory = false;  // the value to give is in this rank's memory, not in `slot`
  bool kept_identities = false;
  Phase phase = Phase::prepare;
  uint32_t number = 0;
  uint32_t pc = 0;        // instruction
  uint32_t port = 0;      // next in or out port of it
  uint32_t reserved = 0;  // slots promised and not yet acquired
  uint64_t stripe = 0;
  Ticket working = kDone;  // of the work under way, whose end the lane awaits
  StripePlace place;
  size_t bytes = 0;            // of the message
  Slot slot;                   // that the message is in
  std::vector<Slot> gathered;  // contributions of a fold, in the order of the in ports
  std::vector<Part> parts;
  std::vector<Piece> pieces;
  std::vector<const void*> sources;        // of a fold
  std::vector<const std::byte*> messages;  // packets to decode
  CodedOutcome outcome;                    // of decoding
  std::vector<std::byte> scratch;          // in the space of the call
  std::vector<Sending> sending;            // in this stripe
  std::vector<Loan> loans;                 // likewise
  std::vector<Offer> offers;               // of the peers whose messages are taken
};

}  // namespace tutti
