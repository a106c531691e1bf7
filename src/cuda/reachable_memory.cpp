#include "reachable_memory.h"

#include <map>
#include <mutex>
#include <thread>

#include "of_process.h"
#include "stream.h"

namespace tutti::cuda {
namespace {

struct ReachableMemories {
  std::mutex mutex;
  std::map<CUdeviceptr, std::weak_ptr<const ReachableMemory>> by_address;
};

}  // namespace

Result<std::shared_ptr<const ReachableMemory>> ReachableMemory::allocate(const SharedContext& context, size_t bytes,
                                                                         std::shared_ptr<MemoryPool> pool) {
  auto memory = pool->device(bytes);
  if (!memory.ok()) return memory.status();
  const std::shared_ptr<const ReachableMemory> made(new ReachableMemory(context, std::move(*memory), std::move(pool)));
  ReachableMemories& all = tutti::of_process<ReachableMemories>();
  const std::lock_guard lock(all.mutex);
  all.by_address[made->address()] = made;
  return made;
}

Status ReachableMemory::clear(uint64_t bytes, CUstream stream) const {
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

std::shared_ptr<const ReachableMemory> ReachableMemory::at(CUdeviceptr address) {
  ReachableMemories& all = tutti::of_process<ReachableMemories>();
  const std::lock_guard lock(all.mutex);
  const auto found = all.by_address.find(address);
  return found == all.by_address.end() ? nullptr : found->second.lock();
}

ReachableMemory::~ReachableMemory() {
  ReachableMemories& all = tutti::of_process<ReachableMemories>();
  const std::lock_guard lock(all.mutex);
  const auto found = all.by_address.find(address());
  if (found != all.by_address.end() && found->second.expired()) all.by_address.erase(found);
  pool_->give_back(std::move(memory_));
}

Result<PeerMemory> PeerMemory::of_process(const Context& context, std::shared_ptr<const ReachableMemory> memory) {
  const Context& peer = memory->context();
  if (peer.device() != context.device()) {
    const auto reaches = context.reaches(peer.device());
    if (!reaches.ok()) return reaches.status();
    if (!*reaches)
      return Status(Code::unsupported, "device " + std::to_string(context.device()) + " cannot reach the memory of device " +
                                           std::to_string(peer.device()));
    if (Status status = context.allow_access_to(peer); !status.ok()) return status;
  }
  PeerMemory reached;
  reached.memory_ = std::move(memory);
  return reached;
}

Result<PeerMemory> PeerMemory::open(const SharedContext& context, const CUipcMemHandle& handle) {
  auto opened = OpenedMemory::open(context, handle);
  if (!opened.ok()) return opened.status();
  PeerMemory reached;
  reached.opened_ = std::move(*opened);
  return reached;
}

Result<size_t> PeerMemory::bytes() const { return memory_ ? Result<size_t>(memory_->bytes()) : opened_->bytes(); }

}  // namespace tutti::cuda
