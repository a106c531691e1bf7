// Loans: a large message that lies in memory of tutti_alloc_device is not copied into a slot, but read where it lies.
// Its sender writes where that is beside the message's flag; its receiver looks the region up in a table of its own,
// which nobody else can write, and checks that all of the message is in there.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tutti::cuda {

inline constexpr uint32_t kRegionsOfRank = 32;
inline constexpr uint32_t kMostLent = 2;  // regions that a call lends from: that of its input and that of its output

// Memory of a peer's as this rank reaches it, by rank and number; nothing of others can be read.
struct DeviceRegion {
  const std::byte* base;
  uint64_t bytes;
};

// Memory of this rank's that all peers of a call reach as the region of this number.
struct LentRegion {
  const std::byte* base;
  uint64_t bytes;
  uint64_t number;
};

// Where a message lies.  0 stands for its slot.
struct LoanWord {
  static constexpr uint32_t kOffsetBits = 48;
  uint64_t region, offset;

  constexpr uint64_t word() const { return (region + 1) << kOffsetBits | offset; }
  static constexpr LoanWord of(uint64_t word) { return {(word >> kOffsetBits) - 1, word & ((uint64_t{1} << kOffsetBits) - 1)}; }
};

}  // namespace tutti::cuda
