#include "shm_transport.h"

namespace tutti::shm {
namespace {

Result<OwnedFd> get_segment(const Options& options) {
  const size_t bytes = options.shape.bytes();
  if (options.my_place == 0) return make_segment(bytes, options.shape.ranks);
  auto memory = take_over(options.handoff, options.secret, options.my_place, options.names[0], options.patience);
  if (memory.ok())
    if (Status status = check_segment(memory->get(), bytes); !status.ok()) return status;
  return memory;
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
  const uint32_t ranks = options.shape.ranks;
  Mapping window = Mapping::window(memory->get(), window_offset(bytes), ranks * heap_bytes(ranks));
  return std::unique_ptr<ShmTransport>(new ShmTransport(std::move(*mapping), std::move(window), options));
}

ShmTransport::ShmTransport(Mapping mapping, Mapping window, const Options& options)
    : MemoryTransport(memory::Arena(mapping.base(), options.shape), options.my_place, options.places),
      mapping_(std::move(mapping)),
      window_(std::move(window)),
      place_(options.my_place) {
  arena_.open_window(window_.base(), place_);
}

std::unique_ptr<memory::Heap> ShmTransport::make_heap() const {
  const size_t bytes = heap_bytes(arena_.shape().ranks);
  return window_.base() ? std::make_unique<memory::Heap>(window_.base() + place_ * bytes, bytes) : std::make_unique<memory::Heap>();
}

}  // namespace tutti::shm
