#include "plan_operation.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace tutti {

using kernels::Store;

namespace {

// Does `next` continue the `bytes` at `last`?  Two absent places do.
bool adjoins(const std::byte* last, size_t bytes, const std::byte* next) { return last ? last + bytes == next : next == nullptr; }

bool is_message(const Signature& signature) { return signature.collective == static_cast<uint8_t>(Collective::point_to_point); }

SlotBank& bank_of(LinkTable& link_table, const Signature& signature, const Program& program) {
  return is_message(signature) && !program.peers.empty() ? link_table.message_banks[static_cast<size_t>(program.peers[0].rank)] : link_table.bank;
}

}  // namespace

PlanOperation::PlanOperation(std::shared_ptr<const Program> shared_program, std::string_view algorithm, Binding binding,
                             const Arithmetic& arithmetic, const Signature& signature, uint32_t lanes, uint32_t slots, LinkTable& link_table)
    : Operation(signature, algorithm),
      shared_program_(std::move(shared_program)),
      program_(*shared_program_),
      binding_(std::move(binding)),
      arithmetic_(arithmetic),
      link_table_(link_table),
      bank_(bank_of(link_table, signature, program_)),
      slots_per_stripe_(slots) {
  lane_count_ = static_cast<uint32_t>(std::min<uint64_t>(lanes, binding_.stripes()));
  lanes_.resize(lane_count_);
  peers_.resize(program_.peers.size());
  const LinkUse use = is_message(signature) ? LinkUse::messages : LinkUse::collectives;
  for (size_t i = 0; i < peers_.size() && binding_.stripes() > 0; ++i) peers_[i].queues = &link_table.peer(program_.peers[i].rank, use);
}

void PlanOperation::enter() noexcept {
  for (size_t i = 0; i < peers_.size() && binding_.stripes() > 0; ++i) {
    if (program_.peers[i].sends > 0) peers_[i].send_number = peers_[i].queues->sends.drawn++;
    if (program_.peers[i].receives > 0) peers_[i].receive_number = peers_[i].queues->receives.drawn++;
  }
}

void PlanOperation::end(bool well) {
  if (well && coder_) coder_->finish();
  coder_.reset();
}

uint32_t PlanOperation::slots_per_stripe(const Program& program, const LinkTable& link_table, bool coded) {
  const auto has_form = [&](LinkForm form) {
    return [&, form](const Port& port) { return link_table.form(program.peers[port.link].rank) == form; };
  };
  const auto slots_form = has_form(LinkForm::slots), bytes_form = has_form(LinkForm::bytes), puts_form = has_form(LinkForm::puts);
  uint32_t sent = 0, held = 0;  // slots that leave with messages, and the most that one instruction holds besides
  for (const Instruction& i : program.instructions) {
    const auto count = [](std::span<const Port> ports, const auto& form) {
      return static_cast<uint32_t>(std::count_if(ports.begin(), ports.end(), form));
    };
    const bool straight = !coded && i.take == Take::recv && i.keep_home && i.outs.empty() && program.widest_run < kMaxPieces;
    const uint32_t taken = (straight ? 0 : count(i.ins, bytes_form)) + count(i.ins, puts_form);
    const uint32_t passed_on = i.outs.empty() ? 0 : std::min(taken, 1u);
    sent += passed_on;
    held = std::max(held, taken - passed_on);
    if (i.outs.empty()) continue;
    const bool by_reference = !coded && count(i.outs, bytes_form) == i.outs.size() && program.widest_run < kMaxPieces;
    sent += !by_reference && i.take == Take::nothing;
    // A loan is read-only, so a result that is passed on may need a slot of its own; so does a loan that no put may send.
    const bool reduces = i.take == Take::recv_reduce || i.take == Take::fold;
    const bool puts_loan = i.take == Take::recv && count(i.outs, puts_form) > 0;
    sent += !coded && (reduces || puts_loan) && link_table.bank.pool->lends() && count(i.ins, slots_form) > 0;
  }
  return sent + held;
}

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
  const auto index = static_cast<uint64_t>(&lane - lanes_.data());
  if (!may_start || started() || next_stripe_ % lane_count_ != index) return false;
  const uint32_t wanted = bank_.reserved + slots_per_stripe_;
  if (slots_per_stripe_ > 0 && bank_.pool->available(wanted) < wanted) return false;
  bank_.reserved += slots_per_stripe_;
  lane.reserved = slots_per_stripe_;
  lane.stripe = next_stripe_++;
  lane.place = place_of_stripe(lane.stripe, lane_count_, binding_.stripes());
  lane.active = true;
  lane.pc = 0;
  lane.phase = Phase::prepare;
  lane.sending.clear();
  if (coder_)
    coder_->begin_stripe(number(lane));
  else if (lane.scratch.empty())
    lane.scratch.resize(program_.scratch_blocks * binding_.stripe_bytes());
  return true;
}

// Carries one lane through at most one message received and its consequences, so that the other lanes' sends are not kept waiting.
bool PlanOperation::step_lane(Lane& lane) {
  if (lane.pc == program_.instructions.size()) return end_stripe(lane);
  const Instruction& instruction = program_.instructions[lane.pc];
  const Phase before = lane.phase;
  const uint32_t port_before = lane.port;
  if (lane.phase == Phase::prepare) prepare(lane, instruction);
  if (lane.phase == Phase::take && !take(lane, instruction)) return lane.port != port_before || before != lane.phase;
  if (lane.phase == Phase::compute) {
    if (instruction.after_flush && !may_overwrite(lane)) return false;
    compute(lane, instruction);
    if (trouble_.kind != Trouble::Kind::none) return true;  // what was to be made of a damaged packet goes to nobody
    if (lane.slot) share(lane, instruction);
    lane.phase = Phase::give;
    lane.port = 0;
  }
  if (!give(lane, instruction)) return before != Phase::give || lane.port != port_before;
  ++lane.pc;
  lane.phase = Phase::prepare;
  if (lane.pc == program_.instructions.size()) end_stripe(lane);
  return true;
}

void PlanOperation::prepare(Lane& lane, const Instruction& instruction) {
  if (coder_)
    lane.bytes = coder_->message_bytes(binding_, instruction, lane.stripe);
  else
    parts_of(lane, instruction.segments, instruction.keep_home);
  lane.gathered.clear();
  lane.offers.clear();
  lane.slot = {};
  lane.from_home = instruction.take == Take::nothing && !coder_;
  lane.port = 0;
  lane.phase = Phase::take;
}

void PlanOperation::parts_of(Lane& lane, std::span<const Segment> segments, bool keep_home) {
  lane.parts.clear();
  lane.bytes = 0;
  for (const Segment& segment : segments)
    for (uint32_t k = 0; k < segment.count; ++k) {
      const Span span = binding_.at(segment.block + k, lane.stripe);
      if (span.bytes == 0) continue;
      std::byte* home = span.output;
      if (!segment.in_output && (keep_home || !segment.from_input))
        home = lane.scratch.data() + (segment.scratch + k) * binding_.stripe_bytes();
      const std::byte* own = segment.from_input ? span.input : home;
      lane.bytes += span.bytes;
      if (!lane.parts.empty()) {
        Part& last = lane.parts.back();
        if (adjoins(last.own, last.bytes, own) && adjoins(last.home, last.bytes, home)) {
          last.bytes += span.bytes;
          continue;
        }
      }
      lane.parts.push_back({own, home, span.bytes});
    }
}

Slot PlanOperation::acquire(Lane& lane) {
  Slot slot = bank_.pool->acquire();
  if (slot) {
    --lane.reserved;
    --bank_.reserved;
  }
  return slot;
}

// Returns the slot that held the message of an in port.  One of this lane's own is free again, so it stays reserved for the lane.
void PlanOperation::let_go(Lane& lane, const Port& port, Slot slot) {
  bank_.pool->release(slot);
  if (peers_[port.link].queues->slots) return;
  ++lane.reserved;
  ++bank_.reserved;
}

// ---- taking ----

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
  const bool straight = !coder_ && instruction.take == Take::recv && instruction.keep_home && all_take_bytes(instruction.outs) &&
                        lane.parts.size() <= kMaxPieces;
  if (straight || lands_at_home(lane, instruction)) {
    // What arrives contains what this lane sent from the same memory (a plan sends each contribution once), so this wait is short.
    if (straight && instruction.after_flush && !may_overwrite(lane)) return Progress::busy;
    lane.pieces.clear();
    for (const Part& part : lane.parts) lane.pieces.push_back({part.home, part.bytes});
    const Progress progress = link.receive(Pieces(lane.pieces), signature_of(lane));
    lane.from_home = straight;
    return progress;
  }
  if (!lane.slot && !(lane.slot = acquire(lane))) return Progress::busy;
  const Piece piece{lane.slot.data, lane.bytes};
  return link.receive(Pieces(&piece, 1), signature_of(lane));
}

// Is a contribution from a stream best received where its sum will be?  Then the kernel's copy brings that memory into the cache and the
// reduction finds it there, which is faster than a slot's detour as long as the sum is not to bypass the cache.  Nothing that this lane
// still sends is there: this rank's value is elsewhere.
bool PlanOperation::lands_at_home(const Lane& lane, const Instruction& instruction) const {
  return !coder_ && instruction.take == Take::recv_reduce && instruction.keep_home && instruction.outs.empty() &&
         arithmetic_.output_store == Store::cached && lane.parts.size() <= kMaxPieces &&
         std::all_of(lane.parts.begin(), lane.parts.end(), [](const Part& part) { return part.own != part.home; });
}

// ---- giving ----

bool PlanOperation::give(Lane& lane, const Instruction& instruction) {
  const auto& outs = instruction.outs;
  if (outs.empty()) return true;
  const bool by_reference = lane.from_home && !lane.slot && all_take_bytes(outs) && lane.parts.size() <= kMaxPieces;
  if (lane.bytes > 0 && !lane.slot && !by_reference && receivers_of_slot(lane, instruction) > 0) {
    if (!lend(lane, instruction) && !fill_slot(lane, instruction)) return false;
    if (instruction.offers && lane.parts.size() == 1 && bank_.pool->reaches(lane.parts[0].home, lane.bytes))
      lane.slot.target = lane.parts[0].home;
    share(lane, instruction);
  }
  for (; lane.port < outs.size(); ++lane.port) {
    const Port& port = outs[lane.port];
    if (!send_turn(lane, port)) return false;
    if (travels(lane)) {
      PeerState& peer = peers_[port.link];
      Progress progress;
      if (by_reference) {
        ByteLink& link = *peer.queues->bytes;
        lane.pieces.clear();
        for (const Part& part : lane.parts) {
          const std::byte* from = instruction.take == Take::nothing ? part.own : part.home;
          lane.pieces.push_back({const_cast<std::byte*>(from), part.bytes});
        }
        progress = link.send(Pieces(lane.pieces), signature_of(lane), peer.ticket);
        if (progress == Progress::done) lane.sending.emplace_back(&link, peer.ticket);
      } else {
        static constexpr Slot kWord{nullptr, Slot::kDelivered, nullptr};
        Link& link = *peer.queues->link;
        progress = link.send(offer_of(lane, port) || lane.bytes == 0 ? kWord : lane.slot, lane.bytes, signature_of(lane));
        if (progress == Progress::done && !peer.queues->slots) peer.ticket = link.last_ticket();
      }
      if (progress != Progress::done) return fail(progress, port, lane);
      traffic_.sent_bytes += lane.bytes;
    }
    sent_one(port);
  }
  lane.slot = {};
  return true;
}

// Each receiver gets a holder of its own before the slot is in anyone's hands.
void PlanOperation::share(Lane& lane, const Instruction& instruction) {
  const uint32_t receivers = receivers_of_slot(lane, instruction);
  if (receivers > 1) bank_.pool->add_holders(lane.slot, receivers - 1);
}

// The value as it lies in this rank's memory, if the peers can reach it there.
bool PlanOperation::lend(Lane& lane, const Instruction& instruction) {
  if (!instruction.lends || lane.parts.size() != 1 || any_takes_puts(instruction.outs)) return false;
  lane.slot = bank_.pool->lend(lane.parts[0].own, lane.bytes);
  if (lane.slot) lane.loans.push_back({lane.slot, lane.bytes, instruction.outs[0].link});
  return static_cast<bool>(lane.slot);
}

bool PlanOperation::fill_slot(Lane& lane, const Instruction& instruction) {
  lane.slot = acquire(lane);
  if (!lane.slot) return false;
  if (coder_) {
    coder_->pack(binding_, instruction, number(lane), lane.stripe, lane.slot.data);
    return true;
  }
  std::byte* to = lane.slot.data;
  for (const Part& part : lane.parts) {
    link_table_.workers->copy(to, nullptr, part.own, part.bytes, Store::cached);
    to += part.bytes;
  }
  return true;
}

bool PlanOperation::end_stripe(Lane& lane) {
  if (!loans_back(lane)) return false;
  if (program_.scratch_blocks > 0 && !flushed(lane)) return false;  // the next stripe will use the same scratch
  if (coder_) {
    coder_->keep_all(binding_, program_.identities, lane.stripe);
  } else {
    parts_of(lane, program_.identities, false);
    for (const Part& part : lane.parts)
      if (part.own != part.home) link_table_.workers->copy(part.home, nullptr, part.own, part.bytes, arithmetic_.output_store);
  }
  bank_.reserved -= lane.reserved;
  lane.reserved = 0;
  lane.active = false;
  ++done_stripes_;
  return true;
}

// ---- turns ----

bool PlanOperation::send_turn(const Lane& lane, const Port& port) const {
  const PeerState& peer = peers_[port.link];
  return peer.queues->sends.served == peer.send_number && peer.sends == turn(lane.place, port.index, program_.peers[port.link].sends);
}

bool PlanOperation::receive_turn(const Lane& lane, const Port& port) const {
  const PeerState& peer = peers_[port.link];
  return peer.queues->receives.served == peer.receive_number &&
         peer.receives == turn(lane.place, port.index, program_.peers[port.link].receives);
}

void PlanOperation::sent_one(const Port& port) {
  PeerState& peer = peers_[port.link];
  if (++peer.sends == program_.peers[port.link].sends * binding_.stripes()) ++peer.queues->sends.served;
}

void PlanOperation::received_one(const Port& port) {
  PeerState& peer = peers_[port.link];
  if (++peer.receives == program_.peers[port.link].receives * binding_.stripes()) ++peer.queues->receives.served;
}

bool PlanOperation::all_take_bytes(std::span<const Port> ports) const {
  return std::all_of(ports.begin(), ports.end(), [this](const Port& port) { return peers_[port.link].queues->bytes != nullptr; });
}

bool PlanOperation::any_takes_puts(std::span<const Port> ports) const {
  return std::any_of(ports.begin(), ports.end(), [this](const Port& port) { return peers_[port.link].queues->puts != nullptr; });
}

bool PlanOperation::flushed() const {
  return std::all_of(peers_.begin(), peers_.end(),
                     [](const PeerState& peer) { return peer.ticket == 0 || peer.queues->link->sent(peer.ticket); });
}

bool PlanOperation::flushed(Lane& lane) const {
  std::erase_if(lane.sending, [](const auto& send) { return send.first->sent(send.second); });
  return lane.sending.empty();
}

bool PlanOperation::loans_back(Lane& lane) const {
  std::erase_if(lane.loans, [this](const Loan& loan) { return bank_.pool->returned(loan.slot); });
  return lane.loans.empty();
}

// Nobody needs what the homes of the present instruction hold.  Of the loans only those of just this memory count: to wait for others,
// which their receivers reach later in the plan, could be to wait for oneself.
bool PlanOperation::may_overwrite(Lane& lane) const {
  if (!flushed(lane)) return false;
  if (loans_back(lane)) return true;
  return std::none_of(lane.loans.begin(), lane.loans.end(), [&](const Loan& loan) {
    return std::any_of(lane.parts.begin(), lane.parts.end(), [&](const Part& part) {
      return part.home && part.home < loan.slot.data + loan.bytes && loan.slot.data < part.home + part.bytes;
    });
  });
}

bool PlanOperation::travels(const Lane& lane) const { return lane.bytes > 0 || (lane.stripe == 0 && !tags_.row.empty()); }

// ---- what to say ----

Signature PlanOperation::signature_of(const Lane& lane) const {
  Signature signature = signature_;
  if (!tags_.row.empty()) {
    const auto size = static_cast<uint32_t>(tags_.row.size());
    const uint32_t block = program_.instructions[lane.pc].segments[0].block, source = block / size, destination = block % size;
    const Tag& tag = source == tags_.rank ? tags_.row[destination] : tags_.column[source];
    signature.count = tag.count;
    signature.data_type = static_cast<uint8_t>(tag.type);
  }
  return signature;
}

// False, as "not done"; notes what is not mere patience.
bool PlanOperation::fail(Progress progress, const Port& port, const Lane& lane) {
  if (progress == Progress::busy) return false;
  Link& link = *peers_[port.link].queues->link;
  trouble_.peer = program_.peers[port.link].rank;
  trouble_.kind = progress == Progress::lost ? Trouble::Kind::lost : Trouble::Kind::mismatch;
  trouble_.expected = signature_of(lane);
  if (progress == Progress::lost)
    trouble_.status = link.error();
  else
    trouble_.offender = link.offender();
  return false;
}

int PlanOperation::waits_for() const {
  for (const Lane& lane : lanes_) {
    if (lane.active && lane.pc == program_.instructions.size() && !lane.loans.empty())
      return program_.peers[lane.loans.front().link].rank;
    if (!lane.active || lane.pc >= program_.instructions.size()) continue;
    const Instruction& instruction = program_.instructions[lane.pc];
    if (lane.phase <= Phase::take && lane.port < instruction.ins.size())
      return program_.peers[instruction.ins[lane.port].link].rank;
    if (lane.phase == Phase::give && lane.port < instruction.outs.size())
      return program_.peers[instruction.outs[lane.port].link].rank;
  }
  for (size_t i = 0; i < peers_.size(); ++i)
    if (peers_[i].ticket != 0 && !peers_[i].queues->link->sent(peers_[i].ticket)) return program_.peers[i].rank;
  return -1;
}

uint32_t PlanOperation::step() const {
  uint32_t step = steps();
  for (const Lane& lane : lanes_)
    if (lane.active && lane.pc < program_.instructions.size()) step = std::min(step, program_.instructions[lane.pc].step);
  return step;
}

}  // namespace tutti
