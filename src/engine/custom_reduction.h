// The caller's own reduction, in the place of the kernels: of items of several elements, in the host's memory, by the
// thread that drives the engine.
#pragma once

#include <cstddef>
#include <vector>

#include "cut.h"
#include "executor.h"

namespace tutti {

class CustomReduction {
 public:
  // result[i] = left[i] ∘ right[i] for i < count; `result` may be `left` or `right`.
  using Combine = void (*)(const void* left, const void* right, void* result, size_t count, void* context);

  CustomReduction(Combine combine, void* context, size_t item_bytes)
      : combine_(combine), context_(context), item_bytes_(item_bytes), room_(pieces_of(kPiece, item_bytes) * item_bytes) {}

  // Data are cut at multiples of this.
  static size_t unit(size_t item_bytes) { return pieces_of(VectorCut::kUnit, item_bytes) * item_bytes; }

  void reduce(const ReduceWork& work);
  void fold(const FoldWork& work);

 private:
  static constexpr size_t kPiece = 16 << 10;  // stays in a core's own cache

  Combine combine_;
  void* context_;
  size_t item_bytes_;
  std::vector<std::byte> room_;  // for what a fold has so far: a target may be one of the sources
};

}  // namespace tutti
