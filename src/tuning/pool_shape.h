// How much memory a communicator has for messages, and into what pieces a call's data is cut to fit it.  Pure
// functions of what all ranks know.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "route_terms.h"
#include "slot.h"

namespace tutti {

// Lanes without TUTTI_LANES: in memory many small stripes keep the caches warm, over a network few large ones save
// system calls.
constexpr uint32_t standard_lanes(bool single_host) { return single_host ? 4 : 2; }

// The message slots of each rank.
struct PoolShape {
  uint32_t slots;  // for collectives
  size_t slot_bytes;
  uint32_t message_slots;  // beside these, for messages to each rank that shares memory with it or has a PutLink to it
  uint32_t put_peers;      // ranks that may have a PutLink to it, which sets slots aside

  // With those that are set aside: for collectives, for messages to one peer, and all.
  uint32_t collective_slots() const { return slots + put_peers * landing_slots(LinkUse::collectives); }
  uint32_t peer_slots(bool puts) const { return message_slots + (puts ? landing_slots(LinkUse::messages) : 0); }
  uint32_t all_slots(uint32_t local_ranks) const {
    return collective_slots() + peer_slots(false) * (local_ranks - 1) + peer_slots(true) * put_peers;
  }
};
// With everything else in the arena, at most 16 MiB for each rank of up to 300; beyond, as much as the plans need,
// about 100·size² bytes. Slots lie untouched, and cost nothing, until their rank first hands them out.  Faulting them
// in beforehand does not pay, since most communicators only ever use a few (a first call of 64 KiB among 8 ranks took
// 1.7 times as long). `lanes`, `slot_bytes`: TUTTI_LANES and TUTTI_SLOT_BYTES, 0 for the standard. `local_ranks`: of
// the largest group that shares memory.
PoolShape pool_shape(int size, uint32_t local_ranks, uint32_t lanes, size_t slot_bytes, uint32_t put_peers = 0);

struct Cut {
  uint32_t lanes;
  size_t stripe_bytes;  // of one block; a multiple of the unit
};

// How to cut blocks of `block_bytes` (the largest) for a plan whose messages move up to `widest_run` blocks.  A wish
// is heeded as far as the communicator's slots allow.  A message of one unit of each block fits into a slot.
Cut cut(const RouteTerms& terms, uint64_t block_bytes, uint32_t widest_run, const Cut& wish = {0, 0}, size_t unit = 64);

// The same for kernels of a device: up to `lanes` blocks of threads, of which each takes every so manieth stripe, and
// slots that hold so many bytes of a message.  `protocol`: none: stamped where it is faster.  It is never taken where
// its slots are too small for the plan, or where it is not known how long the blocks are (UINT64_MAX).
struct DeviceCutting {
  DeviceProtocol protocol;
  Cut cut;
};
struct DeviceSlots {
  uint32_t lanes;
  uint64_t flagged_bytes, stamped_bytes;
};
DeviceCutting cut_on_device(const DeviceSlots& slots, uint64_t block_bytes, uint64_t blocks_moved, uint32_t widest_run,
                            std::optional<DeviceProtocol> protocol, const Cut& wish = {0, 0});

}  // namespace tutti
