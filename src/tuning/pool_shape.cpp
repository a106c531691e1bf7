#include "pool_shape.h"

#include <algorithm>

#include "arena.h"
#include "fixed_sizes.h"

namespace tutti {
namespace {

// Smaller messages cost more in hand-overs and system calls than they win by overlap.
constexpr size_t kHostLeastStripe = 8 << 10;
constexpr size_t kNetLeastStripe = 32 << 10;
// Over TCP within a host nothing overlaps: the cores that reduce also carry.
constexpr size_t kLoopbackLeastStripe = 64 << 10;

constexpr uint64_t kFlaggedLeastStripe = 8 << 10;  // 16 bytes for each thread of a block
constexpr uint64_t kStampedLeastStripe = 4 << 10;  // 8 bytes

constexpr size_t kLargestShare = 16 << 20;  // bytes of each rank: slots, and what they take to be handed over
// Of each rank for messages, divided among its peers; one for each at least.
constexpr uint32_t kMessageSlots = 16;
constexpr size_t kHostSlotBytes = 64 << 10;  // four lanes stay in a core's own cache
constexpr size_t kNetSlotBytes = 512 << 10;  // few system calls

// No plan takes more slots for one lane: one for each peer's send or receive, and a few.
uint32_t slots_of_a_lane(int size) { return 2 * (static_cast<uint32_t>(size) + 8); }

}  // namespace

PoolShape pool_shape(int size, uint32_t local_ranks, uint32_t lanes, size_t slot_bytes, uint32_t put_peers) {
  constexpr size_t kPage = 4096;
  const auto ranks = static_cast<uint32_t>(size);
  const bool single_host = local_ranks == ranks;
  if (lanes == 0) lanes = standard_lanes(single_host);
  if (slot_bytes == 0) slot_bytes = single_host ? kHostSlotBytes : kNetSlotBytes;
  const uint32_t least_slots = slots_of_a_lane(size);
  // No plan moves more blocks at once than half of the ranks', and no stripe of a block is shorter than a cache line.
  const size_t least_bytes = (memory::kLine * ((ranks + size_t{1}) / 2) + kPage - 1) / kPage * kPage;
  const uint32_t message_peers = local_ranks - 1 + put_peers;
  const uint32_t least_message_slots = put_peers > 0 ? 2 : message_peers > 0 ? 1 : 0;  // puts: one to send, one to receive
  const uint32_t message_slots = message_peers > 0 ? std::max(kMessageSlots / message_peers, least_message_slots) : 0;
  PoolShape shape{lanes * least_slots, 0, message_slots, put_peers};  // two waves of lanes of most plans, one of the greediest
  const memory::ArenaShape without_slots{.ranks = ranks, .slots = shape.all_slots(local_ranks), .slot_bytes = 0};
  const size_t beside = without_slots.bytes_beside_slots();
  const size_t room = kLargestShare - std::min(kLargestShare, beside);
  shape.slot_bytes = std::max(std::min(slot_bytes, room / shape.all_slots(local_ranks) / kPage * kPage), least_bytes);
  if (shape.all_slots(local_ranks) * shape.slot_bytes > room) {  // fewer lanes then, see cut
    shape.message_slots = least_message_slots;
    const auto affordable = static_cast<uint32_t>(room / shape.slot_bytes);
    shape.slots = std::max(least_slots, affordable - std::min(affordable, shape.all_slots(local_ranks) - shape.slots));
  }
  return shape;
}

Cut cut(const RouteTerms& terms, uint64_t block_bytes, uint32_t widest_run, const Cut& wish, size_t unit) {
  uint32_t most_lanes = terms.lanes > 0 ? terms.lanes : standard_lanes(terms.single_host);
  // All lanes of a wave must be able to hold their slots at once: a message of one may have to follow one of the next.
  if (terms.slots > 0) most_lanes = std::clamp(terms.slots / slots_of_a_lane(terms.size), 1u, most_lanes);
  const uint32_t lanes = wish.lanes > 0 ? std::min(wish.lanes, most_lanes) : most_lanes;
  const size_t least = terms.single_host ? kHostLeastStripe : terms.loopback ? kLoopbackLeastStripe : kNetLeastStripe;
  const size_t most = std::max(terms.slot_bytes / widest_run / unit * unit, unit);
  if (wish.stripe_bytes > 0) return {lanes, std::min(std::max(wish.stripe_bytes / unit * unit, unit), most)};
  const size_t even = (block_bytes + lanes - 1) / lanes;  // one stripe a lane
  const size_t wanted = std::max(least / std::max(widest_run, 1u), (even + unit - 1) / unit * unit);
  return {lanes, std::min(most, std::max(wanted / unit * unit, unit))};
}

DeviceCutting cut_on_device(const DeviceSlots& slots, uint64_t block_bytes, uint64_t blocks_moved, uint32_t widest_run,
                            std::optional<DeviceProtocol> protocol, const Cut& wish) {
  using enum DeviceProtocol;
  constexpr uint64_t kUnit = 64;
  const bool can_be_stamped = block_bytes != UINT64_MAX && slots.stamped_bytes >= widest_run * kUnit;
  const bool is_small = block_bytes <= kStampedUntil && block_bytes * blocks_moved <= kStampedUntil;
  if (!can_be_stamped || !protocol) protocol = can_be_stamped && is_small ? stamped : flagged;
  const uint64_t room = (protocol == stamped ? slots.stamped_bytes : slots.flagged_bytes) / widest_run;
  const uint64_t place = protocol == stamped ? 0 : 16;  // a flagged message's blocks may begin anywhere in so many bytes
  const uint64_t most = room < kUnit + place ? kUnit : (room - place) / kUnit * kUnit;
  const uint64_t lanes = wish.lanes > 0 ? std::min(wish.lanes, slots.lanes) : slots.lanes;
  const uint64_t even = block_bytes / lanes + (block_bytes % lanes != 0);
  const uint64_t least = protocol == stamped ? kStampedLeastStripe : kFlaggedLeastStripe;
  const uint64_t wanted = std::min(most, wish.stripe_bytes > 0 ? wish.stripe_bytes : std::max(least, even));
  const uint64_t stripe = (wanted + kUnit - 1) / kUnit * kUnit;
  const uint64_t stripes = block_bytes / stripe + (block_bytes % stripe != 0);
  return {*protocol, {static_cast<uint32_t>(std::clamp<uint64_t>(stripes, 1, lanes)), stripe}};
}

}  // namespace tutti
