// Kernels of the fake driver run on threads: a block is as many of them as have a barrier in common.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "cpu_kernels.h"

namespace fake_cuda {

using tutti::cuda::CpuKernel;

// Of all tables that the fake is linked with; null where there is none of that name.
const CpuKernel* find_kernel(std::string_view name);

// A device that is small in multiprocessors and not in what each of them has.
inline constexpr uint32_t kMultiprocessors = 32, kThreadsOfMultiprocessor = 2048, kMostThreadsOfBlock = 1024;
inline constexpr uint32_t kBlocksOfMultiprocessor = 32, kRegistersOfMultiprocessor = 64 << 10;
inline constexpr uint32_t kSharedBytesOfMultiprocessor = 228 << 10, kSharedBytesReserved = 1 << 10;  // for each block
inline constexpr uint32_t kSharedBytesOfBlock = 48 << 10;       // unless the function's attribute says more
inline constexpr uint32_t kMostSharedBytesOfBlock = 227 << 10;  // which it may up to here

// How many fit a multiprocessor.
uint32_t resident_blocks(const CpuKernel& kernel, uint32_t threads, size_t shared_bytes);

struct Launch {
  const CpuKernel* kernel;
  uint32_t blocks, rows;  // of the grid
  uint32_t threads;       // of a block
  size_t shared_bytes;    // of a block's memory
};

// All threads of all blocks.  Those of a kernel that waits for its other blocks run at once as far as they fit the
// device, other kernels' a few at a time.  A block has fewer threads than were asked for, and not always as many.
// To be called by a stream's thread.
void run_kernel(const Launch& launch, const void* parameter);

}  // namespace fake_cuda
