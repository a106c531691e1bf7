// The kernels as functions of the processor: the same templates, over the Machine Cpu.
#pragma once

#include <cstddef>
#include <string_view>

#include "cpu_machine.h"

namespace tutti::cuda {

struct CpuKernel {
  std::string_view name;                                   // as in the image
  size_t parameter_bytes;                                  // of its one parameter, which is passed by value
  void (*run)(const void* parameter, const Cpu& machine);  // what one thread does
};

// Null where there is none of that name.
const CpuKernel* find_cpu_kernel(std::string_view name);

}  // namespace tutti::cuda
