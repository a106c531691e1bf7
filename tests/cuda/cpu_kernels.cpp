#include "cpu_kernels.h"

#include <algorithm>

#include "fold_kernel.h"
#include "scale_kernel.h"

namespace tutti::cuda {
namespace {

template <class Format, class Op>
void run_fold(const void* parameter, const Cpu& machine) {
  fold_kernel<Format, Op>(machine, *static_cast<const FoldCall*>(parameter));
}

#define TUTTI_FOLD_ROW(type, op, Format, Op) {"fold_" #type "_" #op, sizeof(FoldCall), &run_fold<Format, Op>, kFoldThreads, 64},
constexpr CpuKernel kFolds[] = {TUTTI_CPU_ROWS(TUTTI_FOLD_ROW)};

template <class Format>
void run_scale(const void* parameter, const Cpu& machine) {
  scale_kernel<Format>(machine, *static_cast<const ScaleCall*>(parameter));
}

#define TUTTI_SCALE_ROW(type, Format) {"scale_" #type, sizeof(ScaleCall), &run_scale<Format>, kScaleThreads, 32},
constexpr CpuKernel kScales[] = {TUTTI_SCALES_float16(TUTTI_SCALE_ROW, Cpu) TUTTI_SCALES_bfloat16(TUTTI_SCALE_ROW, Cpu)
                                     TUTTI_SCALES_float32(TUTTI_SCALE_ROW, Cpu) TUTTI_SCALES_float64(TUTTI_SCALE_ROW, Cpu)};

}  // namespace

const CpuKernel* find_cpu_kernel(std::string_view name) {
  for (const auto kernels : {std::span<const CpuKernel>(kFolds), std::span<const CpuKernel>(kScales), cpu_interpreters()}) {
    const auto found = std::ranges::find(kernels, name, &CpuKernel::name);
    if (found != kernels.end()) return &*found;
  }
  return nullptr;
}

}  // namespace tutti::cuda
