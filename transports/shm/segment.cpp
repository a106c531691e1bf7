#include "segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>

#include "resource_limits.h"

namespace tutti::shm {
namespace {

constexpr size_t kHugePage = 2 << 20;

bool resize(int fd, size_t bytes) { return ::ftruncate(fd, static_cast<off_t>(bytes)) == 0; }

}  // namespace

size_t window_offset(size_t arena_bytes) { return (arena_bytes + kHugePage - 1) / kHugePage * kHugePage; }

size_t heap_bytes(uint32_t ranks) {
  return std::min<size_t>(size_t{64} << 30, (size_t{512} << 30) / ranks) / kHugePage * kHugePage;
}

Result<OwnedFd> make_segment(size_t arena_bytes, size_t window_bytes) {
  OwnedFd memory(::memfd_create("tutti", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memory) return no_descriptor("creating shared memory");
  const std::string doing = "sizing the memory that the ranks of a host share";
  const size_t with_window = window_offset(arena_bytes) + window_bytes;
  // A file beyond the limit would raise SIGXFSZ.
  if (!within_file_size_limit(with_window, doing).ok() || !resize(memory.get(), with_window)) {
    if (Status limit = within_file_size_limit(arena_bytes, doing); !limit.ok())
      return Status(limit.code(), limit.message() + ", or let TUTTI_TRANSPORT=tcp do without it");
    if (!resize(memory.get(), arena_bytes)) return system_error(doing);
  }
  if (::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return system_error("sealing shared memory");
  return memory;
}

Status check_segment(int fd, size_t arena_bytes) {
  struct stat file {};
  if (::fstat(fd, &file) != 0) return system_error("asking shared memory for its size");
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (!S_ISREG(file.st_mode) || seals < 0 || (seals & F_SEAL_SHRINK) == 0)
    return Status(Code::unreachable, "what was handed over as shared memory is none, or could shrink");
  if (file.st_size < 0 || static_cast<size_t>(file.st_size) < arena_bytes)
    return Status(Code::unreachable, "the shared memory that was handed over has " + std::to_string(file.st_size) +
                                         " bytes instead of " + std::to_string(arena_bytes));
  return {};
}

Result<Mapping> Mapping::of(int fd, size_t bytes) {
  void* base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED) return cannot_map("mapping the memory that the ranks of a host share", bytes);
  ::madvise(base, bytes, MADV_HUGEPAGE);  // where the system allows huge shared pages
  return Mapping(static_cast<std::byte*>(base), bytes);
}

// A program that has called mlockall(MCL_FUTURE) would get all of the window as pages at once.  They do not come where
// nobody may touch them; so it becomes accessible after it has been unlocked.
Mapping Mapping::window(int fd, size_t offset, size_t bytes) {
  struct stat file {};
  if (::fstat(fd, &file) != 0 || static_cast<size_t>(file.st_size) < offset + bytes) return {};
  // At an address that huge pages can have.
  void* room = ::mmap(nullptr, bytes + kHugePage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return {};
  auto* const first = static_cast<std::byte*>(room);
  const size_t skip = (kHugePage - reinterpret_cast<uintptr_t>(room) % kHugePage) % kHugePage;
  void* base = ::mmap(first + skip, bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, static_cast<off_t>(offset));
  if (skip > 0) ::munmap(first, skip);
  if (skip < kHugePage) ::munmap(first + skip + bytes, kHugePage - skip);
  if (base == MAP_FAILED) {
    ::munmap(first + skip, bytes);
    return {};
  }
  Mapping window(static_cast<std::byte*>(base), bytes);
  if (::munlock(base, bytes) != 0 || ::mprotect(base, bytes, PROT_READ | PROT_WRITE) != 0) return {};
  ::madvise(base, bytes, MADV_DONTDUMP);  // a core dump would walk through all of it
  return window;
}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(base_, other.base_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Mapping::~Mapping() {
  if (base_) ::munmap(base_, bytes_);
}

}  // namespace tutti::shm
