#include "memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <string>

#include "moods.h"

namespace fake_cuda {
namespace {

constexpr size_t kPage = 4096, kAlignment = 512;
constexpr uint64_t kMagic = 0x74757474696375a1;

// What a handle of 64 bytes holds.
struct HandleContent {
  uint64_t magic, bytes, offset, inode;
  int32_t process, fd, device;
};
static_assert(sizeof(HandleContent) <= sizeof(CUipcMemHandle));

struct Table {
  std::shared_mutex mutex;
  std::map<uintptr_t, Allocation> by_end;  // the address behind an allocation
  std::mutex guard;                        // of `touching` and of protections
  int touching = 0;
};

Table& table() {
  static Table* const made = new Table;  // never destroyed
  return *made;
}

bool is_guarded(const Allocation& a) { return a.kind == Kind::device || a.kind == Kind::pool || a.kind == Kind::imported; }

void protect(const Table& memory, int protection) {
  for (const auto& [end, a] : memory.by_end)
    if (is_guarded(a)) ::mprotect(a.mapping, a.mapped, protection);
}

// Of `fd`, or anonymous memory; an access behind its last page is one too many.
std::byte* map(int fd, size_t bytes, bool shared = true) {
  void* room = ::mmap(nullptr, bytes + kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return nullptr;
  const int flags = MAP_FIXED | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : shared ? MAP_SHARED : MAP_PRIVATE);
  if (::mmap(room, bytes, PROT_READ | PROT_WRITE, flags, fd, 0) == room) return static_cast<std::byte*>(room);
  ::munmap(room, bytes + kPage);
  return nullptr;
}

void unmap(const Allocation& a) {
  if (a.mapping) ::munmap(a.mapping, a.mapped + kPage);
  if (a.fd >= 0) ::close(a.fd);
}

void add(const Allocation& a) {
  Table& memory = table();
  const std::lock_guard guard(memory.guard);
  const std::unique_lock lock(memory.mutex);
  memory.by_end[a.base + a.bytes] = a;
  if (is_guarded(a) && moods().guarded && memory.touching == 0) ::mprotect(a.mapping, a.mapped, PROT_NONE);
}

const Allocation* find(const Table& memory, uintptr_t address) {
  const auto found = memory.by_end.upper_bound(address);
  return found != memory.by_end.end() && address >= found->second.base ? &found->second : nullptr;
}

}  // namespace

Error allocate(Kind kind, int device, size_t bytes, uintptr_t& base) {
  if (bytes == 0) return Error::invalid_value;
  const bool on_device = kind == Kind::device || kind == Kind::pool;
  if (on_device && bytes > moods().memory - std::min<size_t>(used_memory(device), moods().memory)) return Error::out_of_memory;
  Allocation a{.kind = kind, .device = device, .bytes = bytes, .mapped = (bytes + kPage - 1) / kPage * kPage};
  if (on_device) {
    a.fd = ::memfd_create("fake_cuda", MFD_CLOEXEC);
    if (a.fd < 0 || ::ftruncate(a.fd, static_cast<off_t>(a.mapped)) != 0) {
      unmap(a);
      return Error::out_of_memory;
    }
  }
  a.mapping = map(a.fd, a.mapped);
  if (!a.mapping) {
    unmap(a);
    return Error::out_of_memory;
  }
  // Its end is as near to the page behind it as alignment allows.  Device memory is not cleared.
  base = a.base = reinterpret_cast<uintptr_t>(a.mapping) + (a.mapped - bytes) / kAlignment * kAlignment;
  if (on_device) std::memset(reinterpret_cast<void*>(base), 0xDB, std::min<size_t>(bytes, 64 << 10));
  add(a);
  return Error::success;
}

Error register_host(int device, void* pointer, size_t bytes) {
  if (!moods().register_) return Error::not_supported;
  const auto base = reinterpret_cast<uintptr_t>(pointer);
  if (bytes == 0 || !pointer) return Error::invalid_value;
  {
    const std::shared_lock lock(table().mutex);
    const auto next = table().by_end.upper_bound(base);
    if (next != table().by_end.end() && next->second.base < base + bytes) return Error::host_memory_already_registered;
  }
  add({.kind = Kind::registered, .device = device, .base = base, .bytes = bytes});
  return Error::success;
}

Error release(Kind kind, uintptr_t base) {
  Table& memory = table();
  Allocation old;
  {
    const std::unique_lock lock(memory.mutex);
    const Allocation* found = find(memory, base);
    const bool fits =
        found && found->base == base &&
        (found->kind == kind || (kind == Kind::device && (found->kind == Kind::pool || found->kind == Kind::managed)));
    if (!fits) return kind == Kind::registered ? Error::host_memory_not_registered : Error::invalid_value;
    const auto place = memory.by_end.find(found->base + found->bytes);
    if (--place->second.opened > 0) return Error::success;
    old = place->second;
    memory.by_end.erase(place);
  }
  unmap(old);
  return Error::success;
}

void release_all(int device) {
  Table& memory = table();
  const std::unique_lock lock(memory.mutex);
  for (auto at = memory.by_end.begin(); at != memory.by_end.end();) {
    if (at->second.device != device) {
      ++at;
      continue;
    }
    unmap(at->second);
    at = memory.by_end.erase(at);
  }
}

std::optional<Allocation> allocation_at(uintptr_t address) {
  const std::shared_lock lock(table().mutex);
  const Allocation* found = find(table(), address);
  return found ? std::optional(*found) : std::nullopt;
}

size_t used_memory(int device) {
  const std::shared_lock lock(table().mutex);
  size_t used = 0;
  for (const auto& [end, a] : table().by_end)
    if (a.device == device && (a.kind == Kind::device || a.kind == Kind::pool)) used += a.mapped;
  return used;
}

Error export_handle(uintptr_t address, CUipcMemHandle& handle) {
  const auto a = allocation_at(address);
  if (!moods().ipc) return Error::not_supported;
  if (!a || a->kind != Kind::device) return Error::invalid_value;
  struct stat file {};
  if (::fstat(a->fd, &file) != 0) return Error::operating_system;
  const HandleContent content{
      kMagic, a->bytes, a->base - reinterpret_cast<uintptr_t>(a->mapping), static_cast<uint64_t>(file.st_ino), ::getpid(),
      a->fd,  a->device};
  handle = {};
  std::memcpy(&handle, &content, sizeof(content));
  return Error::success;
}

Error open_handle(const CUipcMemHandle& handle, uintptr_t& base) {
  HandleContent content{};
  std::memcpy(&content, &handle, sizeof(content));
  if (!moods().ipc) return Error::not_supported;
  if (content.magic != kMagic) return Error::invalid_value;
  if (content.process == ::getpid()) return Error::invalid_context;
  {
    const std::unique_lock lock(table().mutex);
    for (auto& [end, a] : table().by_end)
      if (a.kind == Kind::imported && std::memcmp(&a.handle, &handle, sizeof(handle)) == 0) {
        ++a.opened;
        base = a.base;
        return Error::success;
      }
  }
  Allocation a{.kind = Kind::imported, .device = content.device, .bytes = content.bytes, .handle = handle};
  a.mapped = (content.offset + content.bytes + kPage - 1) / kPage * kPage;
  const std::string path = "/proc/" + std::to_string(content.process) + "/fd/" + std::to_string(content.fd);
  a.fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  struct stat file {};
  if (a.fd < 0 || ::fstat(a.fd, &file) != 0 || static_cast<uint64_t>(file.st_ino) != content.inode) {  // freed meanwhile
    unmap(a);
    return Error::invalid_value;
  }
  a.mapping = map(moods().blind ? -1 : a.fd, a.mapped, !moods().deaf);
  if (!a.mapping) {
    unmap(a);
    return Error::map_failed;
  }
  base = a.base = reinterpret_cast<uintptr_t>(a.mapping) + content.offset;
  add(a);
  return Error::success;
}

bool is_within(uintptr_t address, size_t bytes) {
  const auto a = allocation_at(address);
  return !a || bytes <= a->base + a->bytes - address;
}

bool is_pageable(uintptr_t address) { return !allocation_at(address); }

Touching::Touching() : counted_(moods().guarded) {
  if (!counted_) return;
  Table& memory = table();
  const std::lock_guard guard(memory.guard);
  const std::shared_lock lock(memory.mutex);
  if (memory.touching++ == 0) protect(memory, PROT_READ | PROT_WRITE);
}

Touching::~Touching() {
  if (!counted_) return;
  Table& memory = table();
  const std::lock_guard guard(memory.guard);
  const std::shared_lock lock(memory.mutex);
  if (--memory.touching == 0) protect(memory, PROT_NONE);
}

}  // namespace fake_cuda
