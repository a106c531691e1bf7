#include "cpu_kernels.h"

#include <algorithm>
#include <iterator>

#include "fold_kernel.h"
#include "kernel_rows.h"

namespace tutti::cuda {
namespace {

template <class Format, class Op>
void run_fold(const void* parameter, const Cpu& machine) {
  fold_kernel<Format, Op>(machine, *static_cast<const FoldCall*>(parameter));
}

#define TUTTI_FOLD_ROW(type, op, Format, Op) {"fold_" #type "_" #op, sizeof(FoldCall), &run_fold<Format, Op>},
#define TUTTI_EACH_FAMILY(ROW)                                                                               \
  TUTTI_ROWS_int8(ROW, Cpu) TUTTI_ROWS_int16(ROW, Cpu) TUTTI_ROWS_int32(ROW, Cpu) TUTTI_ROWS_int64(ROW, Cpu) \
      TUTTI_ROWS_float16(ROW, Cpu) TUTTI_ROWS_bfloat16(ROW, Cpu) TUTTI_ROWS_float32(ROW, Cpu) TUTTI_ROWS_float64(ROW, Cpu)

constexpr CpuKernel kKernels[] = {TUTTI_EACH_FAMILY(TUTTI_FOLD_ROW)};

}  // namespace

const CpuKernel* find_cpu_kernel(std::string_view name) {
  const auto found = std::find_if(std::begin(kKernels), std::end(kKernels), [&](const CpuKernel& k) { return k.name == name; });
  return found == std::end(kKernels) ? nullptr : found;
}

}  // namespace tutti::cuda
