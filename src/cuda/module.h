// Kernels: an image of code, loaded into a context, and the functions in it.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "device.h"

namespace tutti::cuda {

// A kernel with one parameter.  It is there as long as its module.
class Function {
 public:
  Function(SharedContext context, CUfunction function) : context_(std::move(context)), function_(function) {}
  CUfunction get() const { return function_; }
  Result<int> attribute(FunctionAttribute attribute) const;
  // How many blocks a multiprocessor can hold at once.
  Result<int> resident_blocks(int threads, size_t shared_bytes) const;
  // `parameter` is copied before this returns.  The context is current.
  Status launch(unsigned blocks, unsigned threads, const void* parameter, CUstream stream, unsigned shared_bytes = 0) const;

 private:
  SharedContext context_;
  CUfunction function_;
};

class Module {
 public:
  static Result<Module> load(SharedContext context, std::span<const std::byte> image);
  // Loads the function's code, too: to do so at its first launch could wait for all kernels of the context, for those
  // as well that wait for this one.
  Result<Function> function(const std::string& name) const;

 private:
  explicit Module(Held<CUmodule, "cuModuleUnload"> module) : module_(std::move(module)) {}
  Held<CUmodule, "cuModuleUnload"> module_;
};

}  // namespace tutti::cuda
