// What a launch of an interpreter is told: a Program (src/plan/program.h) as plain bytes, where everything is, and how
// the data is cut.  It is a kernel's parameter, passed by value, so that a graph keeps all of it.
//
// A block of the grid is a lane: it carries the stripes lane, lane + lanes, … through the program, and talks to the
// same lane of other ranks only, over channels of its own.
#pragma once

#include <cstddef>
#include <cstdint>

#include "loan.h"

namespace tutti::cuda {

// Messages of a channel that may be under way.  A channel of two slots is a link that holds one message besides the one
// that its receiver is reading, and no plan needs more (tests/plan/deadlock_test.cpp).
inline constexpr uint32_t kChannelSlots = 2;
inline constexpr uint32_t kInterpreterThreads = 512;  // of a block, at most
inline constexpr uint32_t kCallsTold = 4;             // the last ones

// How messages travel.  Each protocol has channels and slots of its own.
enum class Protocol : uint32_t {
  // The slot holds the data, and a word in the channel says that it does.  For any size: at the speed of the memory,
  // but each message waits for the data to arrive before the word may be written (NCCL calls this Simple).
  flagged,
  // Each word of 8 bytes in the slot holds 4 of data and a stamp, and is written and read whole: data that are there
  // show it themselves.  For small sizes: twice the bytes, and nothing waits (NCCL: LL).
  stamped,
};
inline constexpr uint32_t kProtocols = 2;

// One lane's traffic with one peer by one protocol, in a rank's own memory.  Numbers of messages go on from launch to
// launch, so that a graph can be replayed as it is.
struct alignas(128) Channel {
  uint64_t sent, received;       // by this rank; nobody else looks
  uint64_t taken;                // how many of those sent the peer has read; it writes this
  uint64_t flag[kChannelSlots];  // flagged: flag_of() of the message in the slot; the peer writes this
  uint64_t loan[kChannelSlots];  // likewise: LoanWord of that message; the peer writes this
  // Of flagged channels:
  uint64_t called[kCallsTold];  // count << 32 | hash of the peer's last calls with this rank; the peer writes this
  uint64_t told;                // the count of this rank's last call with the peer; nobody else looks
};

// The calls of a lane are counted, whatever their protocol; the count goes on from launch to launch, too.  Messages
// bear their call's hash mixed with its count, so that one of another call is not believed, not even of a like call
// before or after.  And each rank tells its peers what it calls: where calls differ in protocol, no message shows that.
constexpr uint32_t mixed(uint32_t hash, uint64_t count) { return hash ^ (static_cast<uint32_t>(count) * 0x9E3779B1U); }
// Of an exchange each rank knows its own lengths only, so a flag says how long its message is, too.
constexpr uint64_t flag_of(uint64_t number, uint32_t mixed_hash, uint64_t bytes) {
  return number << 32 | (mixed_hash ^ (static_cast<uint32_t>(bytes) * 0x85EBCA6BU));
}

// The stamps of a message: bits of its number, so that words of an older message are not taken for its, and of the
// call's hash.  Stamped messages of a channel are numbered without a gap, so what is left in a slot are words of older
// ones there; one message in every kSweepEvery numbers overwrites the slot to its end.  So no word is older than that
// many numbers, and none has the stamp that is waited for.  (22 bits of the hash are left, beside what ranks tell each
// other of their calls.)
inline constexpr uint32_t kStampNumberBits = 10;
inline constexpr uint64_t kSweepEvery = 1 << (kStampNumberBits - 1);
constexpr uint32_t stamp_of(uint64_t number, uint32_t hash) {
  return hash << kStampNumberBits | (number & ((1U << kStampNumberBits) - 1));
}
constexpr bool sweeps_slot(uint64_t number) { return number % kSweepEvery < kChannelSlots; }
// Of a slot that holds messages of so many bytes.
constexpr uint64_t stamped_slot_bytes(uint64_t message_bytes) { return 2 * message_bytes; }

struct DevicePeer {
  Channel* mine;           // by lane, in this rank's memory
  Channel* theirs;         // by lane, in the peer's
  const std::byte* inbox;  // by lane and slot, this rank's memory, which the peer fills
  std::byte* outbox;       // by lane and slot, the peer's
  uint64_t rank;
};

enum class DeviceTake : uint8_t { nothing, recv, recv_reduce, fold };  // as Take

struct alignas(4) DeviceInstruction {  // segments follow in memory
  DeviceTake take;
  uint8_t completes, received_is_left, keeps;
  uint8_t lends;  // peers may read its value here, in memory that this call does not write any more
  uint16_t own_position, first_in, ins, first_out, outs, first_segment, segments, step;
};

struct DeviceSegment {
  uint32_t block;
  uint16_t count, scratch;
  uint8_t from_input, in_output;
};
static_assert(sizeof(DeviceInstruction) % alignof(DeviceSegment) == 0);
static_assert(sizeof(DeviceSegment) % alignof(uint16_t) == 0);  // of the ports, which follow these

// A block that is a place of its own.
struct DeviceBlock {
  const std::byte* input;  // null where the block is not input
  std::byte* output;       // null where it is not output
  uint64_t bytes;
  uint64_t place;  // where in 16 bytes its messages begin: as all ranks see it in their vectors, if these are aligned
};

enum class DeviceCut : uint32_t {
  vector,    // the blocks are equal parts of each stripe's chunk of one vector
  blocks,    // block b is the b-th
  exchange,  // of all ranks to all: this rank's row, then its column
};

// Behind it in memory: the peers, the blocks, the instructions (those that only copy an input to the output last), the
// segments and the ports, each of which is the number of a peer, as a uint16_t.
struct DeviceCallHeader {
  const std::byte* program;     // what is behind, where that has not room there
  std::byte* scratch;           // by lane and scratch block; each lane goes on with its own
  const uint32_t* given_up;     // not 0 when the ranks have given up: who sees that writes nothing more; the host's memory
  const uint32_t* void_call;    // not 0 when calls that have not begun must not begin; of this device, where a look is cheap
  uint64_t* report;             // two words of this rank: who waits, and what is worse; else not written (DeviceReport)
  Channel* calls;               // by lane, of this rank with itself: `received` counts calls
  uint64_t to_flagged;          // bytes from this protocol's channels to the flagged ones
  const DeviceRegion* regions;  // kRegionsOfRank of each rank
  LentRegion lent[kMostLent];   // what this rank may lend
  uint64_t least_loan;          // bytes; shorter messages lie in slots
  const std::byte* input;       // of a vector
  std::byte* output;            // likewise
  uint64_t bytes;               // likewise
  uint64_t stripe_bytes;        // of a block, a multiple of 64
  uint64_t stripes;
  uint64_t slot_bytes;  // as they lie in memory; a multiple of 16
  uint32_t hash;        // of the call: messages of others are not believed
  uint32_t mixed_hash;  // each lane's own, as is the next: it puts them there
  uint64_t call;        // its count
  uint32_t divisor;     // of averages
  uint32_t rank, blocks;
  DeviceCut cut;
  Protocol protocol;
  uint32_t program_bytes;
  uint16_t peers, block_rows, instructions, segments, ports, scratch_blocks;
};

inline constexpr size_t kMostParameterBytes = 4096;  // what every driver takes
inline constexpr size_t kProgramBytesInCall = kMostParameterBytes - sizeof(DeviceCallHeader) - 16;

struct alignas(16) DeviceCall {
  // Where all ranks run in one launch, rank r as the r-th row of the grid: their calls.  Tools that let one kernel run
  // at a time could not run ranks that wait for each other otherwise.
  const DeviceCall* world;
  DeviceCallHeader header;
  alignas(8) std::byte program[kProgramBytesInCall];
};
static_assert(sizeof(DeviceCall) <= kMostParameterBytes);

// Between scratch blocks, so that each can begin where its messages do.
constexpr uint64_t scratch_pitch(uint64_t stripe_bytes) { return stripe_bytes + 16; }

// Of a lane.
constexpr uint64_t scratch_bytes(const DeviceCallHeader& header) {
  return header.scratch_blocks * scratch_pitch(header.stripe_bytes);
}

// The most bytes that a run of so many blocks takes in a slot.
constexpr uint64_t message_bytes(uint64_t stripe_bytes, uint64_t run) { return run * (stripe_bytes + 16); }

// Shared memory of a block: what is noted of each peer, and the call.
struct InterpreterPeer {
  uint64_t sent, received, taken;  // `taken` as it was when last looked at
  uint64_t lent;                   // the last message that the peer reads in this rank's memory; 0: none
  uint64_t in_number, out_number, out_flag, out_loan;
  const std::byte* in;
  std::byte* out;
};
constexpr uint64_t interpreter_shared_bytes(const DeviceCallHeader& header) {
  return header.peers * sizeof(InterpreterPeer) + sizeof(DeviceCallHeader) + header.program_bytes;
}

// What a kernel says of a peer that it waits for; 0: nothing is amiss.
struct DeviceReport {
  enum class Kind : uint8_t {
    none,
    waits,     // no word of the peer for a second; said again each second
    mismatch,  // the peer's message is of another call
    stray,     // the peer's message lies nowhere that this rank knows
  };
  static constexpr uint32_t kMostSeconds = 63;
  Kind kind;
  uint32_t seconds;  // for which it has waited; more are kMostSeconds
  uint32_t peer;     // rank; in 8 bits
  uint32_t step;     // of the plan; in 16 bits
  uint32_t hash;     // of the call

  constexpr uint64_t word() const {
    const uint64_t time = seconds < kMostSeconds ? seconds : kMostSeconds;
    return uint64_t{static_cast<uint8_t>(kind)} << 62 | time << 56 | uint64_t{peer & 0xFF} << 48 | uint64_t{step & 0xFFFF} << 32 |
           hash;
  }
  static constexpr DeviceReport of(uint64_t word) {
    return {static_cast<Kind>(word >> 62), static_cast<uint32_t>(word >> 56 & 0x3F), static_cast<uint32_t>(word >> 48 & 0xFF),
            static_cast<uint32_t>(word >> 32 & 0xFFFF), static_cast<uint32_t>(word)};
  }
};

}  // namespace tutti::cuda
