#include "heap.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <iterator>
#include <utility>

#include "page.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

namespace tutti::memory {
namespace {

constexpr size_t kHugePage = 2 << 20;
constexpr size_t kMostIdle = 256 << 20;  // bytes of freed memory whose pages are kept

}  // namespace

Heap::~Heap() {
  for (const auto& [memory, range] : ranges_)
    if (!part_ && (range.live || range.idle)) ::munmap(const_cast<std::byte*>(memory), range.bytes);
}

// First fit.  Never at the start of the part: place 0 means nowhere.
std::byte* Heap::find_room(size_t bytes) const {
  size_t begin = kHugePage;
  for (const auto& [memory, range] : ranges_) {
    if (static_cast<size_t>(memory - part_) >= begin + bytes) break;
    begin = round_up(static_cast<size_t>(memory - part_) + range.bytes, bytes >= kHugePage ? kHugePage : kPage);
  }
  return begin + bytes <= capacity_ ? part_ + begin : nullptr;
}

// Addresses for an allocation.
std::byte* Heap::take(size_t bytes, const void* owner, bool zeroed) {
  const std::lock_guard lock(mutex_);
  std::byte* memory = nullptr;
  if (part_) {
    memory = find_room(bytes);
  } else if (void* mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
             mapped != MAP_FAILED) {
    memory = static_cast<std::byte*>(mapped);
  }
  if (!memory) return nullptr;
  ranges_[memory] = {.bytes = bytes, .zeroed = zeroed, .owner = owner};
  low_ = ranges_.begin()->first;
  high_ = std::max<const std::byte*>(high_, memory + bytes);
  return memory;
}

// The smallest idle range that is large enough, and not much larger.
std::byte* Heap::take_idle(size_t bytes, const void* owner) {
  const std::lock_guard lock(mutex_);
  auto best = ranges_.end();
  for (auto range = ranges_.begin(); range != ranges_.end(); ++range) {
    const size_t has = range->second.bytes;
    if (!range->second.idle || has < bytes || has - bytes > bytes / 8) continue;
    if (best == ranges_.end() || has < best->second.bytes) best = range;
  }
  if (best == ranges_.end()) return nullptr;
  best->second.idle = false;
  best->second.live = true;
  best->second.owner = owner;
  idle_bytes_ -= best->second.bytes;
  return const_cast<std::byte*>(best->first);
}

std::byte* Heap::allocate(size_t bytes, const void* owner, bool zeroed) {
  if (bytes > SIZE_MAX / 2) return nullptr;
  const size_t whole = round_up(bytes, bytes >= kHugePage ? kHugePage : kPage);
  if (std::byte* const again = zeroed ? nullptr : take_idle(whole, owner)) return again;
  if (std::byte* const memory = allocate_new(whole, owner, zeroed)) return memory;
  trim();
  return allocate_new(whole, owner, zeroed);
}

std::byte* Heap::allocate_new(size_t whole, const void* owner, bool zeroed) {
  std::byte* const memory = take(whole, owner, zeroed);
  if (!memory) return nullptr;
  ::madvise(memory, whole, MADV_HUGEPAGE);
  if (part_) ::madvise(memory, whole, MADV_DODUMP);
  // Where the kernel knows it, faulting in tells whether there is memory; else the first touch will.
  if (::madvise(memory, whole, MADV_POPULATE_WRITE) != 0 && errno != EINVAL) {
    const std::lock_guard lock(mutex_);
    give_back(ranges_.find(memory));
    return nullptr;
  }
  // Shared pages seldom become huge by themselves.
  if (part_ && whole >= kHugePage) ::madvise(memory, whole, MADV_COLLAPSE);
  return memory;
}

// The live range that `memory` lies in, or end().
Heap::Ranges::const_iterator Heap::range_of(const std::byte* memory) const {
  auto next = ranges_.upper_bound(memory);
  if (next == ranges_.begin()) return ranges_.end();
  --next;
  return next->second.live && memory < next->first + next->second.bytes ? next : ranges_.end();
}

const std::byte* Heap::begin_of(const void* memory) const {
  const std::lock_guard lock(mutex_);
  const auto range = range_of(static_cast<const std::byte*>(memory));
  return range != ranges_.end() ? range->first : nullptr;
}

const void* Heap::owner_of(const void* memory) const {
  const std::lock_guard lock(mutex_);
  const auto found = ranges_.find(static_cast<const std::byte*>(memory));
  return found != ranges_.end() && found->second.live ? found->second.owner : nullptr;
}

std::byte* Heap::first_of(const void* owner) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [memory, range] : ranges_)
    if (range.live && range.owner == owner) return const_cast<std::byte*>(memory);
  return nullptr;
}

void Heap::disown(std::byte* memory) {
  const std::lock_guard lock(mutex_);
  if (const auto found = ranges_.find(memory); found != ranges_.end()) found->second.owner = nullptr;
}

void Heap::spoil() {
  trim();
  const std::lock_guard lock(mutex_);
  for (auto& [memory, range] : ranges_) range.spoiled = true;
}

void Heap::free(std::byte* memory) {
  const std::lock_guard lock(mutex_);
  const auto found = ranges_.find(memory);
  if (found == ranges_.end() || !found->second.live) return;
  Range& range = found->second;
  range.live = false;
  if (range.zeroed || range.spoiled || idle_bytes_ + range.bytes > kMostIdle) {
    give_back(found);
    return;
  }
  range.idle = true;
  idle_bytes_ += range.bytes;
}

void Heap::trim() {
  const std::lock_guard lock(mutex_);
  for (auto range = ranges_.begin(); range != ranges_.end();) range = range->second.idle ? give_back(range) : std::next(range);
}

// Its pages, and its addresses unless it is spoiled.
Heap::Ranges::iterator Heap::give_back(Ranges::iterator range) {
  auto* const memory = const_cast<std::byte*>(range->first);
  const size_t bytes = range->second.bytes;
  const bool again = !range->second.spoiled;
  if (std::exchange(range->second.idle, false)) idle_bytes_ -= bytes;
  range->second.live = false;
  if (part_) {
    ::madvise(memory, bytes, MADV_REMOVE);
    ::madvise(memory, bytes, MADV_DONTDUMP);
  } else if (again) {
    ::munmap(memory, bytes);
  } else {
    ::madvise(memory, bytes, MADV_DONTNEED);  // the addresses stay taken
  }
  return again ? ranges_.erase(range) : std::next(range);
}

bool Heap::inside(const std::byte* memory, size_t bytes) const {
  const std::lock_guard lock(mutex_);
  const auto range = range_of(memory);
  return range != ranges_.end() && static_cast<size_t>(memory - range->first) + bytes <= range->second.bytes;
}

}  // namespace tutti::memory
