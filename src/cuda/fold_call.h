// What a fold kernel is told, its one parameter, passed by value: plain bytes that host and device lay out alike.
#pragma once

#include <cstdint>

namespace tutti::cuda {

inline constexpr uint32_t kMostFoldSources = 16, kMostFoldTargets = 16;
inline constexpr uint32_t kFoldThreads = 512;  // of a block, at most

// Each target[i] = (source[0][i] op source[1][i] op …) / divisor for i < count, from left to right, rounded once, as
// kernels::fold_kernel does.  Operands are aligned as their elements are; a target may be one of the sources.  Any
// number of blocks shares the work.  Only averages divide: other operators leave the divisor alone.
struct FoldCall {
  const void* source[kMostFoldSources];
  void* target[kMostFoldTargets];
  uint64_t count;             // elements
  uint32_t sources, targets;  // at least one of each
  uint32_t divisor;           // 1: nothing is divided
};
static_assert(sizeof(FoldCall) == 280);

}  // namespace tutti::cuda
