// Device memory of one rank that kernels of other ranks reach: in this process as it is, in others by a handle.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>

#include "memory_pool.h"

namespace tutti::cuda {

class ReachableMemory {
 public:
  // Of a pool, with any content.
  static Result<std::shared_ptr<const ReachableMemory>> allocate(const SharedContext& context, size_t bytes,
                                                                 std::shared_ptr<MemoryPool> pool);
  // That which begins at this address in this process; null: none does.
  static std::shared_ptr<const ReachableMemory> at(CUdeviceptr address);
  // Gives its memory back: no kernel uses it any more.
  ~ReachableMemory();
  ReachableMemory(const ReachableMemory&) = delete;
  ReachableMemory& operator=(const ReachableMemory&) = delete;

  std::byte* data() const { return memory_.data(); }
  CUdeviceptr address() const { return memory_.address(); }
  size_t bytes() const { return memory_.size(); }
  const Context& context() const { return *context_; }
  Result<CUipcMemHandle> shared() const { return memory_.shared(); }

  // Zeroes its beginning by way of this stream, and waits for that.
  Status clear(uint64_t bytes, CUstream stream) const;

 private:
  ReachableMemory(SharedContext context, DeviceMemory memory, std::shared_ptr<MemoryPool> pool)
      : context_(std::move(context)), pool_(std::move(pool)), memory_(std::move(memory)) {}

  const SharedContext context_;
  const std::shared_ptr<MemoryPool> pool_;
  DeviceMemory memory_;
};

// Another rank's, as this rank's kernels reach it.
class PeerMemory {
 public:
  // Of this process, on the same device or one that this one reaches.
  static Result<PeerMemory> of_process(const Context& context, std::shared_ptr<const ReachableMemory> memory);
  static Result<PeerMemory> open(const SharedContext& context, const CUipcMemHandle& handle);
  std::byte* data() const { return memory_ ? memory_->data() : opened_->data(); }
  bool is_of_other_process() const { return opened_.has_value(); }
  // From data() on, as far as the driver knows, whatever the other process says.
  Result<size_t> bytes() const;

 private:
  std::shared_ptr<const ReachableMemory> memory_;  // kept for as long as this rank's kernels may use it
  std::optional<OpenedMemory> opened_;
};

}  // namespace tutti::cuda
