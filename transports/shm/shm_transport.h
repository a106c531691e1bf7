// `shm`: the memory transport over a memfd that the ranks of one host share.  The lowest rank of the host makes it and hands the
// descriptor over an abstract unix socket, so nothing ever appears in /dev/shm and a killed process leaves nothing behind.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "handoff.h"
#include "heap.h"
#include "memory_transport.h"
#include "segment.h"

namespace tutti::shm {

struct Options {
  memory::ArenaShape shape;
  uint32_t my_place = 0;            // among the ranks of this host; place 0 makes the segment
  std::vector<int> places;          // of every rank of the communicator; -1: on another host
  std::vector<std::string> names;   // of the ranks of this host, by place, for messages
  std::string handoff, secret;      // of place 0's socket
  Patience patience;                // for the hand-over
  const memory::Window* window = nullptr;  // that the ranks have in common already; null: the segment has one
};

class ShmTransport final : public memory::MemoryTransport {
 public:
  // Collective over the ranks of the host; blocks until this rank has the segment (place 0: until all others have it).
  static Result<std::unique_ptr<ShmTransport>> create(HandoffSocket& socket, const Options& options);

  std::string_view name() const override { return "shm"; }
  const memory::Arena& arena() const { return arena_; }
  const memory::Window& window() const { return window_; }  // of memory that the ranks can lend each other

 private:
  ShmTransport(Mapping mapping, memory::Window window, const Options& options);
  Mapping mapping_;
  memory::Window window_;
};

}  // namespace tutti::shm
