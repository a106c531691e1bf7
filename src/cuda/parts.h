// Where a lane's part of the data lies: the blocks of a plan, stripe by stripe, in the caller's memory, in scratch and
// in messages.  Sender and receiver of a message walk its parts alike, so both know what lies where in a slot.
#pragma once

#include <cstddef>
#include <cstdint>

#include "device_call.h"
#include "machine.h"

namespace tutti::cuda {

// A piece of an instruction's blocks that lies in one place.
struct DevicePart {
  const std::byte* own;  // this rank's value
  std::byte* home;       // where the new one is kept; null if it is not
  uint64_t at;           // in the message
  uint64_t bytes;
};

// The parts of an instruction's blocks in a stripe, one after another.
struct PartWalk {
  TUTTI_DEVICE PartWalk(const DeviceInstruction& instruction, uint64_t of_stripe)
      : stripe(of_stripe), segment(instruction.first_segment), end(segment + instruction.segments), keeps(instruction.keeps) {}

  uint64_t stripe;
  uint32_t segment, end;  // the present one, and the one behind the last
  uint32_t k = 0;         // block of the segment
  uint64_t at = 0;        // where the message has come to
  bool keeps;
};

// So many bytes behind `base`, which may be null: then nobody follows what comes out.
template <class Pointer>
TUTTI_DEVICE Pointer later(Pointer base, uint64_t bytes) {
  return reinterpret_cast<Pointer>(reinterpret_cast<uintptr_t>(base) + bytes);
}

class Parts {
 public:
  Parts() = default;
  // `header`: of the lane, whose scratch it names.
  TUTTI_DEVICE Parts(const DeviceCallHeader* header, const DeviceBlock* blocks, const DeviceSegment* segments)
      : header_(header), blocks_(blocks), segments_(segments) {}

  // Returns false where there is no more; empty blocks are no parts.
  TUTTI_DEVICE bool next(PartWalk& walk, DevicePart& part) const {
    TUTTI_LOOP
    while (walk.segment < walk.end) {
      const DeviceSegment& segment = segments_[walk.segment];
      const bool in_scratch = !segment.in_output && (walk.keeps || !segment.from_input);
      const uint32_t k = walk.k;
      uint32_t run = 1;
      uint64_t place = 0, begin, end;
      const std::byte* input = header_->input;
      std::byte* output = header_->output;
      if (header_->cut == DeviceCut::vector) {
        if (!in_scratch) run = segment.count;  // one piece of the caller's memory
        const uint64_t chunk = header_->stripe_bytes * header_->blocks, start = walk.stripe * chunk;
        const uint64_t left = header_->bytes - start, length = left < chunk ? left : chunk;
        begin = start + boundary(length, segment.block + k);
        end = start + boundary(length, segment.block + k + run);
      } else {
        const DeviceBlock& from = block(segment.block + k);
        const uint64_t to = (walk.stripe + 1) * header_->stripe_bytes;
        begin = walk.stripe * header_->stripe_bytes;
        end = to < from.bytes ? to : from.bytes;
        input = from.input, output = from.output, place = from.place;
      }
      if ((walk.k += run) == segment.count) walk.k = 0, ++walk.segment;
      if (begin >= end) continue;
      std::byte* home = nullptr;
      if (segment.in_output)
        home = later(output, begin);
      else if (in_scratch)
        home = header_->scratch + place + (segment.scratch + k) * scratch_pitch(header_->stripe_bytes);
      part.own = segment.from_input ? later(input, begin) : home;
      part.home = walk.keeps ? home : nullptr;
      part.at = walk.at + (header_->protocol == Protocol::stamped ? 0 : place);
      part.bytes = end - begin;
      walk.at = (part.at + part.bytes + 15) / 16 * 16;
      return true;
    }
    return false;
  }

 private:
  // VectorCut::at of src/plan/cut.h.
  TUTTI_DEVICE uint64_t boundary(uint64_t length, uint32_t block) const {
    const uint64_t units = (length + 63) / 64, at = units * block / header_->blocks * 64;
    return at < length ? at : length;
  }

  TUTTI_DEVICE const DeviceBlock& block(uint32_t number) const {
    if (header_->cut == DeviceCut::blocks) return blocks_[number];
    const uint32_t ranks = header_->block_rows / 2, source = number / ranks, destination = number % ranks;
    return source == header_->rank ? blocks_[destination] : blocks_[ranks + source];
  }

  const DeviceCallHeader* header_;
  const DeviceBlock* blocks_;
  const DeviceSegment* segments_;
};

}  // namespace tutti::cuda
