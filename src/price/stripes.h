// The sizes of messages: how many bytes of a run of blocks a stripe holds.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "cut.h"
#include "vocabulary.h"

namespace tutti {

class Stripes {
 public:
  // `bytes`: of the whole vector, or of the blocks of all ranks; all_to_all: of the blocks that one rank sends.
  Stripes(Collective collective, uint32_t ranks, uint32_t blocks, uint64_t bytes, size_t stripe_bytes)
      : fixed_(each_rank_has_a_part(collective)),
        vector_{bytes, blocks, stripe_bytes},
        block_{fixed_ ? pieces_of(bytes, ranks) : 0, stripe_bytes},
        count_(fixed_ ? block_.stripes() : vector_.stripes()) {}
  uint64_t count() const { return count_; }

  // Of all blocks, in stripes 0 … n-1, as a share of the whole.
  double share(uint64_t n) const {
    const double full = static_cast<double>(vector_.stripe_bytes) * static_cast<double>(n);
    const double share = fixed_ ? full / static_cast<double>(block_.bytes)
                                : full * static_cast<double>(vector_.blocks) / static_cast<double>(vector_.bytes);
    return std::min(1.0, share);
  }

  // The run may pass the last block and go on at the first.
  uint64_t bytes(uint32_t block, uint32_t count, uint64_t stripe) const {
    if (fixed_) return count * block_.at(stripe).size();
    const uint64_t before_end = std::min<uint64_t>(count, vector_.blocks - block);
    const uint64_t size = vector_.at(block, before_end, stripe).size();
    return before_end == count ? size : size + vector_.at(0, count - before_end, stripe).size();
  }

 private:
  bool fixed_;
  VectorCut vector_;
  BlockCut block_;
  uint64_t count_;
};

}  // namespace tutti
