#include "staged_operation.h"

#include <algorithm>
#include <cstdint>
#include <new>
#include <utility>

#include "large_pages.h"

namespace tutti {
namespace {

constexpr uint32_t kQueue = 0;  // of the executor

void free_room(StagingMemory::Room room) {
  if (room.begin) LargePages<std::byte>().deallocate(room.begin, room.bytes);
}

}  // namespace

StagingMemory::~StagingMemory() { free_room(kept_); }

StagingMemory::Room StagingMemory::take(size_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    if (kept_.bytes >= bytes) return std::exchange(kept_, {});
  }
  return {LargePages<std::byte>().allocate(bytes), bytes};
}

void StagingMemory::give_back(Room room) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (room.bytes <= kMostKept && room.bytes > kept_.bytes) std::swap(room, kept_);
  }
  free_room(room);
}

StagedData::StagedData(std::shared_ptr<StagingMemory> memory, const Form& form, std::vector<Input> inputs,
                       std::vector<Output> outputs)
    : memory_(std::move(memory)), form_(form), inputs_(std::move(inputs)), outputs_(std::move(outputs)) {
  size_t elements = 1;
  for (const Input& input : inputs_) {
    elements = std::max(elements, input.first + input.count);
    firsts_.push_back(input.first);
  }
  for (const Output& output : outputs_) elements = std::max(elements, output.first + output.count);
  if (elements > SIZE_MAX / (2 * element_bytes())) throw std::bad_alloc();
  room_ = memory_->take(elements * element_bytes());
}

Ticket StagedData::make_ready(Executor& executor) {
  Ticket last = kDone;
  for (const Input& input : inputs_) {
    std::byte* const to = at(input.first);
    if (form_.wide) last = executor.widen(kQueue, {form_.type, input.from, to, input.count});
    const DataType type = form_.wide ? DataType::float32 : form_.type;
    if (form_.factor)
      last = executor.scale(kQueue, {type, form_.wide ? to : input.from, to, input.count, *form_.factor});
    else if (!form_.wide)
      last = executor.copy(kQueue, {.to = to, .from = input.from, .bytes = input.count * element_bytes()});
  }
  return last;
}

Ticket StagedData::hand_out(Executor& executor) {
  Ticket last = kDone;
  for (const Output& output : outputs_) {
    if (form_.wide)
      last = executor.narrow(kQueue, {form_.type, at(output.first), output.to, output.count});
    else
      last = executor.copy(kQueue, {.to = output.to, .from = at(output.first), .bytes = output.count * element_bytes()});
  }
  return last;
}

StagedOperation::StagedOperation(std::unique_ptr<StagedData> data, std::shared_ptr<Operation> inner, Executor& executor)
    : Operation(inner->signature(), inner->algorithm()), data_(std::move(data)), inner_(std::move(inner)), executor_(executor) {}

bool StagedOperation::advance(bool may_start) {
  if (phase_ == Phase::done || (phase_ == Phase::make_ready && !may_start)) return false;
  if (working_ != kDone && !executor_.done(working_)) return false;
  working_ = kDone;
  if (phase_ == Phase::make_ready) {
    working_ = data_->make_ready(executor_);
    phase_ = Phase::run;
    if (working_ != kDone) return true;
  }
  if (phase_ == Phase::run) {
    const bool moved = inner_->advance(may_start);
    traffic_ = inner_->traffic();
    trouble_ = inner_->trouble();
    if (trouble_.kind != Trouble::Kind::none || !inner_->finished()) return moved;
    working_ = data_->hand_out(executor_);
    phase_ = Phase::hand_out;
    if (working_ != kDone) return true;
  }
  phase_ = Phase::done;
  return true;
}

void StagedOperation::end(bool success) {
  if (!success) abandon_work();
  inner_->end(success);
}

void StagedOperation::abandon_work() noexcept {
  if (std::exchange(working_, kDone) != kDone) executor_.abandon();
}

}  // namespace tutti
