#include "wide_operation.h"

#include <algorithm>
#include <cstdint>
#include <new>
#include <utility>

#include "large_pages.h"

namespace tutti {
namespace {

constexpr uint32_t kQueue = 0;  // of the executor

void free_room(WideMemory::Room room) {
  if (room.numbers) LargePages<float>().deallocate(room.numbers, room.count);
}

}  // namespace

WideMemory::~WideMemory() { free_room(kept_); }

WideMemory::Room WideMemory::take(size_t count) {
  {
    const std::lock_guard lock(mutex_);
    if (kept_.count >= count) return std::exchange(kept_, {});
  }
  return {LargePages<float>().allocate(count), count};
}

void WideMemory::give_back(Room room) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (room.count <= kMostKept && room.count > kept_.count) std::swap(room, kept_);
  }
  free_room(room);
}

WideNumbers::WideNumbers(std::shared_ptr<WideMemory> memory, DataType type, const void* input, const Place& input_place,
                         void* output, const Place& output_place)
    : memory_(std::move(memory)),
      type_(type),
      input_(input),
      output_(output),
      input_place_(input_place),
      output_place_(output_place) {
  const size_t count = std::max({size_t{1}, input_place.first + input_place.count, output_place.first + output_place.count});
  if (count > SIZE_MAX / (2 * sizeof(float))) throw std::bad_alloc();
  whole_ = memory_->take(count);
}

Ticket WideNumbers::widen(Executor& executor) { return executor.widen(kQueue, {type_, input_, input(), input_place_.count}); }

Ticket WideNumbers::narrow(Executor& executor) {
  return output_ ? executor.narrow(kQueue, {type_, output(), output_, output_place_.count}) : kDone;
}

WideOperation::WideOperation(std::unique_ptr<WideNumbers> numbers, std::shared_ptr<PlanOperation> inner, Executor& executor)
    : Operation(inner->signature(), inner->algorithm()),
      numbers_(std::move(numbers)),
      inner_(std::move(inner)),
      executor_(executor) {}

bool WideOperation::advance(bool may_start) {
  if (phase_ == Phase::done || (phase_ == Phase::widen && !may_start)) return false;
  if (working_ != kDone && !executor_.done(working_)) return false;
  working_ = kDone;
  if (phase_ == Phase::widen) {
    working_ = numbers_->widen(executor_);
    phase_ = Phase::reduce;
    if (working_ != kDone) return true;
  }
  if (phase_ == Phase::reduce) {
    const bool moved = inner_->advance(may_start);
    traffic_ = inner_->traffic();
    trouble_ = inner_->trouble();
    if (trouble_.kind != Trouble::Kind::none || !inner_->finished()) return moved;
    working_ = numbers_->narrow(executor_);
    phase_ = Phase::narrow;
    if (working_ != kDone) return true;
  }
  phase_ = Phase::done;
  return true;
}

void WideOperation::end(bool success) {
  if (!success) abandon_work();
  inner_->end(success);
}

void WideOperation::abandon_work() noexcept {
  if (std::exchange(working_, kDone) != kDone) executor_.abandon();
}

}  // namespace tutti
