#include "device_arena.h"

#include <map>
#include <mutex>
#include <thread>

#include "of_process.h"
#include "stream.h"

namespace tutti::cuda {
namespace {

struct Arenas {
  std::mutex mutex;
  std::map<CUdeviceptr, std::weak_ptr<const DeviceArena>> by_address;
};

}  // namespace

Result<std::shared_ptr<const DeviceArena>> DeviceArena::allocate(const SharedContext& context, const ArenaShape& shape,
                                                                 std::shared_ptr<MemoryPool> pool, CUstream stream) {
  auto memory = pool->device(shape.bytes());
  if (!memory.ok()) return memory.status();
  const std::shared_ptr<const DeviceArena> arena(new DeviceArena(context, std::move(*memory), std::move(pool)));
  if (Status status = arena->clear(shape.cleared_bytes(), stream); !status.ok()) return status;
  Arenas& arenas = tutti::of_process<Arenas>();
  const std::lock_guard lock(arenas.mutex);
  arenas.by_address[arena->address()] = arena;
  return arena;
}

Status DeviceArena::clear(uint64_t bytes, CUstream stream) const {
  auto done = Event::create(context_);
  if (!done.ok()) return done.status();
  const CurrentContext current(*context_);
  Status status = current.status();
  if (status.ok()) status = fill(*context_, address(), 0, bytes, stream);
  if (status.ok()) status = done->record(stream);
  while (status.ok()) {
    const auto ended = done->is_done();
    status = ended.status();
    if (ended.ok() && *ended) break;
    std::this_thread::yield();
  }
  return status;
}

std::shared_ptr<const DeviceArena> DeviceArena::at(CUdeviceptr address) {
  Arenas& arenas = tutti::of_process<Arenas>();
  const std::lock_guard lock(arenas.mutex);
  const auto found = arenas.by_address.find(address);
  return found == arenas.by_address.end() ? nullptr : found->second.lock();
}

DeviceArena::~DeviceArena() {
  Arenas& arenas = tutti::of_process<Arenas>();
  const std::lock_guard lock(arenas.mutex);
  const auto found = arenas.by_address.find(address());
  if (found != arenas.by_address.end() && found->second.expired()) arenas.by_address.erase(found);
  pool_->give_back(std::move(memory_));
}

Result<PeerArena> PeerArena::of_process(const Context& context, std::shared_ptr<const DeviceArena> arena) {
  const Context& peer = arena->context();
  if (peer.device() != context.device()) {
    const auto reaches = context.reaches(peer.device());
    if (!reaches.ok()) return reaches.status();
    if (!*reaches)
      return Status(Code::unsupported, "device " + std::to_string(context.device()) + " cannot reach the memory of device " +
                                           std::to_string(peer.device()));
    if (Status status = context.allow_access_to(peer); !status.ok()) return status;
  }
  PeerArena reached;
  reached.arena_ = std::move(arena);
  return reached;
}

Result<PeerArena> PeerArena::open(const SharedContext& context, const CUipcMemHandle& handle) {
  auto opened = OpenedMemory::open(context, handle);
  if (!opened.ok()) return opened.status();
  PeerArena reached;
  reached.opened_ = std::move(*opened);
  return reached;
}

}  // namespace tutti::cuda
