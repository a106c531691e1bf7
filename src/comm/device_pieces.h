// How a call on device memory is cut into pieces that travel through the host's memory (device_side.h): each is a call
// by itself, of the same elements at every rank, whose input and output lie one behind the other in the host's memory.
#pragma once

#include <cstddef>
#include <vector>

#include "call.h"

namespace tutti {

// Bytes that lie at `device` there, and at this offset in the piece's memory of the host's.
struct DeviceRun {
  std::byte* device;
  size_t offset, bytes;
};

struct DevicePiece {
  // Its buffers and arrays are not set: see bound_to().
  Call call;
  std::vector<size_t> counts, send_offsets, recv_counts, recv_offsets;  // `counts`: also of all_to_all_v's sends
  std::vector<DeviceRun> in, out;
  size_t in_bytes = 0, out_bytes = 0;

  // Over these buffers; lives as long as the piece.  Null where there is nothing to read or write.
  Call bound_to(std::byte* input, std::byte* output) const;
};

// Pieces of at most `piece_bytes` on each side; one piece, however large, where calls cannot be cut: with a codec, of
// all_to_all_v (no rank knows how long the others are), of items that are larger.
std::vector<DevicePiece> cut_for_device(const Call& call, int rank, int size, size_t piece_bytes);

}  // namespace tutti
