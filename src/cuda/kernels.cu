// The kernels of one family, which TUTTI_FAMILY names: nvcc compiles this file once for each.
#include "fold_kernel.h"
#include "gpu.h"
#include "interpreter.h"
#include "kernel_rows.h"
#include "scale_kernel.h"

namespace tutti::cuda {

// Two blocks to a multiprocessor: half of its threads, with 64 registers each.  Before compute capability 8 these are too
// few for float64, and one block is half of the threads.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
constexpr int kFoldBlocks = 1;
#else
constexpr int kFoldBlocks = 2;
#endif
#define TUTTI_FOLD_KERNEL(type, op, Format, Op)                           \
  extern "C" __global__ void __launch_bounds__(kFoldThreads, kFoldBlocks) \
      fold_##type##_##op(const __grid_constant__ FoldCall call) {         \
    fold_kernel<Format, Op>(Gpu(), call);                                 \
  }

// A block's threads share its registers with no other block: a communicator takes a quarter of the device at most.
#define TUTTI_INTERPRETER_KERNEL(type, op, Format, Op)                   \
  extern "C" __global__ void __launch_bounds__(kInterpreterThreads, 1)   \
      interpret_##type##_##op(const __grid_constant__ DeviceCall call) { \
    Interpreter<Format, Op, Gpu>(Gpu(), call).run();                     \
  }

#define TUTTI_SCALE_KERNEL(type, Format)                               \
  extern "C" __global__ void __launch_bounds__(kScaleThreads)          \
      scale_##type(const __grid_constant__ ScaleCall call) {           \
    scale_kernel<Format>(Gpu(), call);                                 \
  }

#define TUTTI_ROWS_OF(family, ROW) TUTTI_ROWS_##family(ROW, Gpu)
#define TUTTI_SCALES_OF(family, ROW) TUTTI_SCALES_##family(ROW, Gpu)
#define TUTTI_KERNELS_OF(family)                 \
  TUTTI_ROWS_OF(family, TUTTI_FOLD_KERNEL)       \
  TUTTI_ROWS_OF(family, TUTTI_INTERPRETER_KERNEL) \
  TUTTI_SCALES_OF(family, TUTTI_SCALE_KERNEL)
TUTTI_KERNELS_OF(TUTTI_FAMILY)

}  // namespace tutti::cuda
