// An operation over data that are made ready for it: this rank's input is written to memory of the call's own, in
// another form, an operation runs over that, and what it leaves there goes to the output.
//
//   wide     averages of 16-bit floats by plans that make partial sums: rounded to 16 bits, these leave float16's range
//            long before the average does.  So no rank rounds one: input and result are float32 in between, and
//            messages twice as long.
//   factor   this rank's input is multiplied by it, a matter of this rank alone.
//   neither  the input is copied out of the way of the output: all_to_all in place; or small tensors of a list are
//            packed together, and the results unpacked.
//
// The signature stays that of the caller's call, so its messages and sentences say what was called.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "executor.h"
#include "operation.h"
#include "staging_memory.h"

namespace tutti {

// A call's data, and room for them in the form in which the operation takes them.
class StagedData {
 public:
  struct Form {
    DataType type;
    bool wide = false;  // 16-bit floats become float32
    std::optional<double> factor{};
  };
  // Elements in the caller's memory, and which of the room they are.  Input and output share the room as they do the
  // memory of a call in place.
  struct Input {
    const void* from;
    size_t first, count;
  };
  struct Output {
    void* to;
    size_t first, count;
  };
  // Throws std::bad_alloc.
  StagedData(std::shared_ptr<StagingMemory> memory, const Form& form, std::vector<Input> inputs, std::vector<Output> outputs);
  StagedData(const StagedData&) = delete;
  ~StagedData() { memory_->give_back(room_); }

  const std::vector<size_t>& firsts() const { return firsts_; }  // of the inputs
  std::byte* at(size_t element) const { return room_.begin + element * element_bytes(); }
  Ticket make_ready(Executor& executor);
  Ticket hand_out(Executor& executor);

 private:
  size_t element_bytes() const { return form_.wide ? sizeof(float) : element_size(form_.type); }

  std::shared_ptr<StagingMemory> memory_;
  Form form_;
  std::vector<Input> inputs_;
  std::vector<Output> outputs_;
  std::vector<size_t> firsts_;
  StagingMemory::Room room_;
};

class StagedOperation final : public Operation {
 public:
  // `inner` works on `data`, which it refers to, and has the signature of the caller's call.
  StagedOperation(std::unique_ptr<StagedData> data, std::shared_ptr<Operation> inner, Executor& executor);
  ~StagedOperation() override { abandon_work(); }

  void enter() noexcept override { inner_->enter(); }
  SlotBank* bank() override { return inner_->bank(); }
  bool advance(bool may_start) override;
  bool started() const override { return phase_ != Phase::make_ready && inner_->started(); }
  bool finished() const override { return phase_ == Phase::done; }
  void end(bool success) override;
  int waits_for() const override { return inner_->waits_for(); }
  uint32_t step() const override { return inner_->step(); }
  uint32_t steps() const override { return inner_->steps(); }

 private:
  enum class Phase : uint8_t { make_ready, run, hand_out, done };
  void abandon_work() noexcept;

  std::unique_ptr<StagedData> data_;  // outlives inner_
  std::shared_ptr<Operation> inner_;
  Executor& executor_;
  Phase phase_ = Phase::make_ready;
  Ticket working_ = kDone;
};

}  // namespace tutti
