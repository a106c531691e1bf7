// An operation on memory that the host's cores cannot reach: its data travel in pieces through buffers of the host's
// (bounce buffers).  While one piece is fetched from the device, another is under way between ranks and a third is
// delivered.
//
// A piece is an operation by itself over the buffers that it was made for.  All take their places on links when the
// call does, so ranks need not agree on when a piece is ready, only on where the data are cut.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "operation.h"

namespace tutti {

// Copies a call's pieces between a device and the host.  Nothing here waits.
class PieceCarrier {
 public:
  virtual ~PieceCarrier() = default;
  virtual bool fetched(size_t piece) = 0;  // its input is here, and its buffers are free
  virtual void deliver(size_t piece) = 0;  // lets its result go to the device
  virtual bool delivered(size_t piece) = 0;
  virtual void finish() noexcept = 0;  // whoever waits on the device goes on: all is delivered, or nothing will be
  virtual Status status() const { return {}; }
  virtual std::string device() const = 0;  // "device 0"
};

class BouncedOperation final : public Operation {
 public:
  // `pieces`: one or more, each over its buffers, with the signature of the caller's call.
  BouncedOperation(std::unique_ptr<PieceCarrier> carrier, std::vector<std::shared_ptr<Operation>> pieces);

  void enter() noexcept override;
  bool advance(bool may_start) override;
  SlotBank* bank() override;
  bool started() const override { return first_not_started_ == pieces_.size(); }
  bool finished() const override { return finished_; }
  void end(bool success) override;
  bool withdraw() noexcept override;
  void free_waiters() noexcept override { carrier_->finish(); }
  bool waits_unseen() const override { return !finished_; }  // for the device
  bool waits_for_device() const override { return !finished_ && handled_ == fetched_; }
  std::string device_wait() const override;
  int waits_for() const override;
  uint32_t step() const override { return static_cast<uint32_t>(delivered_); }
  uint32_t steps() const override { return static_cast<uint32_t>(pieces_.size()); }

 private:
  bool advance_pieces(bool may_start);
  void add_traffic(Traffic& sum, const Operation& piece) const;
  bool broken();

  std::unique_ptr<PieceCarrier> carrier_;  // outlives the pieces, which use its buffers
  std::vector<std::shared_ptr<Operation>> pieces_;
  const bool is_collective_;  // a receive tells what it got when its call returns
  bool finished_ = false;
  // Each counts the pieces, from the first one, that have come so far: delivered ≤ handled ≤ fetched.
  size_t fetched_ = 0, handled_ = 0, delivered_ = 0;
  size_t first_not_started_ = 0;
  Traffic of_handled_;
};

}  // namespace tutti
