// A reduction of 16-bit floats in which no rank rounds a partial sum: this rank's input is widened to float32, a PlanOperation reduces that,
// and its result is narrowed into the output.  Messages are twice as long.
//
// For averages by plans that make partial sums: rounded to 16 bits, these leave float16's range long before the average does.
//
// The signature stays that of the caller's call, so its messages and sentences say what was called.
#pragma once

#include <memory>

#include "operation.h"
#include "plan_operation.h"

namespace tutti {

// A call's 16-bit numbers, and room for them as float32.  Input and output lie in one whole there, as they do where a call is in place.
class WideNumbers {
 public:
  struct Place {
    size_t count = 0;  // elements
    size_t first = 0;  // of the whole
  };
  // Throws std::bad_alloc.  `output` null: this rank has none.
  WideNumbers(DataType type, const void* input, const Place& input_place, void* output, const Place& output_place);

  WideNumbers(const WideNumbers&) = delete;
  ~WideNumbers();

  float* input() { return whole_ + input_place_.first; }
  float* output() { return output_ ? whole_ + output_place_.first : nullptr; }
  void widen();
  void narrow();

 private:
  DataType type_;
  const void* input_;
  void* output_;
  Place input_place_, output_place_;
  size_t count_;  // of the whole
  float* whole_;  // not cleared: page by page it is first written by widen() or the plan
};

class WideOperation final : public Operation {
 public:
  // `inner` reduces `numbers`, which it refers to, and has the signature of the caller's call.
  WideOperation(std::unique_ptr<WideNumbers> numbers, std::shared_ptr<PlanOperation> inner);

  void enter() noexcept override { inner_->enter(); }
  SlotBank* bank() override { return inner_->bank(); }
  bool advance(bool may_start) override;
  bool started() const override { return widened_ && inner_->started(); }
  bool finished() const override { return narrowed_; }
  void end(bool well) override { inner_->end(well); }
  int waits_for() const override { return inner_->waits_for(); }
  uint32_t step() const override { return inner_->step(); }
  uint32_t steps() const override { return inner_->steps(); }

 private:
  std::unique_ptr<WideNumbers> numbers_;  // outlives inner_
  std::shared_ptr<PlanOperation> inner_;
  bool widened_ = false, narrowed_ = false;
};

}  // namespace tutti
