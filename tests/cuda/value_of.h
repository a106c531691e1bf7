#pragma once

#include <stdexcept>
#include <utility>

#include "status.h"

namespace tutti::cuda::test {

template <class T>
T value_of(Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.status().message());  // which ends the test
  return std::move(*result);
}

}  // namespace tutti::cuda::test
