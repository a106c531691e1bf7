// A reduction of 16-bit floats in which no rank rounds a partial sum: this rank's input is widened to float32, a
// PlanOperation reduces that, and its result is narrowed into the output.  Messages are twice as long.
//
// For averages by plans that make partial sums: rounded to 16 bits, these leave float16's range long before the average
// does.
//
// The signature stays that of the caller's call, so its messages and sentences say what was called.
#pragma once

#include <memory>

#include "executor.h"
#include "operation.h"
#include "plan_operation.h"
#include "wide_memory.h"

namespace tutti {

// A call's 16-bit numbers, and room for them as float32.  Input and output lie in one whole there, as they do where a
// call is in place.
class WideNumbers {
 public:
  struct Place {
    size_t count = 0;  // elements
    size_t first = 0;  // of the whole
  };
  // Throws std::bad_alloc.  `output` null: this rank has none.
  WideNumbers(std::shared_ptr<WideMemory> memory, DataType type, const void* input, const Place& input_place, void* output,
              const Place& output_place);

  WideNumbers(const WideNumbers&) = delete;
  ~WideNumbers() { memory_->give_back(whole_); }

  float* input() { return whole_.numbers + input_place_.first; }
  float* output() { return output_ ? whole_.numbers + output_place_.first : nullptr; }
  Ticket widen(Executor& executor);
  Ticket narrow(Executor& executor);

 private:
  std::shared_ptr<WideMemory> memory_;
  DataType type_;
  const void* input_;
  void* output_;
  Place input_place_, output_place_;
  WideMemory::Room whole_;
};

class WideOperation final : public Operation {
 public:
  // `inner` reduces `numbers`, which it refers to, and has the signature of the caller's call.
  WideOperation(std::unique_ptr<WideNumbers> numbers, std::shared_ptr<PlanOperation> inner, Executor& executor);
  ~WideOperation() override { abandon_work(); }

  void enter() noexcept override { inner_->enter(); }
  SlotBank* bank() override { return inner_->bank(); }
  bool advance(bool may_start) override;
  bool started() const override { return phase_ != Phase::widen && inner_->started(); }
  bool finished() const override { return phase_ == Phase::done; }
  void end(bool success) override;
  int waits_for() const override { return inner_->waits_for(); }
  uint32_t step() const override { return inner_->step(); }
  uint32_t steps() const override { return inner_->steps(); }

 private:
  enum class Phase : uint8_t { widen, reduce, narrow, done };
  void abandon_work() noexcept;

  std::unique_ptr<WideNumbers> numbers_;  // outlives inner_
  std::shared_ptr<PlanOperation> inner_;
  Executor& executor_;
  Phase phase_ = Phase::widen;
  Ticket working_ = kDone;
};

}  // namespace tutti
