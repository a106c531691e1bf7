// The cuts of the data into blocks and stripes.  They follow from sizes that both ends of a message know, so the ends
// agree on every length without a word.
//
// Two ways to cut.
//   VectorCut  one vector, any number of equal blocks: stripe k is the k-th chunk of the vector, and the blocks are
//              parts of that chunk.  So a run of blocks of one stripe is contiguous in memory.
//   BlockCut   a block that is a place of its own (it belongs to a rank, or is one message): stripe k is its k-th
//              piece.
#pragma once

#include <algorithm>
#include <cstdint>

namespace tutti {

struct ByteRange {
  uint64_t begin, end;
  uint64_t size() const { return end - begin; }
};

// Pieces of `piece` bytes that hold `bytes`.
constexpr uint64_t pieces_of(uint64_t bytes, uint64_t piece) { return (bytes + piece - 1) / piece; }

// Where part n of `parts` begins, if `length` is dealt out in whole units, as evenly as can be.  Part `parts` begins
// at the end.
constexpr uint64_t even_boundary(uint64_t length, uint64_t unit, uint64_t n, uint64_t parts) {
  return std::min(length, pieces_of(length, unit) * n / parts * unit);
}

struct VectorCut {
  static constexpr uint64_t kUnit = 64;  // bytes: no element and no cache line is shared by two blocks

  uint64_t bytes = 0;
  uint64_t blocks = 1;
  uint64_t stripe_bytes = kUnit;  // of one block; a multiple of the unit
  uint64_t unit = kUnit;          // another one where several elements belong together

  uint64_t stripes() const { return pieces_of(bytes, stripe_bytes * blocks); }

  // In the vector.  block + count ≤ blocks.
  ByteRange at(uint64_t block, uint64_t count, uint64_t stripe) const {
    const uint64_t chunk = stripe_bytes * blocks, start = stripe * chunk, length = bytes - start;
    if (length >= chunk) return {start + block * stripe_bytes, start + (block + count) * stripe_bytes};  // no division
    return {start + even_boundary(length, unit, block, blocks), start + even_boundary(length, unit, block + count, blocks)};
  }
};

struct BlockCut {
  uint64_t bytes = 0;
  uint64_t stripe_bytes = VectorCut::kUnit;

  uint64_t stripes() const { return pieces_of(bytes, stripe_bytes); }

  // In the block; empty behind its end.
  ByteRange at(uint64_t stripe) const {
    const uint64_t begin = std::min(bytes, stripe * stripe_bytes);
    return {begin, std::min(bytes, begin + stripe_bytes)};
  }
};

}  // namespace tutti
