// What two ends of a link tell each other.  Pure functions of untrusted bytes.
//
//   over TCP, once:      EndAddress in each direction, then one byte: "I receive"
//   over the queue pair: frames, each followed by the payload of a short message
//
// Everything is little endian, as it lies in memory.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "status.h"
#include "vocabulary.h"

namespace tutti::rdma {

static_assert(std::endian::native == std::endian::little, "frames and signatures are sent as they lie in memory");

inline constexpr uint32_t kMostLanding = 4;  // slots of a link that the peer may write into

// One end of a queue pair, and where its peer may write.
struct EndAddress {
  uint32_t magic = 0x72747554;  // "Tutr"
  uint32_t version = 1;         // of this and of Frame
  uint32_t queue_pair = 0, first_packet = 0;
  uint8_t gid[16] = {};
  uint16_t lid = 0;
  uint8_t mtu = 0;       // ibv_mtu
  uint8_t ethernet = 0;  // 1: RoCE
  uint32_t key = 0;      // rkey of the landing slots
  uint64_t slot_bytes = 0;
  uint64_t landing[kMostLanding] = {};  // addresses; 0: no more
};
static_assert(sizeof(EndAddress) == 80);

// None unless it is whole, of our version, and of numbers that make sense.
std::optional<EndAddress> decode_end_address(std::span<const std::byte> bytes);

// Begins every message of the queue pair.  Returned credits travel with messages, or in a frame of their own.
struct Frame {
  enum class Kind : uint8_t { message = 1, credits = 2 };
  static constexpr uint16_t kMagic = 0x7454;  // "Tt"

  uint16_t magic = kMagic;
  Kind kind = Kind::message;
  uint8_t returned = 0;                 // addresses in `landing`
  uint32_t bytes = 0;                   // of the message
  Signature signature;                  // of the message
  uint64_t place = 0;                   // where it was written; 0: it follows
  uint64_t taken = 0;                   // messages of the other direction that were taken out, since the beginning
  uint64_t landing[kMostLanding] = {};  // where more may be written
};
static_assert(sizeof(Frame) == 88);

// The payload of a message that travels with its frame, at most.
inline constexpr size_t kBufferBytes = 1024, kMostShort = kBufferBytes - sizeof(Frame);

// None unless it is a frame that agrees with its own length.
std::optional<Frame> decode_frame(std::span<const std::byte> bytes);

}  // namespace tutti::rdma
