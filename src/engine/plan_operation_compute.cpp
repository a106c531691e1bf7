// What a lane does with what it took: one pass of a kernel over received and own parts, to wherever the result is wanted.
#include <algorithm>
#include <utility>

#include "plan_operation.h"

namespace tutti {

using kernels::Store;

void PlanOperation::compute(Lane& lane, const Instruction& instruction) {
  if (instruction.take == Take::nothing || lane.bytes == 0 || lane.from_home) return;
  if (coder_) return compute_coded(lane, instruction);
  const bool gives = !instruction.outs.empty();
  if (instruction.take == Take::fold) return compute_fold(lane, instruction);
  if (instruction.take == Take::recv_reduce && gives && (!lane.offers.empty() || !bank_.pool->writable(lane.slot))) {
    lane.gathered.assign(1, std::exchange(lane.slot, {}));
    return compute_fold(lane, instruction);
  }
  if (instruction.take == Take::recv) lane.offers.clear();  // a value that is passed on as it came is not delivered
  if (lane.slot.id == Slot::kDelivered) {
    lane.slot = {};
    return;
  }
  const bool landed = instruction.take == Take::recv_reduce && !lane.slot;
  std::byte* received = lane.slot.data;
  for (const Part& part : lane.parts) {
    if (landed) received = part.home;
    const Store store = instruction.last_touch ? arithmetic_.output_store : Store::cached;
    if (instruction.take == Take::recv) {
      if (instruction.keep_home) link_table_.workers->copy(part.home, nullptr, received, part.bytes, store);
    } else {
      std::byte* home = instruction.keep_home ? part.home : received;
      std::byte* pass = instruction.keep_home && gives ? received : nullptr;
      const std::byte* left = instruction.received_is_left ? received : part.own;
      const std::byte* right = instruction.received_is_left ? part.own : received;
      link_table_.workers->reduce(arithmetic_.reduce, arithmetic_.element_bytes, home, pass, left, right,
                             part.bytes / arithmetic_.element_bytes, instruction.completes ? arithmetic_.divisor : 1,
                             instruction.keep_home ? store : Store::cached);
    }
    received += part.bytes;
  }
  if (!gives && lane.slot) let_go(lane, instruction.ins[0], std::exchange(lane.slot, {}));
  if (any_takes_puts(instruction.outs) && !bank_.pool->writable(lane.slot)) copy_loan(lane);
}

// A loan is not in memory that puts are sent from.
void PlanOperation::copy_loan(Lane& lane) {
  const Slot loan = std::exchange(lane.slot, acquire(lane));
  link_table_.workers->copy(lane.slot.data, nullptr, loan.data, lane.bytes, Store::cached);
  bank_.pool->release(loan);
}

// In one pass over all contributions to everywhere the result goes: home, the homes that peers offered, and a slot for those who did not.
void PlanOperation::compute_fold(Lane& lane, const Instruction& instruction) {
  const size_t n = lane.gathered.size() + 1;
  const size_t own_position = instruction.take == Take::fold ? instruction.own_position : instruction.received_is_left ? 1 : 0;
  std::vector<const void*> sources(n);
  const Store store = instruction.last_touch ? arithmetic_.output_store : Store::cached;
  if (lane.offers.size() > kernels::kMostTargets - 2) lane.offers.resize(kernels::kMostTargets - 2);
  lane.slot = slot_for_result(lane, instruction);
  kernels::Target targets[kernels::kMostTargets];
  size_t offset = 0;
  for (const Part& part : lane.parts) {
    for (size_t i = 0, k = 0; i < n; ++i) sources[i] = i == own_position ? part.own : lane.gathered[k++].data + offset;
    size_t n_targets = 0;
    if (instruction.keep_home) targets[n_targets++] = {part.home, store};
    for (const Port& out : instruction.outs)
      if (const Offer* offer = offer_of(lane, out)) targets[n_targets++] = {offer->home + offset, store};
    if (lane.slot) targets[n_targets++] = {lane.slot.data + offset, Store::cached};
    link_table_.workers->fold(arithmetic_.fold, arithmetic_.element_bytes, targets, n_targets, sources.data(), n,
                         part.bytes / arithmetic_.element_bytes, instruction.completes ? arithmetic_.divisor : 1);
    offset += part.bytes;
  }
  let_go_gathered(lane, instruction);
}

// All that were received but the one that holds the result.
void PlanOperation::let_go_gathered(Lane& lane, const Instruction& instruction) {
  for (size_t i = 0; i < lane.gathered.size(); ++i)
    if (!lane.slot || lane.gathered[i].id != lane.slot.id) let_go(lane, instruction.ins[i], lane.gathered[i]);
  lane.gathered.clear();
}

// Packets instead of elements: what passes on goes in a slot that was received.
void PlanOperation::compute_coded(Lane& lane, const Instruction& instruction) {
  size_t damaged = 0;
  Status status;
  if (instruction.take == Take::recv) {
    status = coder_->take(binding_, instruction, number(lane), lane.stripe, lane.slot.data);
  } else {
    if (instruction.take == Take::recv_reduce) lane.gathered.assign(1, std::exchange(lane.slot, {}));
    std::vector<const std::byte*> messages;
    for (const Slot& slot : lane.gathered) messages.push_back(slot.data);
    lane.slot = slot_for_result(lane, instruction);
    status = coder_->reduce(binding_, instruction, number(lane), lane.stripe, messages, lane.slot.data, damaged);
    let_go_gathered(lane, instruction);
  }
  if (!status.ok()) trouble_ = {Trouble::Kind::damaged, program_.peers[instruction.ins[damaged].link].rank, std::move(status), {}};
  if (instruction.outs.empty() && lane.slot) let_go(lane, instruction.ins[0], std::exchange(lane.slot, {}));
}

// One of the slots received, if it may be written, else one of this rank's own, which is reserved; none if nobody needs one.
Slot PlanOperation::slot_for_result(Lane& lane, const Instruction& instruction) {
  if (receivers_of_slot(lane, instruction) == 0) return {};
  for (const Slot& slot : lane.gathered)
    if (bank_.pool->writable(slot)) return slot;
  return acquire(lane);
}

const PlanOperation::Offer* PlanOperation::offer_of(const Lane& lane, const Port& port) {
  for (const Offer& offer : lane.offers)
    if (offer.link == port.link) return &offer;
  return nullptr;
}

uint32_t PlanOperation::receivers_of_slot(const Lane& lane, const Instruction& instruction) {
  const auto needs_slot = [&](const Port& port) { return offer_of(lane, port) == nullptr; };
  return static_cast<uint32_t>(std::count_if(instruction.outs.begin(), instruction.outs.end(), needs_slot));
}

}  // namespace tutti
