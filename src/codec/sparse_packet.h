// A packet that holds k of a chunk's n elements.
//
//   word    PacketKind                not_finite: all that follows is zero
//   float   scale                     values int8 only; finite, ≥ 0: a value is q · scale
//   values  k of spec.values, in ascending order of their places
//   places  as below; none if k = n, or if the reader knows them (random selections)
//   zeros   up to a multiple of 4 bytes
//
// Places take the shorter of two codes, chosen from n and k alone.  A bitmap of the chunk: n bits.  Or the split code
// (Elias 1974, Fano 1971), which up to k = n/10 is at most 0.6 bits per element longer than any code must be: the low l
// bits of each place as they are, k·l bits, and the high parts h_0 ≤ h_1 ≤ … as a set of k numbers, bit h_j + j of ((n
// - 1) >> l) + k bits.  At k = n/100 it takes 8.6 bits per element, where a plain number takes 12 for n = 4096.  Bits
// fill bytes from the lowest on; each of the two parts begins at a byte.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "codec.h"
#include "sparse_kernels.h"
#include "spec.h"
#include "status.h"

namespace tutti::sparse {

enum class Places : uint8_t { known, all, bitmap, split };

struct Layout {
  Layout(size_t n, size_t k, ValueType type, bool places_known);

  size_t n, k;
  ValueType type;
  Places places = Places::known;
  uint32_t low_bits = 0;        // split: l
  size_t values_at, places_at;  // bytes from the packet's beginning
  size_t low_at = 0;            // split: of the low parts
  size_t end;                   // of the content
  size_t bytes() const { return (end + 3) / 4 * 4; }
};

void write_not_finite(const Layout& layout, std::byte* packet);

// Writes a packet, and into the chunk what becomes of it: residual and momentum of the elements sent.
class Writer {
 public:
  static constexpr size_t kMost = 1024;  // elements that add() takes at once

  // `greatest`: at least the magnitude of each value to come; finite.
  Writer(const Layout& layout, const Chunk& chunk, bool masking, float greatest, std::byte* packet);

  // The next `count` elements: their places in the chunk, and what is to be sent, which is overwritten.
  void add(const uint32_t* index, float* value, size_t count);
  void finish();  // after k elements

 private:
  void put_bits(const uint32_t* index, size_t count);
  void put_split(const uint32_t* index, size_t count);

  const Layout& layout_;
  const Chunk& chunk_;
  const bool masking_;
  float scale_ = 1;
  std::byte* const packet_;
  size_t done_ = 0;
  std::byte* low_;        // split: where the next low bits go
  uint64_t pending_ = 0;  // split: low bits not yet written
  uint32_t n_pending_ = 0;
};

// Of int8 values up to `greatest`.  127 times it is finite.
float int8_scale(float greatest);

// Codec::decode.  `marks`, kMostWords of them: scratch; in: the places, if those are known.
Status decode(const Layout& layout, const std::byte* packet, uint64_t* marks, const Output& output);

// Calls use(places, count) with the marked places in ascending order, at most Writer::kMost at a time; `total`: how
// many are marked.
template <class Use>
void for_each_run(const uint64_t* marks, size_t n, size_t total, Use use) {
  const size_t step = total <= Writer::kMost ? words(n) : Writer::kMost / 64;
  uint32_t index[Writer::kMost + 64];
  for (size_t w = 0; w < words(n); w += step) {
    const size_t count = list(marks + w, std::min(step, words(n) - w), static_cast<uint32_t>(64 * w), index, Writer::kMost);
    if (count > 0) use(index, count);
  }
}

}  // namespace tutti::sparse
