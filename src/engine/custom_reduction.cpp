#include "custom_reduction.h"

#include <algorithm>
#include <cstring>

namespace tutti {

void CustomReduction::reduce(const ReduceWork& work) {
  combine_(work.left, work.right, work.to, work.bytes / item_bytes_, context_);
  if (work.pass) std::memcpy(work.pass, work.to, work.bytes);
}

void CustomReduction::fold(const FoldWork& work) {
  for (size_t done = 0; done < work.bytes; done += room_.size()) {
    const size_t bytes = std::min(work.bytes - done, room_.size());
    const auto source = [&](size_t i) { return static_cast<const std::byte*>(work.sources[i]) + done; };
    const void* so_far = source(0);
    for (size_t i = 1; i < work.sources.size(); ++i, so_far = room_.data())
      combine_(so_far, source(i), room_.data(), bytes / item_bytes_, context_);
    for (const kernels::Target& target : work.targets) std::memmove(static_cast<std::byte*>(target.memory) + done, so_far, bytes);
  }
}

}  // namespace tutti
