// The interpreters, apart from the folds: these are most of what there is to compile.
#include <iterator>

#include "cpu_kernels.h"
#include "interpreter.h"

namespace tutti::cuda {
namespace {

template <class Format, class Op>
void run_interpreter(const void* parameter, const Cpu& machine) {
  Interpreter<Format, Op, Cpu>(machine, *static_cast<const DeviceCall*>(parameter)).run();
}

#define TUTTI_INTERPRETER_ROW(type, op, Format, Op) \
  {"interpret_" #type "_" #op, sizeof(DeviceCall), &run_interpreter<Format, Op>, kInterpreterThreads, 128, true},
constexpr CpuKernel kInterpreters[] = {TUTTI_CPU_ROWS(TUTTI_INTERPRETER_ROW)};

}  // namespace

std::span<const CpuKernel> cpu_interpreters() { return kInterpreters; }

}  // namespace tutti::cuda
