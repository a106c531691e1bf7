#include "wide_operation.h"

#include <algorithm>
#include <cstdint>
#include <new>
#include <utility>

#include "kernels.h"
#include "large_pages.h"

namespace tutti {

WideNumbers::WideNumbers(DataType type, const void* input, const Place& input_place, void* output, const Place& output_place)
    : type_(type),
      input_(input),
      output_(output),
      input_place_(input_place),
      output_place_(output_place),
      count_(std::max({size_t{1}, input_place.first + input_place.count, output_place.first + output_place.count})) {
  if (count_ > SIZE_MAX / (2 * sizeof(float))) throw std::bad_alloc();
  whole_ = LargePages<float>().allocate(count_);
}

WideNumbers::~WideNumbers() { LargePages<float>().deallocate(whole_, count_); }

void WideNumbers::widen() { kernels::widen(type_, input_, input(), input_place_.count); }

void WideNumbers::narrow() {
  if (output_) kernels::narrow(type_, output(), output_, output_place_.count);
}

WideOperation::WideOperation(std::unique_ptr<WideNumbers> numbers, std::shared_ptr<PlanOperation> inner)
    : Operation(inner->signature(), inner->algorithm()), numbers_(std::move(numbers)), inner_(std::move(inner)) {}

bool WideOperation::advance(bool may_start) {
  if (narrowed_ || (!widened_ && !may_start)) return false;
  if (!std::exchange(widened_, true)) numbers_->widen();
  const bool moved = inner_->advance(may_start);
  traffic_ = inner_->traffic();
  trouble_ = inner_->trouble();
  if (trouble_.kind != Trouble::Kind::none || !inner_->finished()) return moved;
  numbers_->narrow();
  narrowed_ = true;
  return true;
}

}  // namespace tutti
