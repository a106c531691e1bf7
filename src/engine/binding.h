// A Binding gives symbolic blocks their bytes: for block b and stripe k, where in the caller's input and output, and
// how long.  The boundaries are those of cut.h: `chunked` is one vector, `fixed` blocks are places of their own.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "cut.h"
#include "space.h"

namespace tutti {

struct Span {
  const std::byte* input;  // null where the block is not input
  std::byte* output;       // null where it is not output
  size_t bytes;
  Space space;  // of both
};

class Binding {
 public:
  enum class Cut : uint8_t { chunked, fixed, exchange };
  struct Block {
    const std::byte* input;
    std::byte* output;
    size_t bytes;
  };

  // `stripe_bytes`: of one block; a multiple of the unit, at whose multiples the vector is cut.
  static Binding chunked(const void* input, void* output, size_t bytes, uint32_t blocks, size_t stripe_bytes,
                         size_t unit = VectorCut::kUnit);
  // The same over the concatenation of pieces.
  static Binding scattered(std::vector<Block> pieces, uint32_t blocks, size_t stripe_bytes, size_t unit = VectorCut::kUnit);
  // Blocks first, first + 1, … ; all others are empty.  For all_to_all two such ranges are needed, see exchange().
  static Binding fixed(std::vector<Block> blocks, size_t stripe_bytes);
  // all_to_all: this rank's row (blocks rank·size + j) and column (blocks i·size + rank).
  static Binding exchange(std::vector<Block> row, std::vector<Block> column, uint32_t rank, size_t stripe_bytes);

  // With a stripe even where all blocks are empty.
  Binding at_least_one_stripe() && {
    stripes_ = std::max<uint64_t>(stripes_, 1);
    return std::move(*this);
  }

  // Of one block of its own: only so many bytes of it.
  void shorten(size_t bytes);

  // With blocks that lie in this space.
  Binding in(Space space) && {
    space_ = space;
    return std::move(*this);
  }

  Space space() const { return space_; }
  uint64_t stripes() const { return stripes_; }
  size_t stripe_bytes() const { return stripe_bytes_; }
  Span at(uint32_t block, uint64_t stripe) const;  // not where it is scattered

  // For kernels, which work this out themselves.
  Cut cut() const { return cut_; }
  const std::byte* input() const { return input_; }             // of one vector
  std::byte* output() const { return output_; }                 // likewise
  uint64_t bytes() const { return vector_.bytes; }              // likewise
  const std::vector<Block>& blocks() const { return fixed_; }   // of an exchange, the row
  const std::vector<Block>& column() const { return column_; }  // of an exchange

  // The block's pieces in the stripe, in order.
  template <class Fn>
  void each(uint32_t block, uint64_t stripe, Fn fn) const {
    if (begins_.empty()) return fn(at(block, stripe));
    const ByteRange range = vector_.at(block, 1, stripe);
    auto piece = static_cast<size_t>(std::upper_bound(begins_.begin(), begins_.end(), range.begin) - begins_.begin()) - 1;
    for (uint64_t at = range.begin; at < range.end; ++piece) {
      const uint64_t within = at - begins_[piece], bytes = std::min(fixed_[piece].bytes - within, range.end - at);
      fn(Span{fixed_[piece].input + within, fixed_[piece].output + within, bytes, space_});
      at += bytes;
    }
  }

 private:
  const Block& block(uint32_t number) const;

  Cut cut_ = Cut::chunked;
  Space space_ = Space::host;
  const std::byte* input_ = nullptr;
  std::byte* output_ = nullptr;
  VectorCut vector_;
  uint32_t rank_ = 0;
  size_t stripe_bytes_ = 64;
  uint64_t stripes_ = 0;
  std::vector<Block> fixed_, column_;
  std::vector<uint64_t> begins_;  // of a scattered vector's pieces, which are in fixed_
};

}  // namespace tutti
