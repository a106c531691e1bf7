#include "rotation.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#include "byte_units.h"

namespace tutti::bench {
namespace {

constexpr uint64_t kUnknown = std::numeric_limits<uint64_t>::max();

// The number in a file that holds one, such as those of control groups; kUnknown if there is none ("max").
uint64_t number_in(const char* path) {
  std::ifstream file(path);
  uint64_t value = 0;
  return file >> value ? value : kUnknown;
}

}  // namespace

uint64_t last_level_cache_bytes() {
  const long l3 = sysconf(_SC_LEVEL3_CACHE_SIZE);
  return l3 > 0 ? static_cast<uint64_t>(l3) : 32 << 20;
}

uint64_t free_memory_bytes() {
  uint64_t available = kUnknown;
  std::ifstream meminfo("/proc/meminfo");
  for (std::string word; meminfo >> word;) {
    if (word != "MemAvailable:") continue;
    if (meminfo >> available) available *= 1024;
    break;
  }
  const uint64_t limit = number_in("/sys/fs/cgroup/memory.max");
  const uint64_t used = number_in("/sys/fs/cgroup/memory.current");
  if (limit != kUnknown && used != kUnknown) available = std::min(available, limit - std::min(limit, used));
  return available == kUnknown ? uint64_t{1} << 30 : available;
}

Result<uint64_t> Rotation::agree(const Job& job, const Wish& wish, const Room& room) {
  const uint64_t slot = std::max<uint64_t>(stride(wish.largest), 4096);
  uint64_t bytes = std::max<uint64_t>(wish.bytes, slot);
  if (wish.bytes == 0) bytes = std::max(std::min(std::max(room.beyond_caches, room.slots * slot), room.free / 4), slot);
  const auto all = job.gather(bytes <= room.free / 10 * 9 ? bytes : 0);
  if (!all.ok()) return all.status();
  bytes = *std::ranges::min_element(*all);
  if (bytes == 0)
    return Status(Code::out_of_memory, "Buffers of " + describe_bytes(slot) + " for each rank of a " + room.place +
                                           " do not fit into its free memory (" + describe_bytes(room.free * room.ranks) +
                                           "): choose a smaller -e or fewer ranks.");
  return bytes;
}

Status Rotation::map(uint64_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return system_error("mapping " + describe_bytes(bytes) + " for buffers");
  memory_ = std::unique_ptr<std::byte, UnmapBytes>(static_cast<std::byte*>(memory), UnmapBytes{bytes});
  return {};
}

Result<Rotation> Rotation::create(const Job& job, const Roster& roster, const Wish& wish) {
  const auto ranks = static_cast<uint64_t>(roster.ranks_here());
  const uint64_t cold = std::max<uint64_t>(2 * last_level_cache_bytes() / ranks, 64 << 20);
  const auto bytes = agree(job, wish, {free_memory_bytes() / ranks, cold, 2, "host", ranks});
  if (!bytes.ok()) return bytes.status();
  Rotation rotation;
  rotation.bytes_ = *bytes;
  if (Status s = rotation.map(*bytes); !s.ok()) return s;
  if (wish.huge_pages && madvise(rotation.memory_.get(), *bytes, MADV_HUGEPAGE) != 0)
    return system_error(
        "asking for huge pages (--huge-pages; /sys/kernel/mm/transparent_hugepage/enabled says whether there are any)");
  rotation.huge_pages_ = wish.huge_pages;
  return rotation;
}

Result<Rotation> Rotation::create(const Job& job, std::shared_ptr<const Device> device, int sharing, const Wish& wish) {
  const auto free = device->free_bytes(), cache = device->cache_bytes();
  for (const auto* number : {&free, &cache})
    if (!number->ok()) return number->status();
  const auto ranks = static_cast<uint64_t>(sharing);
  const auto bytes = agree(job, wish, {*free / ranks, std::max<uint64_t>(2 * *cache, 64 << 20), 16, "device", ranks});
  if (!bytes.ok()) return bytes.status();
  Rotation rotation;
  rotation.bytes_ = *bytes;
  if (Status s = rotation.map(std::max<uint64_t>(stride(wish.largest), 4096)); !s.ok()) return s;
  auto memory = device->allocate(*bytes);
  if (!memory.ok()) return memory.status();
  rotation.on_device_ = std::move(*memory);
  rotation.device_ = std::move(device);
  return rotation;
}

Status Rotation::send(size_t i, size_t slot_bytes) const {
  return device_ && slot_bytes > 0 ? device_->copy(slot(i, slot_bytes), memory_.get(), slot_bytes) : Status();
}

Status Rotation::fetch(size_t i, size_t slot_bytes) const {
  return device_ && slot_bytes > 0 ? device_->copy(memory_.get(), slot(i, slot_bytes), slot_bytes) : Status();
}

}  // namespace tutti::bench
