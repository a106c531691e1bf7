#include "matching.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace tutti {
namespace {

size_t bytes_of(const Signature& message) {
  return static_cast<size_t>(message.count) * element_size(static_cast<DataType>(message.data_type));
}

// A message that some rank of this communicator may send.
bool is_sound(const Signature& message, uint64_t context) {
  return message.collective == static_cast<uint8_t>(Collective::point_to_point) && message.context == context &&
         message.data_type < kDataTypes && message.root >= 0 &&
         message.count <= SIZE_MAX / 2 / element_size(static_cast<DataType>(message.data_type));
}

}  // namespace

// ---- matching ----

ReceiveOperation* Matching::first_that_wants(int source, const Signature& message) const {
  const auto found = std::find_if(posted_.begin(), posted_.end(),
                                  [&](const ReceiveOperation* receive) { return receive->wants(source, message); });
  return found != posted_.end() ? *found : nullptr;
}

void Matching::post(std::list<ReceiveOperation*>& node) noexcept {
  ReceiveOperation& receive = *node.front();
  const auto found = std::find_if(set_aside_.begin(), set_aside_.end(), [&](const SetAside& message) {
    return !message.receiver && receive.wants(message.source, message.signature);
  });
  if (found != set_aside_.end())
    receive.take(found);
  else
    posted_.splice(posted_.end(), node);
}

void Matching::withdraw(ReceiveOperation& receive) noexcept { std::erase(posted_, &receive); }

void Matching::add_own(std::list<SetAside>& node) noexcept {
  const Place place = node.begin();
  set_aside_.splice(set_aside_.end(), node);
  if (ReceiveOperation* const receive = first_that_wants(rank_, place->signature)) {
    withdraw(*receive);
    receive->take(place);
  }
}

void Matching::take_out(Place place, std::list<SetAside>& into) noexcept {
  if (place->source != rank_) source(place->source).set_aside -= bytes_of(place->signature);
  into.splice(into.end(), set_aside_, place);
}

bool Matching::look_for(ReceiveOperation& receive, LinkTable& links) {
  if (receive.source() == rank_) return false;
  if (receive.source() != kAny) return look(receive.source(), receive, links);
  bool moved = false;
  for (int rank = 0; rank < static_cast<int>(sources_.size()) && receive.waits(); ++rank)
    if (rank != rank_) moved |= look(rank, receive, links);
  return moved;
}

bool Matching::look(int rank, ReceiveOperation& receive, LinkTable& links) {
  PeerQueues& peer = links.peer(rank, LinkUse::messages);
  bool moved = false;
  while (receive.waits()) {
    if (source(rank).any_arriving) {
      Trouble trouble;
      moved |= carry_on(rank, trouble);
      if (trouble.kind != Trouble::Kind::none) receive.report(trouble);
      if (source(rank).any_arriving) return moved;
    }
    if (peer.receives.now_serving != peer.receives.next_ticket) return moved;  // a receive is taking its message
    if (source(rank).seen_empty == links.round) return moved;
    Signature message;
    const Progress progress = peer.link->peek(message);
    if (progress == Progress::lost) receive.report({Trouble::Kind::lost, rank, peer.link->error(), {}, {}});
    if (progress == Progress::busy || (progress == Progress::done && !assign(rank, message, receive, links))) {
      source(rank).seen_empty = links.round;
      return moved;
    }
    moved = true;
  }
  return moved;
}

// False: it stays in the link.
bool Matching::assign(int rank, const Signature& message, ReceiveOperation& asker, LinkTable& links) {
  if (!is_sound(message, context_)) {
    asker.report({Trouble::Kind::damaged, rank, Status(Code::mismatch, "a message of " + describe(message)), {}, {}});
    return true;
  }
  if (ReceiveOperation* const receive = first_that_wants(rank, message)) {
    withdraw(*receive);
    receive->take(rank, message);
    return true;
  }
  Source& from = source(rank);
  const size_t bytes = bytes_of(message);
  if (from.set_aside > 0 && from.set_aside + bytes > kMostSetAside) return false;
  std::list<SetAside> node(1);
  node.front().source = rank;
  node.front().signature = message;
  node.front().memory.reset(new std::byte[std::max<size_t>(bytes, 1)]);  // not written before it is needed
  node.front().data = node.front().memory.get();
  node.front().arriving = links.transfer_from(rank, node.front().memory.get(), message);
  node.front().arriving->enter();
  from.arriving = node.begin();
  from.any_arriving = true;
  from.set_aside += bytes;
  set_aside_.splice(set_aside_.end(), node);
  return true;
}

bool Matching::carry_on(int rank, Trouble& trouble) {
  Source& from = source(rank);
  if (!from.any_arriving) return false;
  PlanOperation& transfer = *from.arriving->arriving;
  const bool moved = transfer.advance(true);
  trouble = transfer.trouble();
  if (!transfer.finished()) return moved;
  from.arriving->arriving.reset();
  from.any_arriving = false;
  return true;
}

// ---- receives ----

ReceiveOperation::ReceiveOperation(const Signature& signature, int source, std::byte* to, TellReceived tell, LinkTable& links)
    : Operation(signature, "direct"), links_(links), source_(source), to_(to), tell_(std::move(tell)), node_{this} {
  if (source_ != kAny && source_ != links.matching->rank()) transfer_ = links.transfer_from(source_, to_, signature);
}

void ReceiveOperation::enter() noexcept {
  posted_ = true;
  links_.matching->post(node_);
}

bool ReceiveOperation::withdraw() noexcept {
  if (!posted_) return false;
  links_.matching->withdraw(*this);
  posted_ = false;
  return true;
}

bool ReceiveOperation::wants(int source, const Signature& message) const {
  return (source_ == kAny || source_ == source) && (signature_.root == kAny || signature_.root == message.root) &&
         signature_.algorithm == message.algorithm;
}

bool ReceiveOperation::fits(int source, const Signature& message) {
  posted_ = false;
  if (message.data_type == signature_.data_type && message.count <= signature_.count) {
    got_ = {source, message.root, static_cast<size_t>(message.count)};
    return true;
  }
  trouble_ = {Trouble::Kind::mismatch, source, {}, signature_, message};
  return false;
}

void ReceiveOperation::take(int source, const Signature& message) {
  if (!fits(source, message)) return;
  if (!transfer_) transfer_ = links_.transfer_from(source, to_, message);
  transfer_->expect(message);
  transfer_->enter();
  arriving_ = true;
}

void ReceiveOperation::take(Matching::Place place) noexcept {
  if (!fits(place->source, place->signature)) return;
  place->receiver = this;
  place_ = place;
  has_place_ = true;
}

bool ReceiveOperation::advance(bool may_start) {
  if (finished_ || trouble_.kind != Trouble::Kind::none) return false;
  bool moved = waits() && links_.matching->look_for(*this, links_);
  if (has_place_) return take_set_aside() || moved;
  if (!arriving_) return moved;
  moved |= transfer_->advance(may_start);
  traffic_ = transfer_->traffic();
  trouble_ = transfer_->trouble();
  finished_ = transfer_->finished();
  return moved;
}

bool ReceiveOperation::take_set_aside() {
  if (place_->arriving) {
    const bool moved = links_.matching->carry_on(place_->source, trouble_);
    if (place_->arriving) return moved;
  }
  const size_t bytes = got_.count * element_size(static_cast<DataType>(signature_.data_type));
  if (bytes > 0) std::memcpy(to_, place_->data, bytes);
  traffic_.received_bytes = bytes;
  if (place_->sender) place_->sender->deliver();
  std::list<Matching::SetAside> used;
  links_.matching->take_out(place_, used);
  finished_ = true;
  return true;
}

void ReceiveOperation::end(bool success) {
  if (transfer_) transfer_->end(success);
  if (success && tell_) tell_(got_);
}

// ---- messages to oneself ----

OwnMessage::OwnMessage(const Signature& signature, const std::byte* data, size_t bytes, bool copies, int rank, LinkTable& links)
    : Operation(signature, "direct"), links_(links), bytes_(bytes), copies_(copies), node_(1) {
  node_.front().source = rank;
  node_.front().signature = signature;
  node_.front().data = data;
  node_.front().sender = this;
  if (copies_) node_.front().memory.reset(new std::byte[std::max<size_t>(bytes, 1)]);
  place_ = node_.begin();
}

void OwnMessage::enter() noexcept {
  entered_ = true;
  traffic_.sent_bytes = bytes_;
  links_.matching->add_own(node_);
  if (!copies_ || place_->receiver) return;
  if (bytes_ > 0) std::memcpy(place_->memory.get(), place_->data, bytes_);
  place_->data = place_->memory.get();
  place_->sender = nullptr;
  delivered_ = true;
}

void OwnMessage::end(bool success) {
  if (!success) withdraw();
}

bool OwnMessage::withdraw() noexcept {
  if (!entered_ || delivered_ || place_->receiver) return false;
  links_.matching->take_out(place_, node_);
  entered_ = false;
  return true;
}

}  // namespace tutti
