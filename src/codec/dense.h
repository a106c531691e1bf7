// The codecs that send every number share these: the packet
//
//   kind (4 bytes) | one or two float32 for each group | codes of `bits` bits
//
// and how codes lie in it.  A row is 16 neighbours; a block is 32/bits rows, that is, 16 words: word j holds the j-th
// number of each row, the first row in the lowest bits.  So a vector of numbers becomes a vector of codes by shifts
// alone, whatever the width of vectors.  Behind the last whole block the codes follow each other bit by bit, so a short
// chunk makes a short packet.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>

#include "codec.h"

namespace tutti::dense {

inline constexpr size_t kRow = 16;
inline constexpr size_t kChunk = 1024;     // of groups up to this
inline constexpr size_t kMostGroups = 32;  // of a chunk: groups have at least 32 numbers
inline constexpr uint32_t kInfinityBits = 0x7F800000;

constexpr size_t block(uint32_t bits) { return kRow * 32 / bits; }

struct Layout {
  uint32_t bits = 8;        // of a code
  uint32_t group = kChunk;  // numbers; a power of two
  uint32_t scales = 1;      // float32 for each group

  size_t chunk() const { return std::max<size_t>(kChunk, group); }
  size_t groups(size_t n) const { return (n + group - 1) / group; }
  size_t group_size(size_t n, size_t g) const { return std::min<size_t>(group, n - g * group); }
  uint32_t shift() const { return static_cast<uint32_t>(std::countr_zero(group)); }
  bool whole_blocks() const { return group % block(bits) == 0; }  // a block lies in one group
  size_t codes_at(size_t n) const { return 4 + 4 * groups(n) * scales; }
  size_t packet_bytes(size_t n) const { return codes_at(n) + 4 * ((n * bits + 31) / 32); }
};

inline void write_kind(std::byte* packet, PacketKind kind) { std::memcpy(packet, &kind, sizeof kind); }

inline void fill_not_finite(float* out, size_t n) { std::fill_n(out, n, std::numeric_limits<float>::quiet_NaN()); }

inline void write_not_finite(std::byte* packet, size_t bytes, const Chunk& chunk) {
  std::memset(packet, 0, bytes);
  write_kind(packet, PacketKind::not_finite);
  if (chunk.decoded.out != nullptr) fill_not_finite(chunk.decoded.out, chunk.n);
}

inline float read_float(const std::byte* packet, size_t word) {
  float number;
  std::memcpy(&number, packet + 4 * word, sizeof number);
  return number;
}
inline void write_float(std::byte* packet, size_t word, float number) { std::memcpy(packet + 4 * word, &number, sizeof number); }

inline Status refused(const std::string& why) { return Status(Code::mismatch, "a compressed packet " + why); }

// A packet's first word says one of these: go on if finite; else `out` is filled or the packet refused.
struct Opened {
  bool finite = false;
  Status status;
};
inline Opened open(const std::byte* packet, size_t n, float* out) {
  uint32_t kind;
  std::memcpy(&kind, packet, sizeof kind);
  if (kind == static_cast<uint32_t>(PacketKind::finite)) return {true, {}};
  if (kind != static_cast<uint32_t>(PacketKind::not_finite))
    return {false, refused("is of the unknown kind " + std::to_string(kind))};
  fill_not_finite(out, n);
  return {};
}

// Does a vector fill a cache line?  If not, blocks are written part by part of their lines, which is no way to stream
// (Codec::streams).
bool writes_whole_lines();

// The i-th of so many numbers on, if there are any.
template <class T>
T* behind(T* numbers, size_t i) {
  return numbers == nullptr ? nullptr : numbers + i;
}

// Random numbers are a hash of the context and the place in the chunk: two rounds of multiplication ("lowbias32" of C.
// Wellons, Hash Prospector), with half of the key before and half between them.
struct RandomKey {
  uint32_t first = 0, second = 0;
};
inline RandomKey random_key(const EncodeContext& context) {
  uint64_t state = 0;
  for (const uint64_t part : {context.seed, uint64_t{context.step} << 32 | context.rank, context.element}) {
    state += part + 0x9E3779B97F4A7C15u;  // SplitMix64 (Steele, Lea, Flood 2014)
    state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9u;
    state = (state ^ state >> 27) * 0x94D049BB133111EBu;
    state ^= state >> 31;
  }
  return {static_cast<uint32_t>(state), static_cast<uint32_t>(state >> 32)};
}

}  // namespace tutti::dense
