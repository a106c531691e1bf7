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
  Space space;             // of both
};

class Binding {
 public:
  struct Block {
    const std::byte* input;
    std::byte* output;
    size_t bytes;
  };

  // `stripe_bytes`: of one block; a multiple of the unit, at whose multiples the vector is cut.
  static Binding chunked(const void* input, void* output, size_t bytes, uint32_t blocks, size_t stripe_bytes,
                         size_t unit = VectorCut::kUnit);
  // Blocks first, first + 1, … ; all others are empty.  For all_to_all two such ranges are needed, see exchange().
  static Binding fixed(std::vector<Block> blocks, size_t stripe_bytes);
  // all_to_all: this rank's row (blocks rank·size + j) and column (blocks i·size + rank).
  static Binding exchange(std::vector<Block> row, std::vector<Block> column, uint32_t rank, size_t stripe_bytes);

  // With a stripe even where all blocks are empty.
  Binding at_least_one_stripe() && {
    stripes_ = std::max<uint64_t>(stripes_, 1);
    return std::move(*this);
  }

  // With blocks that lie in this space.
  Binding in(Space space) && {
    space_ = space;
    return std::move(*this);
  }

  Space space() const { return space_; }
  uint64_t stripes() const { return stripes_; }
  size_t stripe_bytes() const { return stripe_bytes_; }
  Span at(uint32_t block, uint64_t stripe) const;

 private:
  enum class Cut : uint8_t { chunked, fixed, exchange };
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
};

}  // namespace tutti
