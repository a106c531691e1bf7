#include "memory_pool.h"

#include <map>

#include "of_process.h"

namespace tutti::cuda {
namespace {

struct Pools {
  std::mutex mutex;
  std::map<CUcontext, std::weak_ptr<MemoryPool>> by_context;
};

}  // namespace

std::shared_ptr<MemoryPool> MemoryPool::of(const SharedContext& context) {
  Pools& pools = of_process<Pools>();
  const std::lock_guard lock(pools.mutex);
  std::weak_ptr<MemoryPool>& known = pools.by_context[context->handle()];
  std::shared_ptr<MemoryPool> pool = known.lock();
  if (!pool) known = pool = std::shared_ptr<MemoryPool>(new MemoryPool(context));
  return pool;
}

}  // namespace tutti::cuda
