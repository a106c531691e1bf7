// Which memory a communicator's last calls of 64 KiB and more read and wrote at this rank: what they touched a short
// while ago is still in its caches.  Other calls are not seen; it is a guess, on which only time depends.
//
// Where an output's lines are in the caches, it is best written through them.  Where they are not, writing would first
// fetch them, so non-temporal stores are 1.4 times as fast; but of lines that the caches hold those make the next
// access slow, up to three times.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace tutti {

class RecentMemory {
 public:
  void touch(const void* memory, uint64_t bytes) {
    ranges_[next_++ % ranges_.size()] = {reinterpret_cast<uintptr_t>(memory), bytes, clock_};
    clock_ += bytes;
  }

  // Did one call touch all of this, and have since then, itself included, at most `window` bytes been touched?
  bool holds(const void* memory, uint64_t bytes, uint64_t window) const {
    const auto begin = reinterpret_cast<uintptr_t>(memory);
    for (const Range& range : ranges_)
      if (clock_ - range.clock <= window && range.begin <= begin && begin + bytes <= range.begin + range.bytes) return true;
    return false;
  }

 private:
  struct Range {
    uintptr_t begin = 0;
    uint64_t bytes = 0;
    uint64_t clock = 0;  // bytes that had been touched before
  };
  std::array<Range, 64> ranges_{};
  size_t next_ = 0;
  uint64_t clock_ = 0;
};

}  // namespace tutti
