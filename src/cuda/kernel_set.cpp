#include "kernel_set.h"

#include <algorithm>
#include <climits>
#include <mutex>

#include "device_call.h"
#include "of_process.h"

namespace tutti::cuda {
namespace {

struct Loaded {
  std::mutex mutex;
  std::map<CUcontext, std::weak_ptr<const KernelSet>> by_context;
};

constexpr size_t kSharedBytes = 8 << 10;  // of a block, for programs of some dozens of ranks

}  // namespace

Result<std::shared_ptr<const KernelSet>> KernelSet::of(const SharedContext& context) {
  Loaded& loaded = of_process<Loaded>();
  const std::lock_guard lock(loaded.mutex);
  std::weak_ptr<const KernelSet>& known = loaded.by_context[context->handle()];
  if (auto ready = known.lock()) return ready;
  auto fresh = load(context);
  if (fresh.ok()) known = *fresh;
  return fresh;
}

Result<std::shared_ptr<const KernelSet>> KernelSet::load(const SharedContext& context) {
  const auto multiprocessors = context->attribute(DeviceAttribute::multiprocessor_count);
  if (!multiprocessors.ok()) return multiprocessors.status();
  const std::shared_ptr<KernelSet> all(new KernelSet);
  std::map<const std::byte*, size_t> modules;  // by image
  int fit = INT_MAX;                           // on a multiprocessor
  for (int t = 0; t < kDataTypes; ++t) {
    const auto type = static_cast<DataType>(t);
    const std::span<const std::byte> code = image(type);
    if (code.empty()) return Status(Code::unsupported, "this library was built without kernels for devices");
    if (!modules.contains(code.data())) {
      auto module = Module::load(context, code);
      if (!module.ok()) return module.status();
      modules[code.data()] = all->modules_.size();
      all->modules_.push_back(std::move(*module));
    }
    for (int o = 0; o < kReduceOps; ++o) {
      std::string name = interpreter_name(type, static_cast<ReduceOp>(o));
      if (name.empty()) name = interpreter_name(type, ReduceOp::sum);  // to move data only
      auto known = all->functions_.find(name);
      if (known == all->functions_.end()) {
        auto function = all->modules_[modules[code.data()]].function(name);
        if (!function.ok()) return function.status();
        const auto resident = function->resident_blocks(kInterpreterThreads, kSharedBytes);
        if (!resident.ok()) return resident.status();
        fit = std::min(fit, *resident);
        known = all->functions_.emplace(name, std::move(*function)).first;
      }
      all->interpreters_[static_cast<size_t>(t)][static_cast<size_t>(o)] = &known->second;
    }
  }
  for (int t = 0; t < kDataTypes; ++t) {
    const auto type = static_cast<DataType>(t);
    if (!is_float(type)) continue;
    auto function = all->modules_[modules[image(type).data()]].function(scale_kernel_name(type));
    if (!function.ok()) return function.status();
    all->functions_.emplace(scale_kernel_name(type), std::move(*function));
  }
  all->resident_blocks_ = fit * *multiprocessors;
  return std::shared_ptr<const KernelSet>(all);
}

}  // namespace tutti::cuda
