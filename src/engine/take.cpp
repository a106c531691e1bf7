// Taking: the messages of an instruction's in ports, each received where that is best.
#include <algorithm>
#include <utility>

#include "plan_operation.h"

namespace tutti {

using kernels::Store;

bool PlanOperation::take(Lane& lane, const Instruction& instruction) {
  for (; lane.port < instruction.ins.size(); ++lane.port) {
    const Port& port = instruction.ins[lane.port];
    if (!receive_turn(lane, port)) return false;
    if (travels(lane)) {
      if (!take_from(lane, instruction, *peers_[port.link].queues)) return false;
      traffic_.received_bytes += lane.bytes;
    }
    received_one(port);
  }
  lane.phase = Phase::compute;
  return true;
}

bool PlanOperation::take_from(Lane& lane, const Instruction& instruction, PeerQueues& peer) {
  const Progress progress = peer.slots  ? take_slot(lane, instruction, *peer.slots)
                            : peer.puts ? take_put(lane, *peer.puts)
                                        : take_bytes(lane, instruction, *peer.bytes);
  if (progress != Progress::done) return fail(progress, instruction.ins[lane.port], lane);
  if (instruction.take == Take::fold) lane.gathered.push_back(std::exchange(lane.slot, {}));
  return true;
}

Progress PlanOperation::take_slot(Lane& lane, const Instruction& instruction, SlotLink& link) {
  const Progress progress = link.receive(lane.slot, lane.bytes, signature_of(lane));
  if (progress != Progress::done) return progress;
  if (lane.bytes == 0) lane.slot = {};
  if (lane.slot.target) lane.offers.push_back({instruction.ins[lane.port].link, std::exchange(lane.slot.target, nullptr)});
  return progress;
}

Progress PlanOperation::take_put(Lane& lane, PutLink& link) {
  if (lane.bytes > 0 && !lane.slot && !(lane.slot = acquire(lane))) return Progress::busy;
  return link.receive(lane.slot, lane.bytes, signature_of(lane));
}

Progress PlanOperation::take_bytes(Lane& lane, const Instruction& instruction, ByteLink& link) {
  const bool into_memory = !coded_ && in_host_memory() && instruction.keeps && lane.parts.size() <= kMaxPieces;
  const bool straight = into_memory && instruction.take == Take::recv && all_take_bytes(instruction.outs);
  if (straight || (into_memory && lands_at_destination(lane, instruction))) {
    // The message contains what this lane sent from the same memory (a plan sends each contribution once), so this
    // wait is short.
    if (straight && instruction.after_flush && !may_overwrite(lane)) return Progress::busy;
    lane.pieces.clear();
    for (const Part& part : lane.parts) lane.pieces.push_back({part.destination, part.bytes});
    lane.from_memory = straight;
    return link.receive(Pieces(lane.pieces), signature_of(lane));
  }
  if (!lane.slot && !(lane.slot = acquire(lane))) return Progress::busy;
  const Piece piece{lane.slot.data, lane.bytes};
  return link.receive(Pieces(&piece, 1), signature_of(lane));
}

// Is a contribution from a stream best received where its sum will be?  Then the kernel's copy brings that memory into
// the cache and the reduction finds it there, which is faster than a slot's detour as long as the sum is not to bypass
// the cache.  Nothing that this lane still sends is there: this rank's value is elsewhere.
bool PlanOperation::lands_at_destination(const Lane& lane, const Instruction& instruction) const {
  return instruction.take == Take::recv_reduce && instruction.outs.empty() && arithmetic_.output_store == Store::cached &&
         std::all_of(lane.parts.begin(), lane.parts.end(), [](const Part& part) { return part.own != part.destination; });
}

bool PlanOperation::receive_turn(const Lane& lane, const Port& port) const {
  const PeerState& peer = peers_[port.link];
  return peer.queues->receives.now_serving == peer.receive_number &&
         peer.receives == turn(lane.place, port.index, program_.peers[port.link].receives);
}

void PlanOperation::received_one(const Port& port) {
  PeerState& peer = peers_[port.link];
  if (++peer.receives == program_.peers[port.link].receives * binding_.stripes()) ++peer.queues->receives.now_serving;
}

}  // namespace tutti
