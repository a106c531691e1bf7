// The memory in which ranks' kernels meet: each rank's device holds, for every other rank and lane and each protocol, a
// channel and the slots that this peer fills (device_call.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "device_call.h"
#include "reachable_memory.h"

namespace tutti::cuda {

// Equal at all ranks.  In memory: a head, the channels of each protocol, the stamped slots, the flagged ones.
struct ArenaShape {
  uint32_t ranks = 1, lanes = 1;
  std::array<uint64_t, kProtocols> slot_bytes{};  // by protocol, as they lie in memory; multiples of 16

  // In front of the channels: DeviceCallHeader::void_call, and for each peer a word that it writes when it has come.
  static constexpr uint32_t kMostRanks = 128;
  static constexpr uint64_t greeting_at(uint64_t peer) { return sizeof(Channel) + peer * sizeof(double); }
  static constexpr uint64_t kHeadBytes = sizeof(Channel) + kMostRanks * sizeof(double);
  static_assert(kHeadBytes % alignof(Channel) == 0);

  // What begins as zeros: all but the flagged slots.
  uint64_t cleared_bytes() const { return slots_at(Protocol::flagged, 0); }
  uint64_t bytes() const { return slots_at(Protocol::flagged, ranks); }
  uint64_t channels_end() const { return channels_at(Protocol::stamped, ranks); }
  uint64_t channels_at(Protocol protocol, uint32_t peer) const {
    return kHeadBytes + (static_cast<uint64_t>(protocol) * ranks + peer) * lanes * sizeof(Channel);
  }
  uint64_t slots_at(Protocol protocol, uint32_t peer) const {
    const uint64_t begin = protocol == Protocol::stamped ? channels_end() : slots_at(Protocol::stamped, ranks);
    return begin + uint64_t{peer} * lanes * kChannelSlots * slot_bytes[static_cast<size_t>(protocol)];
  }
  // The longest message that a slot holds.
  uint64_t message_bytes(Protocol protocol) const {
    const uint64_t bytes = slot_bytes[static_cast<size_t>(protocol)];
    return protocol == Protocol::stamped ? bytes / stamped_slot_bytes(1) : bytes;
  }
};

// Its cleared_bytes() are zero when this returns, which it waits for on this stream.
Result<std::shared_ptr<const ReachableMemory>> allocate_arena(const SharedContext& context, const ArenaShape& shape,
                                                              std::shared_ptr<MemoryPool> pool, CUstream stream);

}  // namespace tutti::cuda
