#include "cpu_kernels.h"

#include <algorithm>

#include "fold_kernel.h"

namespace tutti::cuda {
namespace {

template <class Format, class Op>
void run_fold(const void* parameter, const Cpu& machine) {
  fold_kernel<Format, Op>(machine, *static_cast<const FoldCall*>(parameter));
}

#define TUTTI_FOLD_ROW(type, op, Format, Op) {"fold_" #type "_" #op, sizeof(FoldCall), &run_fold<Format, Op>, kFoldThreads, 64},
constexpr CpuKernel kFolds[] = {TUTTI_CPU_ROWS(TUTTI_FOLD_ROW)};

}  // namespace

const CpuKernel* find_cpu_kernel(std::string_view name) {
  for (const auto kernels : {std::span<const CpuKernel>(kFolds), cpu_interpreters()}) {
    const auto found = std::ranges::find(kernels, name, &CpuKernel::name);
    if (found != kernels.end()) return &*found;
  }
  return nullptr;
}

}  // namespace tutti::cuda
