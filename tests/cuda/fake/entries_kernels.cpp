// Modules, their functions, and launches.
#include <atomic>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "entries.h"
#include "kernels.h"
#include "memory.h"

namespace fake_cuda {
namespace {

struct Function {
  Context* context = nullptr;
  const CpuKernel* kernel = nullptr;
  std::atomic<bool> loaded = false;
  std::atomic<uint32_t> most_shared_bytes = kSharedBytesOfBlock;  // that a launch may ask for
};
struct Module {
  Context* context = nullptr;
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<Function>, std::less<>> functions;  // that have been asked for
};

Error module_load(CUmodule* handle, const void* image) {
  Context* context = nullptr;
  if (const Error error = in_context(context); error != Error::success) return error;
  if (const Error error = unsafe_call(); error != Error::success) return error;
  if (!image) return Error::invalid_value;
  context->synchronize();
  auto module = std::make_shared<Module>();
  module->context = context;
  *handle = registry<Module>().add<CUmodule>(std::move(module));
  return Error::success;
}

Error module_unload(CUmodule handle) {
  const auto module = registry<Module>().find(handle);
  if (!module) return Error::invalid_handle;
  module->context->synchronize();
  registry<Module>().remove(handle);
  return Error::success;
}

Error module_function(CUfunction* handle, CUmodule of, const char* name) {
  const auto module = registry<Module>().find(of);
  if (!module) return Error::invalid_handle;
  const std::lock_guard lock(module->mutex);
  std::shared_ptr<Function>& function = module->functions[name];
  if (!function) {
    auto fresh = std::make_shared<Function>();
    fresh->context = module->context;
    fresh->kernel = find_kernel(name);
    if (!fresh->kernel) return Error::not_found;
    function = std::move(fresh);
  }
  *handle = registry<Function>().add<CUfunction>(function);
  return Error::success;
}

// To load code may wait for all that the context has been given, so here it does.
void load(Function& function) {
  if (!function.loaded.exchange(true)) function.context->synchronize();
}

Error function_load(CUfunction handle) {
  const auto function = registry<Function>().find(handle);
  if (!function) return Error::invalid_handle;
  load(*function);
  return Error::success;
}

Error function_attribute(int* value, FunctionAttribute attribute, CUfunction handle) {
  const auto function = registry<Function>().find(handle);
  if (!function) return Error::invalid_handle;
  uint32_t known = 0;
  switch (attribute) {
    case FunctionAttribute::max_threads_per_block: known = function->kernel->most_threads; break;
    case FunctionAttribute::num_regs: known = function->kernel->registers; break;
    case FunctionAttribute::max_dynamic_shared_size_bytes: known = function->most_shared_bytes; break;
    case FunctionAttribute::binary_version: known = 90; break;
    default: break;
  }
  *value = static_cast<int>(known);
  return function_load(handle);
}

Error function_set_attribute(CUfunction handle, FunctionAttribute attribute, int value) {
  const auto function = registry<Function>().find(handle);
  if (!function) return Error::invalid_handle;
  const bool fits = value >= 0 && value <= static_cast<int>(kMostSharedBytesOfBlock);
  if (attribute != FunctionAttribute::max_dynamic_shared_size_bytes || !fits) return Error::invalid_value;
  function->most_shared_bytes = static_cast<uint32_t>(value);
  return Error::success;
}

Error occupancy(int* blocks, CUfunction handle, int threads, size_t shared_bytes) {
  const auto function = registry<Function>().find(handle);
  if (!function) return Error::invalid_handle;
  if (threads <= 0) return Error::invalid_value;
  *blocks = static_cast<int>(resident_blocks(*function->kernel, static_cast<uint32_t>(threads), shared_bytes));
  return Error::success;
}

Error launch(CUfunction handle, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
             unsigned block_z, unsigned shared_bytes, CUstream on, void** parameters, void** extra) {
  const auto function = registry<Function>().find(handle);
  if (!function) return Error::invalid_handle;
  Context* context = nullptr;
  if (const Error error = in_context(context); error != Error::success) return error;
  if (function->context != context) return Error::invalid_handle;
  const uint64_t blocks = uint64_t{grid_x} * grid_y * grid_z, threads = uint64_t{block_x} * block_y * block_z;
  if (blocks == 0 || threads == 0 || threads > function->kernel->most_threads || extra) return Error::invalid_value;
  if (shared_bytes > function->most_shared_bytes) return Error::invalid_value;
  if (grid_z != 1 || block_y != 1 || block_z != 1) return Error::not_supported;
  load(*function);
  const auto* first = static_cast<const std::byte*>(parameters[0]);
  std::vector<std::byte> parameter(first, first + function->kernel->parameter_bytes);
  const Launch what{function->kernel, grid_x, grid_y, block_x, shared_bytes};
  return put_on(on, [parameter = std::move(parameter), what] {
    const Touching touching;
    if (const Error error = planned_failure("kernel"); error != Error::success) return error;
    run_kernel(what, parameter.data());
    return Error::success;
  });
}

}  // namespace

std::vector<Row> kernel_rows() {
  return {
      row<"cuModuleLoadData", &module_load>(),
      row<"cuModuleUnload", &module_unload>(),
      row<"cuModuleGetFunction", &module_function>(),
      row<"cuFuncLoad", &function_load>(),
      row<"cuFuncGetAttribute", &function_attribute>(),
      row<"cuFuncSetAttribute", &function_set_attribute>(),
      row<"cuOccupancyMaxActiveBlocksPerMultiprocessor", &occupancy>(),
      row<"cuLaunchKernel", &launch>(),
  };
}

}  // namespace fake_cuda
