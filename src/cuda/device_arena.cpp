#include "device_arena.h"

namespace tutti::cuda {

Result<std::shared_ptr<const ReachableMemory>> allocate_arena(const SharedContext& context, const ArenaShape& shape,
                                                              std::shared_ptr<MemoryPool> pool, CUstream stream) {
  auto arena = ReachableMemory::allocate(context, shape.bytes(), std::move(pool));
  if (!arena.ok()) return arena;
  if (Status status = (*arena)->clear(shape.cleared_bytes(), stream); !status.ok()) return status;
  return arena;
}

}  // namespace tutti::cuda
