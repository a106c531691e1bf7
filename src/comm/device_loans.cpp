#include "device_loans.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "stream.h"

namespace tutti {

static_assert(memory::kRegions == cuda::kRegionsOfRank);
static_assert(sizeof(memory::Region::handle) == sizeof(cuda::CUipcMemHandle));

Result<std::unique_ptr<DeviceLoans>> DeviceLoans::create(const CommunicatorParts& parts, const cuda::SharedContext& context,
                                                         const std::shared_ptr<cuda::MemoryPool>& pool, cuda::CUstream stream) {
  const size_t bytes = static_cast<size_t>(parts.size) * cuda::kRegionsOfRank * sizeof(cuda::DeviceRegion);
  auto entries = pool->pinned(bytes);
  if (!entries.ok()) return entries.status();
  auto table = cuda::ReachableMemory::allocate(context, bytes, pool);
  if (!table.ok()) return table.status();
  if (Status status = (*table)->clear(bytes, stream); !status.ok()) return status;
  std::fill_n(entries->data(), bytes, std::byte{});
  return std::unique_ptr<DeviceLoans>(new DeviceLoans(parts, context, pool, std::move(*table), std::move(*entries)));
}

DeviceLoans::DeviceLoans(const CommunicatorParts& parts, cuda::SharedContext context, std::shared_ptr<cuda::MemoryPool> pool,
                         DeviceRegions::Region table, cuda::PinnedMemory entries)
    : parts_(parts),
      context_(std::move(context)),
      pool_(std::move(pool)),
      table_(std::move(table)),
      entries_(std::move(entries)),
      readings_(static_cast<size_t>(parts_.size)) {}

DeviceLoans::~DeviceLoans() { pool_->give_back(std::move(entries_)); }

// ---- this rank's memory ----

void DeviceLoans::publish(const DeviceRegions::Region& region) {
  memory::RegionBoard& board = parts_.arena->regions_of(static_cast<uint32_t>(parts_.rank));
  const auto number = static_cast<uint32_t>(published_.size());
  memory::Region& entry = board.regions[number];
  entry.address = region->address();
  entry.bytes = region->bytes();
  if (const auto handle = region->shared(); handle.ok()) {
    std::memcpy(entry.handle, &*handle, sizeof entry.handle);
    entry.has_handle = 1;
  }
  published_.push_back(region);
  numbers_[region->data()] = number;
  board.published.store(published_.size(), std::memory_order_release);
}

DeviceLoans::Lent DeviceLoans::lent(uint64_t call, std::span<const int> peers, const Binding& binding) const {
  Lent lent;
  size_t found = 0;
  const auto consider = [&](const std::byte* memory) {
    for (const cuda::LentRegion& known : lent.regions)
      if (found == cuda::kMostLent || (memory >= known.base && memory < known.base + known.bytes)) return;
    const auto number = numbers_.find(parts_.domain->memory->regions().begin_of(memory));
    if (number == numbers_.end() || !reaches_all(number->second, call, peers)) return;
    lent.regions[found++] = {number->first, published_[number->second]->bytes(), number->second};
  };
  if (numbers_.empty()) return lent;
  consider(binding.input());
  consider(binding.output());
  for (const Binding::Block& block : binding.blocks()) consider(block.input), consider(block.output);
  return lent;
}

bool DeviceLoans::reaches_all(uint32_t number, uint64_t call, std::span<const int> peers) const {
  return std::ranges::all_of(peers, [&](int peer) {
    const uint64_t since = parts_.arena->reads_from(static_cast<uint32_t>(parts_.rank), number, static_cast<uint32_t>(peer))
                               .load(std::memory_order_acquire);
    return since != 0 && since <= call;
  });
}

// ---- others' memory ----

Status DeviceLoans::prepare(cuda::CUstream stream) {
  if (!parts_.arena || of_this_process_.empty()) return {};
  const DeviceRegions& regions = parts_.domain->memory->regions();
  for (; seen_ < regions.count(); ++seen_) {
    const DeviceRegions::Region region = regions.at(seen_);
    if (published_.size() < memory::kRegions && region->context().device() == context_->device()) publish(region);
  }
  for (size_t rank = 0; rank < readings_.size(); ++rank) {
    if (rank == static_cast<size_t>(parts_.rank)) continue;
    map_new(rank);
    const Reading& reading = readings_[rank];
    if (reading.noted == reading.looked_at) continue;
    const cuda::DeviceRegion* const from = entries_of(rank) + reading.noted;
    const size_t place = static_cast<size_t>(reinterpret_cast<const std::byte*>(from) - entries_.data());
    const size_t bytes = (reading.looked_at - reading.noted) * sizeof *from;
    if (Status status = cuda::copy(*context_, table_->address() + place, cuda::address_of(from), bytes, stream); !status.ok())
      return status;
  }
  return {};
}

void DeviceLoans::map_new(size_t rank) {
  const memory::RegionBoard& board = parts_.arena->regions_of(static_cast<uint32_t>(rank));
  const uint64_t published = std::min<uint64_t>(board.published.load(std::memory_order_acquire), memory::kRegions);
  uint32_t& next = readings_[rank].looked_at;
  for (; next < published; ++next) {
    const memory::Region said = board.regions[next];
    const auto mapped = map(rank, said);
    if (mapped.ok())
      entries_of(rank)[next] = *mapped;
    else
      parts_.log.info("communicator " + parts_.name + ": memory of " + parts_.rank_names[rank] +
                      "'s device is copied into slots: " + mapped.status().message());
  }
}

Result<cuda::DeviceRegion> DeviceLoans::map(size_t rank, const memory::Region& said) {
  const cuda::BesideCaptures beside(context_->driver());
  auto reached = [&]() -> Result<cuda::PeerMemory> {
    if (of_this_process_[rank]) {
      auto there = cuda::ReachableMemory::at(said.address);
      if (!there) return Status(Code::internal, "it is not there");
      return cuda::PeerMemory::of_process(*context_, std::move(there));
    }
    if (!said.has_handle) return Status(Code::unsupported, "it cannot be opened by other processes");
    cuda::CUipcMemHandle handle;
    std::memcpy(&handle, said.handle, sizeof handle);
    return cuda::PeerMemory::open(context_, handle);
  }();
  if (!reached.ok()) return reached.status();
  const auto bytes = reached->bytes();
  if (!bytes.ok()) return bytes.status();
  const cuda::DeviceRegion region{reached->data(), std::min<uint64_t>(said.bytes, *bytes)};
  mapped_.push_back(std::move(*reached));
  return region;
}

void DeviceLoans::note(uint64_t call) {
  for (size_t rank = 0; rank < readings_.size(); ++rank) {
    Reading& reading = readings_[rank];
    for (; reading.noted < reading.looked_at; ++reading.noted)
      if (entries_of(rank)[reading.noted].base)
        parts_.arena->reads_from(static_cast<uint32_t>(rank), reading.noted, static_cast<uint32_t>(parts_.rank))
            .store(call, std::memory_order_release);
  }
}

}  // namespace tutti
