// Computing: one pass over received and own parts, to wherever the result is wanted.
#include <algorithm>
#include <utility>

#include "plan_operation.h"

namespace tutti {

using kernels::Store;

void PlanOperation::compute(Lane& lane, const Instruction& instruction) {
  if (lane.bytes == 0 || lane.from_memory) return;
  if (coded_) return compute_coded(lane, instruction);
  if (instruction.take == Take::recv) return keep_received(lane, instruction);
  if (instruction.take == Take::fold) return fold(lane, instruction);
  const bool in_one_place = instruction.outs.empty() || (lane.offers.empty() && bank_.pool->writable(lane.slot));
  if (in_one_place) return reduce_received(lane, instruction);
  lane.gathered.assign(1, std::exchange(lane.slot, {}));
  fold(lane, instruction);
}

void PlanOperation::keep_received(Lane& lane, const Instruction& instruction) {
  lane.offers.clear();  // a value that is passed on as it came is not delivered
  if (lane.slot.id == Slot::kDelivered) {
    lane.slot = {};
    return;
  }
  if (instruction.keeps) {
    const Store store = instruction.last_touch ? arithmetic_.output_store : Store::cached;
    const std::byte* received = lane.slot.data;
    for (const Part& part : lane.parts) {
      lane.working = executor_.copy(lane.number, {.to = part.destination,
                                                  .from = received,
                                                  .bytes = part.bytes,
                                                  .store = store,
                                                  .to_space = part.space,
                                                  .from_space = lane.slot.space});
      received += part.bytes;
    }
  }
  if (any_takes_puts(instruction.outs) && !bank_.pool->writable(lane.slot)) copy_loan(lane);
}

// A loan is not in memory that puts are sent from.
void PlanOperation::copy_loan(Lane& lane) {
  const Slot loan = std::exchange(lane.slot, acquire(lane));
  lane.gathered.assign(1, loan);
  lane.working = executor_.copy(lane.number, {.to = lane.slot.data,
                                              .from = loan.data,
                                              .bytes = lane.bytes,
                                              .to_space = lane.slot.space,
                                              .from_space = loan.space});
}

// In the slot received, or, if the message landed at its destination, there.
void PlanOperation::reduce_received(Lane& lane, const Instruction& instruction) {
  const bool landed = !lane.slot, keep = instruction.keeps;
  const Store store = keep && instruction.last_touch ? arithmetic_.output_store : Store::cached;
  std::byte* received = lane.slot.data;
  for (const Part& part : lane.parts) {
    if (landed) received = part.destination;
    lane.working = executor_.reduce(lane.number, {.arithmetic = &arithmetic_,
                                                  .to = keep ? part.destination : received,
                                                  .pass = keep && !instruction.outs.empty() ? received : nullptr,
                                                  .left = instruction.received_is_left ? received : part.own,
                                                  .right = instruction.received_is_left ? part.own : received,
                                                  .bytes = part.bytes,
                                                  .divisor = instruction.completes ? arithmetic_.divisor : 1,
                                                  .store = store});
    received += part.bytes;
  }
}

// In one pass over all contributions to everywhere the result goes: this rank's destination, those that peers offered,
// and a slot for the peers that did not.
void PlanOperation::fold(Lane& lane, const Instruction& instruction) {
  const size_t n = lane.gathered.size() + 1;
  const size_t own_position = instruction.take == Take::fold ? instruction.own_position : instruction.received_is_left ? 1 : 0;
  const Store store = instruction.last_touch ? arithmetic_.output_store : Store::cached;
  if (lane.offers.size() > kernels::kMostTargets - 2) lane.offers.resize(kernels::kMostTargets - 2);
  lane.slot = slot_for_result(lane, instruction);
  lane.sources.resize(n);
  kernels::Target targets[kernels::kMostTargets];
  size_t offset = 0;
  for (const Part& part : lane.parts) {
    for (size_t i = 0, k = 0; i < n; ++i) lane.sources[i] = i == own_position ? part.own : lane.gathered[k++].data + offset;
    size_t n_targets = 0;
    if (instruction.keeps) targets[n_targets++] = {part.destination, store};
    for (const Port& out : instruction.outs)
      if (const Offer* offer = offer_of(lane, out)) targets[n_targets++] = {offer->destination + offset, store};
    if (lane.slot) targets[n_targets++] = {lane.slot.data + offset, Store::cached};
    lane.working = executor_.fold(lane.number, {.arithmetic = &arithmetic_,
                                                .targets = std::span(targets, n_targets),
                                                .sources = lane.sources,
                                                .bytes = part.bytes,
                                                .divisor = instruction.completes ? arithmetic_.divisor : 1});
    offset += part.bytes;
  }
}

// Packets instead of elements: what passes on goes in a slot that was received.
void PlanOperation::compute_coded(Lane& lane, const Instruction& instruction) {
  const bool reduces = instruction.take != Take::recv;
  if (instruction.take != Take::fold) lane.gathered.assign(1, lane.slot);
  if (instruction.take == Take::recv_reduce) lane.slot = {};
  lane.messages.clear();
  for (const Slot& slot : lane.gathered) lane.messages.push_back(slot.data);
  if (reduces) lane.slot = slot_for_result(lane, instruction);
  CodedWork work = coded_work(lane, reduces ? CodedWork::Kind::reduce : CodedWork::Kind::take, instruction.segments);
  work.completes = instruction.completes;
  work.last_touch = instruction.last_touch;
  work.messages = lane.messages;
  work.result = reduces ? lane.slot.data : nullptr;
  lane.working = executor_.coded(lane.number, work);
}

CodedWork PlanOperation::coded_work(Lane& lane, CodedWork::Kind kind, std::span<const Segment> segments) {
  lane.outcome = {};
  return {.payload = coded_.get(),
          .kind = kind,
          .binding = &binding_,
          .segments = segments,
          .lane = lane.number,
          .stripe = lane.stripe,
          .outcome = &lane.outcome};
}

// The work is done: what it read goes back, but for the slot that is sent on.
void PlanOperation::settle(Lane& lane, const Instruction& instruction) {
  for (size_t i = 0; i < lane.gathered.size(); ++i)
    if (!lane.slot || lane.gathered[i].id != lane.slot.id) let_go(lane, instruction.ins[i], lane.gathered[i]);
  lane.gathered.clear();
  if (lane.slot && instruction.outs.empty()) let_go(lane, instruction.ins[0], std::exchange(lane.slot, {}));
  if (coded_ && !lane.outcome.status.ok())
    trouble_ = {Trouble::Kind::damaged, program_.peers[instruction.ins[lane.outcome.damaged].link].rank,
                std::move(lane.outcome.status), {}};
  else if (lane.slot)
    share(lane, instruction);
}

// A slot that was received and may be written, else one of this rank's own, which is reserved; none if nobody needs it.
Slot PlanOperation::slot_for_result(Lane& lane, const Instruction& instruction) {
  if (receivers_of_slot(lane, instruction) == 0) return {};
  for (const Slot& slot : lane.gathered)
    if (bank_.pool->writable(slot)) return slot;
  return acquire(lane);
}

}  // namespace tutti
