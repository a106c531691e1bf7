#include "device_shared.h"

#include <atomic>
#include <new>

namespace tutti {
namespace {

constexpr size_t kMostKept = 64 << 20;  // bytes of buffers of no ring; more are for all communicators of the process

// Not freed: copies may still use it.
void leave_alone(cuda::PinnedMemory memory) noexcept {
  union Place {
    Place() {}
    ~Place() {}
    cuda::PinnedMemory memory;
  } place;
  new (&place.memory) cuda::PinnedMemory(std::move(memory));
}

}  // namespace

Result<cuda::PinnedMemory> DeviceSide::Shared::buffer(size_t bytes) {
  {
    const std::lock_guard lock(mutex);
    for (auto& known : buffers) {
      if (known.size() < bytes) continue;
      kept -= known.size();
      std::swap(known, buffers.back());
      cuda::PinnedMemory taken = std::move(buffers.back());
      buffers.pop_back();
      return taken;
    }
  }
  return pool->pinned(bytes);
}

void DeviceSide::Shared::give_back(std::vector<cuda::PinnedMemory>& used, bool free) noexcept try {
  const std::lock_guard lock(mutex);
  for (auto& buffer : used) {
    const size_t bytes = buffer.size();
    if (free && kept + bytes > kMostKept) {
      pool->give_back(std::move(buffer));  // not freed: that would wait for kernels, which may wait for what comes next here
      continue;
    }
    (free ? buffers : late).push_back(std::move(buffer));
    if (free) kept += bytes;
  }
} catch (const std::bad_alloc&) {
  if (free) return;
  for (auto& buffer : used) leave_alone(std::move(buffer));
}

Result<cuda::Event> DeviceSide::Shared::spare_event() {
  const std::lock_guard lock(mutex);
  if (events.empty()) return cuda::Event::create(context);
  cuda::Event taken = std::move(events.back());
  events.pop_back();
  return taken;
}

void DeviceSide::Shared::give_back(cuda::Event used) noexcept try {
  const std::lock_guard lock(mutex);
  events.push_back(std::move(used));
} catch (const std::bad_alloc&) {  // it ends here
}

void DeviceSide::Shared::leave(std::shared_ptr<Shared> shared) noexcept {
  static std::atomic<Shared*> last{nullptr};  // so that whoever looks for leaks finds them
  Shared& left = *shared;
  left.left_before = last.exchange(&left);
  left.itself = std::move(shared);
}

}  // namespace tutti
