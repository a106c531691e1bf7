// What the kernel that multiplies by a factor is told.
#pragma once

#include <cstdint>

namespace tutti::cuda {

inline constexpr uint32_t kScaleThreads = 256;  // of a block

// target[i] = source[i] × factor for i < count, as kernels::scale does.  Both are aligned as their elements are.
struct ScaleCall {
  const void* source;
  void* target;
  uint64_t count;  // elements
  double factor;
};

}  // namespace tutti::cuda
