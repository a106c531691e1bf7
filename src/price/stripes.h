// How many bytes of a run of blocks a stripe holds: what the engine's Binding (src/engine/binding.h) says of places, for sizes alone.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "vocabulary.h"

namespace tutti {

class Stripes {
 public:
  // `bytes`: of the whole vector, or of the blocks of all ranks; all_to_all: of the blocks that one rank sends.
  Stripes(Collective collective, uint32_t ranks, uint32_t blocks, uint64_t bytes, size_t stripe_bytes)
      : blocks_(blocks), bytes_(bytes), stripe_(stripe_bytes), fixed_(each_rank_has_a_part(collective)) {
    block_ = fixed_ ? pieces(bytes, ranks) : 0;
    count_ = fixed_ ? pieces(block_, stripe_) : pieces(bytes_, stripe_ * blocks_);
  }
  uint64_t count() const { return count_; }
  // Of all blocks, in stripes 0 … n-1, as a share of the whole.
  double share(uint64_t n) const {
    const double full = static_cast<double>(stripe_) * static_cast<double>(n);
    return std::min(
        1.0, fixed_ ? full / static_cast<double>(block_) : full * static_cast<double>(blocks_) / static_cast<double>(bytes_));
  }
  uint64_t bytes(uint32_t block, uint32_t count, uint64_t stripe) const {
    if (fixed_) return count * std::min<uint64_t>(stripe_, block_ - stripe * stripe_);
    const uint64_t chunk = uint64_t{stripe_} * blocks_, length = std::min(chunk, bytes_ - stripe * chunk);
    if (length == chunk) return uint64_t{stripe_} * count;
    const auto before = [&](uint64_t n) { return std::min(length, pieces(length, kCut) * n / blocks_ * kCut); };
    const uint64_t end = uint64_t{block} + count;
    if (end <= blocks_) return before(end) - before(block);
    return length - before(block) + before(end - blocks_);
  }

 private:
  static constexpr uint64_t kCut = 64;  // bytes: no cache line is shared by two blocks
  static uint64_t pieces(uint64_t bytes, uint64_t piece) { return (bytes + piece - 1) / piece; }
  uint64_t blocks_, bytes_, block_ = 0, count_ = 0;
  size_t stripe_;
  bool fixed_;
};

}  // namespace tutti
