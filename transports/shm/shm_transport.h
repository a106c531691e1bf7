// `shm`: the memory transport over a memfd that the ranks of one host share.  The lowest rank of the host makes it and hands the
// descriptor over an abstract unix socket, so nothing ever appears in /dev/shm and a killed process leaves nothing behind.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "heap.h"
#include "memory_transport.h"
#include "owned_fd.h"

namespace tutti::shm {

// An abstract unix socket with a random name.  Opened by every rank before addresses are exchanged.
class Door {
 public:
  static Result<Door> open();
  const std::string& name() const { return name_; }
  const std::string& secret() const { return secret_; }
  int fd() const { return socket_.get(); }

 private:
  OwnedFd socket_;
  std::string name_, secret_;
};

struct Options {
  memory::ArenaShape shape;
  uint32_t my_place = 0;    // among the ranks of this host; place 0 makes the segment
  std::vector<int> places;  // of every rank of the communicator; -1: on another host
  std::string leader_door;  // name of place 0's door
  uint64_t timeout_ns = 0;  // for the hand-over
};

// A shared mapping, unmapped at the end.
class Mapping {
 public:
  Mapping() = default;
  static Result<Mapping> of(int fd, size_t bytes);
  // Address space for what may be allocated there later; none if it cannot be had.
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

class ShmTransport final : public memory::MemoryTransport {
 public:
  // Collective over the ranks of the host; blocks until this rank has the segment (place 0: until all others have it).
  static Result<std::unique_ptr<ShmTransport>> create(const Door& door, const Options& options);

  std::string_view name() const override { return "shm"; }
  const memory::Arena& arena() const { return arena_; }
  // This rank's part of the window of memory that the ranks can lend each other; nothing if this rank could not map it.
  std::unique_ptr<memory::Heap> make_heap() const;
  bool has_window() const { return window_.base() != nullptr; }

 private:
  ShmTransport(Mapping mapping, Mapping window, const Options& options);
  Mapping mapping_, window_;
  uint32_t place_;
};

}  // namespace tutti::shm
