// Giving: the value of an instruction's blocks goes to its out ports.
#include <algorithm>

#include "plan_operation.h"

namespace tutti {

bool PlanOperation::give(Lane& lane, const Instruction& instruction) {
  const auto& outs = instruction.outs;
  if (outs.empty()) return true;
  const bool by_reference =
      lane.from_memory && !lane.slot && in_host_memory() && all_take_bytes(outs) && lane.parts.size() <= kMaxPieces;
  if (!by_reference && !ready_slot(lane, instruction)) return false;
  for (; lane.port < outs.size(); ++lane.port) {
    const Port& port = outs[lane.port];
    if (!send_turn(lane, port)) return false;
    if (travels(lane)) {
      const Progress progress = send(lane, instruction, port, by_reference);
      if (progress != Progress::done) return fail(progress, port, lane);
      traffic_.sent_bytes += lane.bytes;
    }
    sent_one(port);
  }
  lane.slot = {};
  return true;
}

// The value is in a slot, if anyone needs one.
bool PlanOperation::ready_slot(Lane& lane, const Instruction& instruction) {
  if (lane.slot || lane.bytes == 0 || receivers_of_slot(lane, instruction) == 0) return true;
  if (!lend(lane, instruction) && !fill_slot(lane, instruction)) return false;
  if (instruction.offers && lane.parts.size() == 1 && bank_.pool->reaches(lane.parts[0].destination, lane.bytes))
    lane.slot.target = lane.parts[0].destination;
  share(lane, instruction);
  return lane.working == kDone;
}

Progress PlanOperation::send(Lane& lane, const Instruction& instruction, const Port& port, bool by_reference) {
  static constexpr Slot kWord{nullptr, Slot::kDelivered};
  PeerState& peer = peers_[port.link];
  if (by_reference) return send_memory(lane, instruction, peer);
  Link& link = *peer.queues->link;
  const Slot& slot = lane.bytes == 0 || offer_of(lane, port) ? kWord : lane.slot;
  const Progress progress = link.send(slot, lane.bytes, signature_of(lane));
  if (progress == Progress::done && !peer.queues->slots) peer.ticket = link.last_ticket();
  return progress;
}

Progress PlanOperation::send_memory(Lane& lane, const Instruction& instruction, PeerState& peer) {
  ByteLink& link = *peer.queues->bytes;
  lane.pieces.clear();
  for (const Part& part : lane.parts) {
    const std::byte* from = instruction.take == Take::nothing ? part.own : part.destination;
    lane.pieces.push_back({const_cast<std::byte*>(from), part.bytes});
  }
  const Progress progress = link.send(Pieces(lane.pieces), signature_of(lane), peer.ticket);
  if (progress != Progress::done) return progress;
  for (const Piece& piece : lane.pieces) lane.sending.push_back({&link, peer.ticket, piece.data, piece.bytes});
  return progress;
}

// ---- the slot that is sent ----

// The value as it lies in this rank's memory, if the peers can reach it there.
bool PlanOperation::lend(Lane& lane, const Instruction& instruction) {
  if (!instruction.lends || lane.parts.size() != 1 || !in_host_memory() || any_takes_puts(instruction.outs)) return false;
  lane.slot = bank_.pool->lend(lane.parts[0].own, lane.bytes);
  if (lane.slot) lane.loans.push_back({lane.slot, lane.bytes, instruction.outs[0].link});
  return static_cast<bool>(lane.slot);
}

bool PlanOperation::fill_slot(Lane& lane, const Instruction& instruction) {
  lane.slot = acquire(lane);
  if (!lane.slot) return false;
  if (coded_) {
    CodedWork work = coded_work(lane, CodedWork::Kind::pack, instruction.segments);
    work.result = lane.slot.data;
    lane.working = executor_.coded(lane.number, work);
    return true;
  }
  std::byte* to = lane.slot.data;
  for (const Part& part : lane.parts) {
    lane.working = executor_.copy(
        lane.number, {.to = to, .from = part.own, .bytes = part.bytes, .to_space = lane.slot.space, .from_space = part.space});
    to += part.bytes;
  }
  return true;
}

// Each receiver gets a holder of its own before the slot is in anyone's hands.
void PlanOperation::share(Lane& lane, const Instruction& instruction) {
  if (instruction.outs.size() < 2) return;
  const uint32_t receivers = receivers_of_slot(lane, instruction);
  if (receivers > 1) bank_.pool->add_holders(lane.slot, receivers - 1);
}

const Offer* PlanOperation::offer_of(const Lane& lane, const Port& port) {
  for (const Offer& offer : lane.offers)
    if (offer.link == port.link) return &offer;
  return nullptr;
}

uint32_t PlanOperation::receivers_of_slot(const Lane& lane, const Instruction& instruction) {
  const auto needs_slot = [&](const Port& port) { return offer_of(lane, port) == nullptr; };
  return static_cast<uint32_t>(std::count_if(instruction.outs.begin(), instruction.outs.end(), needs_slot));
}

// ---- turns ----

bool PlanOperation::send_turn(const Lane& lane, const Port& port) const {
  const PeerState& peer = peers_[port.link];
  return peer.queues->sends.now_serving == peer.send_number &&
         peer.sends == turn(lane.place, port.index, program_.peers[port.link].sends);
}

void PlanOperation::sent_one(const Port& port) {
  PeerState& peer = peers_[port.link];
  if (++peer.sends == program_.peers[port.link].sends * binding_.stripes()) ++peer.queues->sends.now_serving;
}

}  // namespace tutti
