// A fold as a kernel of its own: what a FoldCall says, shared by all blocks of the grid.
#pragma once

#include <cstddef>

#include "fold.h"
#include "fold_call.h"

namespace tutti::cuda {

struct FoldOperands {
  const FoldCall& call;
  TUTTI_DEVICE uint32_t sources() const { return call.sources; }
  TUTTI_DEVICE uint32_t targets() const { return call.targets; }
  TUTTI_DEVICE const std::byte* source(uint32_t s) const { return static_cast<const std::byte*>(call.source[s]); }
  TUTTI_DEVICE std::byte* target(uint32_t t) const { return static_cast<std::byte*>(call.target[t]); }
};

// How many vectors a thread reads of a source at once: what leaves room for two blocks of 512 threads on a
// multiprocessor, 64 registers a thread.  Of two sources that are 64 KiB or more on the way to each multiprocessor.
template <class Format>
inline constexpr uint32_t kVectorsAtOnce = sizeof(typename Format::Stored) == 4 ? 4 : 2;

template <class Format, class Op, class Machine>
TUTTI_DEVICE void fold_kernel(const Machine& machine, const FoldCall& call) {
  fold<Format, Op, kVectorsAtOnce<Format>>(machine, FoldOperands{call}, call.count * sizeof(typename Format::Stored),
                                           Divisor(call.divisor), machine.block(), machine.blocks());
}

}  // namespace tutti::cuda
