#include "shm_transport.h"

namespace tutti::shm {
namespace {

Result<OwnedFd> get_segment(const Options& options) {
  const size_t bytes = options.shape.bytes();
  if (options.my_place == 0) return make_segment(bytes, options.window ? 0 : options.shape.ranks * heap_bytes(options.shape.ranks));
  auto memory = take_over(options.handoff, options.secret, options.my_place, options.names[0], options.patience);
  if (memory.ok())
    if (Status status = check_segment(memory->get(), bytes); !status.ok()) return status;
  return memory;
}

// Shared by all that use it, and unmapped by the last.
memory::Window map_window(int fd, const Options& options) {
  const uint32_t ranks = options.shape.ranks;
  const size_t each = heap_bytes(ranks);
  auto mapping = std::make_shared<Mapping>(Mapping::window(fd, window_offset(options.shape.bytes()), ranks * each));
  if (!mapping->base()) return {};
  return {std::shared_ptr<std::byte>(mapping, mapping->base()), options.my_place * each, each};
}

}  // namespace

Result<std::unique_ptr<ShmTransport>> ShmTransport::create(HandoffSocket& socket, const Options& options) {
  auto memory = get_segment(options);
  if (!memory.ok()) return memory.status();
  const size_t bytes = options.shape.bytes();
  auto mapping = Mapping::of(memory->get(), bytes);
  if (!mapping.ok()) return mapping.status();
  if (options.my_place == 0)
    if (Status served = hand_over(socket, memory->get(), options.names, options.patience); !served.ok()) return served;
  auto window = options.window ? *options.window : map_window(memory->get(), options);
  return std::unique_ptr<ShmTransport>(new ShmTransport(std::move(*mapping), std::move(window), options));
}

ShmTransport::ShmTransport(Mapping mapping, memory::Window window, const Options& options)
    : MemoryTransport(memory::Arena(mapping.base(), options.shape), options.my_place, options.places),
      mapping_(std::move(mapping)),
      window_(std::move(window)) {
  arena_.open_window(window_.base.get(), options.my_place);
}

}  // namespace tutti::shm
