// The kernels as functions of the processor: the same templates, over the Machine Cpu.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "cpu_machine.h"
#include "kernel_rows.h"

namespace tutti::cuda {

struct CpuKernel {
  std::string_view name;                                   // as in the image
  size_t parameter_bytes;                                  // of its one parameter, which is passed by value
  void (*run)(const void* parameter, const Cpu& machine);  // what one thread does
  uint32_t most_threads;                                   // of a block
  uint32_t registers;                                      // of a thread of a device's, about
  bool waits_for_blocks = false;                           // so that all that fit the device must run at once
};

// Null where there is none of that name.
const CpuKernel* find_cpu_kernel(std::string_view name);

std::span<const CpuKernel> cpu_interpreters();

#define TUTTI_CPU_ROWS(ROW)                                                                                  \
  TUTTI_ROWS_int8(ROW, Cpu) TUTTI_ROWS_int16(ROW, Cpu) TUTTI_ROWS_int32(ROW, Cpu) TUTTI_ROWS_int64(ROW, Cpu) \
      TUTTI_ROWS_float16(ROW, Cpu) TUTTI_ROWS_bfloat16(ROW, Cpu) TUTTI_ROWS_float32(ROW, Cpu) TUTTI_ROWS_float64(ROW, Cpu)

}  // namespace tutti::cuda
