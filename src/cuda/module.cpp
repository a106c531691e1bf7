#include "module.h"

namespace tutti::cuda {

Result<int> Function::attribute(FunctionAttribute attribute) const {
  int value = 0;
  Status status =
      context_->check(context_->driver().call<"cuFuncGetAttribute">(&value, attribute, function_), "tell a kernel's needs");
  if (!status.ok()) return status;
  return value;
}

Result<int> Function::resident_blocks(int threads, size_t shared_bytes) const {
  const CurrentContext current(*context_);
  if (!current.status().ok()) return current.status();
  int blocks = 0;
  const Error error =
      context_->driver().call<"cuOccupancyMaxActiveBlocksPerMultiprocessor">(&blocks, function_, threads, shared_bytes);
  if (error != Error::success) return context_->failure(error, "tell how many blocks of a kernel fit");
  return blocks;
}

Status Function::launch(unsigned blocks, unsigned threads, const void* parameter, CUstream stream,
                        unsigned shared_bytes) const {
  void* parameters[] = {const_cast<void*>(parameter)};  // the driver only reads it
  const Error error = context_->driver().call<"cuLaunchKernel">(function_, blocks, 1U, 1U, threads, 1U, 1U, shared_bytes, stream,
                                                                &parameters[0], static_cast<void**>(nullptr));
  return context_->check(error, "launch a kernel");
}

Result<Module> Module::load(SharedContext context, std::span<const std::byte> image) {
  const CurrentContext current(*context);
  if (!current.status().ok()) return current.status();
  CUmodule module = nullptr;
  const Error error = context->driver().call<"cuModuleLoadData">(&module, static_cast<const void*>(image.data()));
  if (error != Error::success) return context->failure(error, "load kernels on device " + std::to_string(context->device()));
  return Module({std::move(context), module});
}

Result<Function> Module::function(const std::string& name) const {
  const SharedContext& context = module_.context();
  const Driver& driver = context->driver();
  const CurrentContext current(*context);
  if (!current.status().ok()) return current.status();
  CUfunction function = nullptr;
  Error error = driver.call<"cuModuleGetFunction">(&function, module_.get(), name.c_str());
  int registers = 0;  // before 12.4 nothing says "load", but to tell this a function must have been loaded
  if (error == Error::success)
    error = driver.has<"cuFuncLoad">() ? driver.call<"cuFuncLoad">(function)
                                       : driver.call<"cuFuncGetAttribute">(&registers, FunctionAttribute::num_regs, function);
  if (error != Error::success) return context->failure(error, "load the kernel " + name);
  return Function(context, function);
}

}  // namespace tutti::cuda
