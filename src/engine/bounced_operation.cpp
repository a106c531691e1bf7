#include "bounced_operation.h"

#include <utility>

namespace tutti {

BouncedOperation::BouncedOperation(std::unique_ptr<PieceCarrier> carrier, std::vector<std::shared_ptr<Operation>> pieces)
    : Operation(pieces.front()->signature(), pieces.front()->algorithm()),
      carrier_(std::move(carrier)),
      pieces_(std::move(pieces)),
      is_collective_(signature_.collective != static_cast<uint8_t>(Collective::point_to_point)) {}

void BouncedOperation::enter() noexcept {
  for (const auto& piece : pieces_) piece->enter();
}

SlotBank* BouncedOperation::bank() {
  for (size_t i = first_not_started_; i < pieces_.size(); ++i)
    if (SlotBank* const bank = pieces_[i]->bank()) return bank;
  return pieces_.back()->bank();
}

bool BouncedOperation::advance(bool may_start) {
  if (finished_) return false;
  bool moved = false;
  for (; fetched_ < pieces_.size() && carrier_->fetched(fetched_); moved = true) ++fetched_;
  moved |= advance_pieces(may_start);
  for (; delivered_ < handled_ && carrier_->delivered(delivered_); moved = true) ++delivered_;
  if (trouble_.kind != Trouble::Kind::none || broken()) return true;
  if (delivered_ < pieces_.size()) return moved;
  carrier_->finish();
  finished_ = true;
  return true;
}

// Those that are fetched, side by side; results are delivered in order.
bool BouncedOperation::advance_pieces(bool may_start) {
  bool moved = false;
  for (size_t i = handled_; i < fetched_; ++i) {
    Operation& piece = *pieces_[i];
    moved |= piece.advance(may_start && i <= first_not_started_);
    if (i == first_not_started_ && piece.started()) ++first_not_started_;
    trouble_ = piece.trouble();
    if (trouble_.kind != Trouble::Kind::none) return true;
  }
  for (; handled_ < fetched_ && pieces_[handled_]->finished(); moved = true) {
    add_traffic(of_handled_, *pieces_[handled_]);
    if (is_collective_) pieces_[handled_]->end(true);  // whoever waits for the device only finds that the call has ended
    carrier_->deliver(handled_++);
  }
  traffic_ = of_handled_;
  for (size_t i = handled_; i < fetched_; ++i) add_traffic(traffic_, *pieces_[i]);
  return moved;
}

void BouncedOperation::add_traffic(Traffic& sum, const Operation& piece) const {
  sum.sent_bytes += piece.traffic().sent_bytes;
  sum.received_bytes += piece.traffic().received_bytes;
}

bool BouncedOperation::broken() {
  Status status = carrier_->status();
  if (status.ok()) return false;
  trouble_ = {};
  trouble_.kind = Trouble::Kind::broken;
  trouble_.status = std::move(status);
  return true;
}

void BouncedOperation::end(bool success) {
  for (const auto& piece : pieces_) piece->end(success);
  if (!success) carrier_->finish();
}

bool BouncedOperation::withdraw() noexcept {
  if (finished_ || pieces_.size() != 1 || !pieces_.front()->withdraw()) return false;
  carrier_->finish();
  return true;
}

std::string BouncedOperation::device_wait() const {
  const bool fetching = fetched_ < pieces_.size();
  const std::string piece =
      "piece " + std::to_string((fetching ? fetched_ : delivered_) + 1) + " of " + std::to_string(pieces_.size());
  std::string what;
  if (!is_collective_)
    what = fetching ? "come to the receive" : "delivered what was received";
  else
    what = fetching ? "fetched the input of " + piece : "delivered the result of " + piece;
  return carrier_->device() + " has not " + what + "; look for work " +
         (fetching ? "before the call on its stream that does not end, or for streams"
                   : "on the device that does not end, or for streams") +
         " that keep each other waiting in one of the device's queues (CUDA_DEVICE_MAX_CONNECTIONS), or set a longer timeout";
}

int BouncedOperation::waits_for() const { return handled_ < fetched_ ? pieces_[handled_]->waits_for() : -1; }

}  // namespace tutti
