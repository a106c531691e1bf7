// Kernels of the fake driver run on threads: a block is as many of them as have a barrier in common.
#pragma once

#include <cstdint>
#include <string_view>

#include "cpu_kernels.h"

namespace fake_cuda {

using tutti::cuda::CpuKernel;

// Of all tables that the fake is linked with; null where there is none of that name.
const CpuKernel* find_kernel(std::string_view name);

inline constexpr int kMultiprocessors = 8, kThreadsOfMultiprocessor = 2048, kMostThreadsOfBlock = 1024;
int resident_blocks(int threads);  // on a multiprocessor

// All threads of all blocks; as many blocks at once as fit the device.  `threads` is what was asked for: it runs with
// fewer, and not always with the same number.
void run_kernel(const CpuKernel& kernel, const void* parameter, uint32_t blocks, uint32_t threads);

}  // namespace fake_cuda
