// How a lane moves: it begins a stripe, walks the instructions, and ends the stripe.
#include "lane.h"

#include <algorithm>

#include "plan_operation.h"

namespace tutti {
namespace {

// Does `next` continue the `bytes` at `last`?  Two absent places do.
bool adjoins(const std::byte* last, size_t bytes, const std::byte* next) { return last ? last + bytes == next : next == nullptr; }

}  // namespace

bool PlanOperation::advance(bool may_start) {
  if (trouble_.kind != Trouble::Kind::none) return false;
  bool moved = false;
  for (Lane& lane : lanes_) {
    if (!lane.active && !begin_stripe(lane, may_start)) continue;
    moved |= step_lane(lane);
    if (trouble_.kind != Trouble::Kind::none) return true;
  }
  return moved;
}

bool PlanOperation::begin_stripe(Lane& lane, bool may_start) {
  if (!may_start || started() || next_stripe_ % lane_count_ != lane.number) return false;
  const uint32_t wanted = bank_.reserved + slots_per_stripe_ + left_to_receives_;
  if (slots_per_stripe_ > 0 && bank_.pool->available(wanted) < wanted) return false;
  bank_.reserved += slots_per_stripe_;
  lane.reserved = slots_per_stripe_;
  lane.stripe = next_stripe_++;
  lane.place = place_of_stripe(lane.stripe, lane_count_, binding_.stripes());
  lane.active = true;
  lane.kept_identities = false;
  lane.pc = 0;
  lane.phase = Phase::prepare;
  lane.sending.clear();
  if (coded_)
    coded_->begin_stripe(lane.number);
  else if (lane.scratch.empty())
    lane.scratch.resize(program_.scratch_blocks * binding_.stripe_bytes());
  return true;
}

// Carries one lane through at most one message received and its consequences, so that other lanes' sends need not wait.
bool PlanOperation::step_lane(Lane& lane) {
  const bool worked = lane.working != kDone;
  if (worked && !executor_.done(lane.working)) return false;
  lane.working = kDone;
  if (lane.pc == program_.instructions.size()) return end_stripe(lane) || worked;
  const Instruction& instruction = program_.instructions[lane.pc];
  const auto moved = [&, phase = lane.phase, port = lane.port] {
    return worked || lane.phase != phase || lane.port != port || lane.working != kDone;
  };
  if (lane.phase == Phase::prepare) prepare(lane, instruction);
  if (lane.phase == Phase::take && !take(lane, instruction)) return moved();
  if (lane.phase == Phase::compute) {
    if (instruction.after_flush && !may_overwrite(lane)) return moved();
    compute(lane, instruction);
    lane.phase = Phase::settle;
    if (lane.working != kDone) return true;
  }
  if (lane.phase == Phase::settle) {
    settle(lane, instruction);
    if (trouble_.kind != Trouble::Kind::none) return true;  // what was to be made of a damaged packet goes to nobody
    lane.phase = Phase::give;
    lane.port = 0;
  }
  if (!give(lane, instruction)) return moved();
  ++lane.pc;
  lane.phase = Phase::prepare;
  if (lane.pc == program_.instructions.size()) end_stripe(lane);
  return true;
}

bool PlanOperation::end_stripe(Lane& lane) {
  if (!loans_back(lane)) return false;
  if (program_.scratch_blocks > 0 && !flushed(lane)) return false;  // the next stripe will use the same scratch
  if (!lane.kept_identities) keep_identities(lane);
  if (lane.working != kDone) return true;
  bank_.reserved -= lane.reserved;
  lane.reserved = 0;
  lane.active = false;
  ++done_stripes_;
  return true;
}

void PlanOperation::keep_identities(Lane& lane) {
  lane.kept_identities = true;
  if (coded_) {
    if (!program_.identities.empty())
      lane.working = executor_.coded(lane.number, coded_work(lane, CodedWork::Kind::keep, program_.identities));
    return;
  }
  parts_of(lane, program_.identities, false);
  for (const Part& part : lane.parts)
    if (part.own != part.destination)
      lane.working = executor_.copy(lane.number, {.to = part.destination,
                                                  .from = part.own,
                                                  .bytes = part.bytes,
                                                  .store = arithmetic_.output_store,
                                                  .to_space = part.space,
                                                  .from_space = part.space});
}

// ---- an instruction's parts ----

void PlanOperation::prepare(Lane& lane, const Instruction& instruction) {
  if (coded_)
    lane.bytes = coded_->message_bytes(binding_, instruction.segments, lane.stripe);
  else
    parts_of(lane, instruction.segments, instruction.keeps);
  lane.gathered.clear();
  lane.offers.clear();
  lane.slot = {};
  lane.from_memory = instruction.take == Take::nothing && !coded_;
  lane.port = 0;
  lane.phase = instruction.take == Take::nothing ? Phase::give : Phase::take;
}

void PlanOperation::parts_of(Lane& lane, std::span<const Segment> segments, bool keep) {
  lane.parts.clear();
  lane.bytes = 0;
  for (const Segment& segment : segments)
    for (uint32_t k = 0; k < segment.count; ++k) {
      size_t scratch_at = (segment.scratch + k) * binding_.stripe_bytes();
      binding_.each(segment.block + k, lane.stripe, [&](const Span& span) {
        if (span.bytes == 0) return;
        std::byte* destination = span.output;
        if (!segment.in_output && (keep || !segment.from_input)) destination = lane.scratch.data() + scratch_at;
        scratch_at += span.bytes;
        add_part(lane, {segment.from_input ? span.input : destination, destination, span.bytes, span.space});
      });
    }
}

void PlanOperation::add_part(Lane& lane, const Part& part) {
  lane.bytes += part.bytes;
  if (!lane.parts.empty()) {
    Part& last = lane.parts.back();
    if (adjoins(last.own, last.bytes, part.own) && adjoins(last.destination, last.bytes, part.destination)) {
      last.bytes += part.bytes;
      return;
    }
  }
  lane.parts.push_back(part);
}

// ---- slots ----

Slot PlanOperation::acquire(Lane& lane) {
  Slot slot = bank_.pool->acquire();
  if (slot) {
    --lane.reserved;
    --bank_.reserved;
  }
  return slot;
}

// Returns the slot that held a message of this in port.  One of the lane's own is free again, and stays reserved for
// it.
void PlanOperation::let_go(Lane& lane, const Port& port, Slot slot) {
  bank_.pool->release(slot);
  if (peers_[port.link].queues->slots) return;
  ++lane.reserved;
  ++bank_.reserved;
}

// ---- conditions ----

bool PlanOperation::flushed(Lane& lane) const {
  std::erase_if(lane.sending, [](const Sending& send) { return send.link->sent(send.ticket); });
  return lane.sending.empty();
}

bool PlanOperation::loans_back(Lane& lane) const {
  std::erase_if(lane.loans, [this](const Loan& loan) { return bank_.pool->returned(loan.slot); });
  return lane.loans.empty();
}

// The destinations of the present instruction hold nothing that is still to be read.  Only sends and loans of just this
// memory count: to wait for others, which their receivers reach later in the plan, could be to wait for oneself.
bool PlanOperation::may_overwrite(Lane& lane) const {
  const auto overwritten = [&](const std::byte* data, size_t bytes) {
    return std::any_of(lane.parts.begin(), lane.parts.end(), [&](const Part& part) {
      return part.destination && part.destination < data + bytes && data < part.destination + part.bytes;
    });
  };
  if (!flushed(lane) && std::any_of(lane.sending.begin(), lane.sending.end(),
                                    [&](const Sending& send) { return overwritten(send.data, send.bytes); }))
    return false;
  return loans_back(lane) || std::none_of(lane.loans.begin(), lane.loans.end(),
                                          [&](const Loan& loan) { return overwritten(loan.slot.data, loan.bytes); });
}

bool PlanOperation::travels(const Lane& lane) const { return lane.bytes > 0 || (lane.stripe == 0 && !tags_.row.empty()); }

bool PlanOperation::all_take_bytes(std::span<const Port> ports) const {
  return std::all_of(ports.begin(), ports.end(), [this](const Port& port) { return peers_[port.link].queues->bytes != nullptr; });
}

bool PlanOperation::any_takes_puts(std::span<const Port> ports) const {
  return any_puts_ &&
         std::any_of(ports.begin(), ports.end(), [this](const Port& port) { return peers_[port.link].queues->puts != nullptr; });
}

}  // namespace tutti
