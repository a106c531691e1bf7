// The memory that the ranks of one host share, as a file without a name: the arena, and behind it a window of address
// space for what may be allocated later.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "owned_fd.h"
#include "status.h"

namespace tutti::shm {

// Where the window begins, and what each rank has of it: address space only, of which a process has 128 TiB.
size_t window_offset(size_t arena_bytes);
size_t heap_bytes(uint32_t ranks);

// Sealed, so that no rank can shrink it under the others; without a window where files may not be so large.
Result<OwnedFd> make_segment(size_t arena_bytes, size_t window_bytes);
// Whether what a peer handed over is such a segment: its size is enough and will stay so.
Status check_segment(int fd, size_t arena_bytes);

// A shared mapping, unmapped at the end.
class Mapping {
 public:
  Mapping() = default;
  static Result<Mapping> of(int fd, size_t bytes);
  // Of the window; none if there is no window or no address space for it.
  static Mapping window(int fd, size_t offset, size_t bytes);
  Mapping(Mapping&& other) noexcept : base_(std::exchange(other.base_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();
  std::byte* base() const { return base_; }

 private:
  Mapping(std::byte* base, size_t bytes) : base_(base), bytes_(bytes) {}
  std::byte* base_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace tutti::shm
