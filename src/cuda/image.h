// The kernels as they are embedded in the library, and their names.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "vocabulary.h"

namespace tutti::cuda {

// The module with the kernels of a type, for cuModuleLoadData; types may share one.  In a library that was built
// without nvcc it is empty or, beside tests, what only their driver can load.
std::span<const std::byte> image(DataType type);

// "fold_uint32_sum" for int32 and uint32; empty where the operator is not defined.
std::string fold_kernel_name(DataType type, ReduceOp op);
// Likewise "interpret_uint32_sum".
std::string interpreter_name(DataType type, ReduceOp op);
// "scale_float32"; of floats.
std::string scale_kernel_name(DataType type);

}  // namespace tutti::cuda
