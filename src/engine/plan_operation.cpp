#include "plan_operation.h"

#include <algorithm>

namespace tutti {
namespace {

bool is_message(const Signature& signature) { return signature.collective == static_cast<uint8_t>(Collective::point_to_point); }

SlotBank& bank_of(LinkTable& link_table, const Signature& signature, const Program& program) {
  const bool own = is_message(signature) && !program.peers.empty();
  return own ? link_table.message_banks[static_cast<size_t>(program.peers[0].rank)] : link_table.bank;
}

}  // namespace

PlanOperation::PlanOperation(std::shared_ptr<const Program> shared_program, std::string_view algorithm, Binding binding,
                             const Arithmetic& arithmetic, const Signature& signature, uint32_t lanes, uint32_t slots,
                             LinkTable& link_table)
    : Operation(signature, algorithm),
      shared_program_(std::move(shared_program)),
      program_(*shared_program_),
      binding_(std::move(binding)),
      arithmetic_(arithmetic),
      executor_(*link_table.executor),
      bank_(bank_of(link_table, signature, program_)),
      slots_per_stripe_(slots) {
  lane_count_ = static_cast<uint32_t>(std::min<uint64_t>(lanes, binding_.stripes()));
  lanes_.resize(lane_count_);
  for (uint32_t i = 0; i < lane_count_; ++i) lanes_[i].number = i;
  peers_.resize(program_.peers.size());
  const LinkUse use = is_message(signature) ? LinkUse::messages : LinkUse::collectives;
  for (size_t i = 0; i < peers_.size() && binding_.stripes() > 0; ++i) {
    peers_[i].queues = &link_table.peer(program_.peers[i].rank, use);
    any_puts_ |= peers_[i].queues->puts != nullptr;
  }
  if (use == LinkUse::messages && !program_.peers.empty()) {
    receives_message_ = program_.peers[0].receives > 0;
    left_to_receives_ = any_puts_ && !receives_message_ ? 1 : 0;
  }
}

void PlanOperation::enter() noexcept {
  for (size_t i = 0; i < peers_.size() && binding_.stripes() > 0; ++i) {
    if (program_.peers[i].sends > 0) peers_[i].send_number = peers_[i].queues->sends.next_ticket++;
    if (program_.peers[i].receives > 0) peers_[i].receive_number = peers_[i].queues->receives.next_ticket++;
  }
}

void PlanOperation::expect(const Signature& message) {
  const auto type = static_cast<DataType>(message.data_type);
  signature_ = message;
  tags_.row[0] = {message.count, type};
  binding_.shorten(static_cast<size_t>(message.count) * element_size(type));
  lane_count_ = static_cast<uint32_t>(std::min<uint64_t>(lane_count_, binding_.stripes()));
  lanes_.resize(lane_count_);
}

void PlanOperation::end(bool success) {
  if (!success) abandon_work();
  if (success && coded_) coded_->finish();
  coded_.reset();
}

// Work refers to this operation's memory and the caller's.
void PlanOperation::abandon_work() noexcept {
  const auto works = [](const Lane& lane) { return lane.working != kDone; };
  if (std::none_of(lanes_.begin(), lanes_.end(), works)) return;
  executor_.abandon();
  for (Lane& lane : lanes_) lane.working = kDone;
}

bool PlanOperation::flushed() const {
  const auto has_left = [](const PeerState& peer) { return peer.ticket == 0 || peer.queues->link->sent(peer.ticket); };
  return std::all_of(peers_.begin(), peers_.end(), has_left);
}

// ---- slots ----

uint32_t PlanOperation::slots_per_stripe(const Program& program, const LinkTable& link_table, bool coded, bool scattered) {
  const auto count = [&](std::span<const Port> ports, LinkForm form) {
    const auto has_form = [&](const Port& port) { return link_table.form(program.peers[port.link].rank) == form; };
    return static_cast<uint32_t>(std::count_if(ports.begin(), ports.end(), has_form));
  };
  const bool few_pieces = !coded && !scattered && program.widest_run < kMaxPieces;
  uint32_t sent = 0, held = 0;  // slots that leave with messages, and the most that one instruction holds besides
  for (const Instruction& i : program.instructions) {
    const bool straight = few_pieces && i.take == Take::recv && i.keeps && i.outs.empty();
    const uint32_t taken = (straight ? 0 : count(i.ins, LinkForm::bytes)) + count(i.ins, LinkForm::puts);
    const uint32_t passed_on = i.outs.empty() ? 0 : std::min(taken, 1u);
    sent += passed_on;
    held = std::max(held, taken - passed_on);
    if (i.outs.empty()) continue;
    const bool by_reference = few_pieces && count(i.outs, LinkForm::bytes) == i.outs.size();
    sent += !by_reference && i.take == Take::nothing;
    // A loan is read-only, so a result that is passed on may need another slot; so may a loan that puts cannot send.
    const bool reduces = i.take == Take::recv_reduce || i.take == Take::fold;
    const bool puts_loan = i.take == Take::recv && count(i.outs, LinkForm::puts) > 0;
    sent += !coded && (reduces || puts_loan) && link_table.bank.pool->lends() && count(i.ins, LinkForm::slots) > 0;
  }
  return sent + held;
}

// ---- signatures and reports ----

Signature PlanOperation::tagged_signature(const Lane& lane) const {
  const auto size = static_cast<uint32_t>(tags_.row.size());
  const uint32_t block = program_.instructions[lane.pc].segments[0].block, source = block / size, destination = block % size;
  const Tag& tag = source == tags_.rank ? tags_.row[destination] : tags_.column[source];
  Signature signature = signature_;
  signature.count = tag.count;
  signature.data_type = static_cast<uint8_t>(tag.type);
  return signature;
}

// False, for "not done"; fills trouble() unless the link is only busy.
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
    if (!lane.active || lane.working != kDone) continue;
    if (lane.pc == program_.instructions.size()) {
      if (!lane.loans.empty()) return program_.peers[lane.loans.front().link].rank;
      continue;
    }
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
