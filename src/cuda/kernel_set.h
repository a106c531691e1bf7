// The kernels that carry out calls, in a context, ready to be launched.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "image.h"
#include "module.h"
#include "vocabulary.h"

namespace tutti::cuda {

class KernelSet {
 public:
  // All of them, loaded: to load code waits for every kernel of the context, also for those that wait for what the one
  // to be loaded is to do.  The first in the process to ask loads them; they stay as long as anybody holds them.
  // UNSUPPORTED where the library has no kernels, or none for this device.
  static Result<std::shared_ptr<const KernelSet>> of(const SharedContext& context);

  // What only moves data has an operator, too: any.
  const Function& interpreter(DataType type, ReduceOp op) const {
    return *interpreters_[static_cast<size_t>(type)][static_cast<size_t>(op)];
  }
  const Function& scaling(DataType type) const { return functions_.at(scale_kernel_name(type)); }  // of floats
  // How many blocks of any interpreter the device holds at once.
  int resident_blocks() const { return resident_blocks_; }

 private:
  KernelSet() = default;
  static Result<std::shared_ptr<const KernelSet>> load(const SharedContext& context);
  std::vector<Module> modules_;
  std::map<std::string, Function> functions_;  // by name
  std::array<std::array<const Function*, kReduceOps>, kDataTypes> interpreters_{};
  int resident_blocks_ = 0;
};

}  // namespace tutti::cuda
