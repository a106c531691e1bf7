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

Result<Rotation> Rotation::create(const Job& job, const Roster& roster, uint64_t wanted, uint64_t largest, bool huge_pages) {
  const auto ranks = static_cast<uint64_t>(roster.ranks_here());
  const uint64_t free = free_memory_bytes() / ranks;
  const uint64_t slot = std::max<uint64_t>(stride(largest), 4096);
  uint64_t bytes = std::max<uint64_t>(wanted, slot);
  if (wanted == 0) {
    const uint64_t cold = std::max<uint64_t>(2 * last_level_cache_bytes() / ranks, 64 << 20);
    bytes = std::max(std::min(std::max(cold, 2 * slot), free / 4), slot);
  }
  const auto all = job.gather(bytes <= free / 10 * 9 ? bytes : 0);
  if (!all.ok()) return all.status();
  bytes = *std::ranges::min_element(*all);
  if (bytes == 0)
    return Status(Code::out_of_memory, "Buffers of " + describe_bytes(slot) +
                                           " for each rank of a host do not fit into its free memory (" +
                                           describe_bytes(free * ranks) + "): choose a smaller -e or fewer ranks.");
  Rotation rotation;
  rotation.bytes_ = bytes;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return system_error("mapping " + describe_bytes(bytes) + " for buffers");
  if (huge_pages && madvise(memory, bytes, MADV_HUGEPAGE) != 0)
    return system_error(
        "asking for huge pages (--huge-pages; /sys/kernel/mm/transparent_hugepage/enabled says whether there are any)");
  rotation.huge_pages_ = huge_pages;
  rotation.memory_ = std::unique_ptr<std::byte, UnmapBytes>(static_cast<std::byte*>(memory), UnmapBytes{bytes});
  return rotation;
}

}  // namespace tutti::bench
