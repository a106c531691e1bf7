#include "device_pieces.h"

#include <algorithm>
#include <utility>

namespace tutti {
namespace {

std::byte* at(const void* base, size_t bytes) { return static_cast<std::byte*>(const_cast<void*>(base)) + bytes; }

void add(std::vector<DeviceRun>& runs, size_t& end, const void* device, size_t bytes) {
  if (bytes == 0) return;
  runs.push_back({at(device, 0), end, bytes});
  end += bytes;
}

DevicePiece piece_of(const Call& call) {
  DevicePiece piece;
  piece.call = call;
  piece.call.input = piece.call.output = nullptr;
  piece.call.inputs = nullptr;
  piece.call.outputs = nullptr;
  piece.call.counts = piece.call.send_counts = piece.call.send_offsets = piece.call.recv_counts = piece.call.recv_offsets = nullptr;
  piece.call.list_counts = nullptr;
  piece.call.list_length = 0;
  return piece;
}

// The part [begin, end) of a list of tensors, in elements of the whole.
void add_of_list(std::vector<DeviceRun>& runs, size_t& filled, const Call& call, const void* const* tensors, size_t begin,
                 size_t end) {
  const size_t element = element_size(call.type);
  size_t first = 0;
  for (size_t i = 0; i < call.list_length && first < end; first += call.list_counts[i++]) {
    const size_t from = std::max(begin, first), to = std::min(end, first + call.list_counts[i]);
    if (from < to) add(runs, filled, at(tensors[i], (from - first) * element), (to - from) * element);
  }
}

// One vector of `call.count` elements at every rank.
std::vector<DevicePiece> cut_vector(const Call& call, const Extent& extent, size_t most) {
  const size_t element = element_size(call.type);
  std::vector<DevicePiece> pieces;
  size_t begin = 0;
  do {
    const size_t end = std::min(call.count, begin + most);
    DevicePiece& piece = pieces.emplace_back(piece_of(call));
    piece.call.count = end - begin;
    if (call.list_counts) {
      add_of_list(piece.in, piece.in_bytes, call, call.inputs, begin, end);
      add_of_list(piece.out, piece.out_bytes, call, call.outputs, begin, end);
    } else {
      if (extent.reads) add(piece.in, piece.in_bytes, at(call.input, begin * element), (end - begin) * element);
      if (extent.writes) add(piece.out, piece.out_bytes, at(call.output, begin * element), (end - begin) * element);
    }
    begin = end;
  } while (begin < call.count);
  return pieces;
}

// A part of each rank's, from which every piece takes as many elements.
std::vector<DevicePiece> cut_parts(const Call& call, const Extent& extent, int rank, int size, size_t most) {
  const auto p = static_cast<size_t>(size), me = static_cast<size_t>(rank);
  const size_t element = element_size(call.type);
  const auto count_of = [&](size_t r) { return call.counts ? call.counts[r] : call.count; };
  size_t longest = 0;
  for (size_t r = 0; r < p; ++r) longest = std::max(longest, count_of(r));
  const bool whole_in = call.collective == Collective::reduce_scatter || call.collective == Collective::scatter ||
                        call.collective == Collective::all_to_all;
  const bool whole_out = call.collective == Collective::all_gather || call.collective == Collective::gather ||
                         call.collective == Collective::all_to_all;
  std::vector<DevicePiece> pieces;
  size_t begin = 0;
  do {
    DevicePiece& piece = pieces.emplace_back(piece_of(call));
    piece.call.count = std::min(most, longest - begin);
    size_t offset = 0;  // of the rank's part in the whole
    for (size_t r = 0; r < p; offset += count_of(r++)) {
      const size_t first = std::min(begin, count_of(r)), length = std::min(count_of(r) - first, most);
      if (call.counts) piece.counts.push_back(length);
      const auto part_of = [&](const void* const* parts, const void* whole, bool is_whole) {
        return parts ? at(parts[r], first * element) : at(whole, ((is_whole ? offset : 0) + first) * element);
      };
      if (extent.reads && (whole_in || r == me))
        add(piece.in, piece.in_bytes, part_of(call.inputs, call.input, whole_in), length * element);
      if (extent.writes && (whole_out || r == me))
        add(piece.out, piece.out_bytes, part_of(call.outputs, call.output, whole_out), length * element);
    }
    begin += piece.call.count;
  } while (begin < longest);
  return pieces;
}

std::vector<DevicePiece> whole_exchange(const Call& call, int size) {
  const size_t element = element_size(call.type);
  std::vector<DevicePiece> pieces{piece_of(call)};
  DevicePiece& piece = pieces.front();
  for (size_t r = 0; r < static_cast<size_t>(size); ++r) {
    piece.counts.push_back(call.send_counts[r]);
    piece.recv_counts.push_back(call.recv_counts[r]);
    piece.send_offsets.push_back(piece.in_bytes / element);
    piece.recv_offsets.push_back(piece.out_bytes / element);
    add(piece.in, piece.in_bytes, call.inputs ? call.inputs[r] : at(call.input, call.send_offsets[r] * element),
        call.send_counts[r] * element);
    add(piece.out, piece.out_bytes, call.outputs ? call.outputs[r] : at(call.output, call.recv_offsets[r] * element),
        call.recv_counts[r] * element);
  }
  return pieces;
}

}  // namespace

Call DevicePiece::bound_to(std::byte* input, std::byte* output) const {
  Call bound = call;
  if (call.collective == Collective::barrier) return bound;
  bound.input = in.empty() ? nullptr : input;
  bound.output = out.empty() ? nullptr : output;
  if (!send_offsets.empty()) {
    bound.send_counts = counts.data();
    bound.send_offsets = send_offsets.data();
    bound.recv_counts = recv_counts.data();
    bound.recv_offsets = recv_offsets.data();
  } else if (!counts.empty()) {
    bound.counts = counts.data();
  }
  return bound;
}

std::vector<DevicePiece> cut_for_device(const Call& call, int rank, int size, size_t piece_bytes) {
  if (call.collective == Collective::barrier) {  // its byte is the library's
    DevicePiece piece;
    piece.call = call;
    return {std::move(piece)};
  }
  if (call.send_counts) return whole_exchange(call, size);
  const Extent extent = extent_of(call, rank, size);
  const size_t element = element_size(call.type), width = call.custom ? call.custom->width : 1;
  const bool parts = each_rank_has_a_part(call.collective);
  const size_t unit = element * width * (parts ? static_cast<size_t>(size) : 1);  // bytes of the least piece
  const bool uncut = call.codec || unit > piece_bytes;
  const size_t most = uncut ? SIZE_MAX / 2 : piece_bytes / unit * width;
  return parts ? cut_parts(call, extent, rank, size, most) : cut_vector(call, extent, most);
}

}  // namespace tutti
