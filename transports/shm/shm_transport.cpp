#include "shm_transport.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "clock.h"

namespace tutti::shm {
namespace {

constexpr char kHello[8] = "tutti01";  // sent with the descriptor

// The name may come from a peer.
Result<sockaddr_un> abstract_address(const std::string& name, socklen_t& length) {
  sockaddr_un address{};
  if (name.empty() || name.size() >= sizeof address.sun_path)
    return Status(Code::unreachable, "a unix socket cannot have a name of " + std::to_string(name.size()) + " bytes");
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());  // a leading zero byte: not in the file system
  length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return address;
}

// True once `fd` is ready for `events`; false at the deadline.
bool wait_for(int fd, short events, uint64_t deadline_ns) {
  for (;;) {
    const uint64_t now = now_ns();
    if (now >= deadline_ns) return false;
    pollfd entry{fd, events, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>((deadline_ns - now) / 1'000'000 + 1));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

bool same_user(int fd) {
  ucred peer{};
  socklen_t length = sizeof peer;
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && (peer.uid == ::geteuid() || peer.uid == 0);
}

union Control {  // room for one descriptor, aligned as cmsg wants it
  char bytes[CMSG_SPACE(sizeof(int))];
  cmsghdr header;
};

bool hand_over(int socket, int memory) {
  iovec text{const_cast<char*>(kHello), sizeof kHello};
  Control control{};
  msghdr message{};
  message.msg_iov = &text;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &memory, sizeof memory);
  return ::sendmsg(socket, &message, MSG_NOSIGNAL) == static_cast<ssize_t>(sizeof kHello);
}

OwnedFd take_over(int socket) {
  char text[sizeof kHello] = {};
  iovec part{text, sizeof text};
  Control control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  if (::recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != static_cast<ssize_t>(sizeof text)) return {};
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (!header || header->cmsg_type != SCM_RIGHTS || std::memcmp(text, kHello, sizeof text) != 0) return {};
  int memory = -1;
  std::memcpy(&memory, CMSG_DATA(header), sizeof memory);
  return OwnedFd(memory);
}

constexpr size_t kHugePage = 2 << 20;

// Of each rank: address space only, of which a process has 128 TiB and may have many communicators.
size_t heap_bytes(uint32_t ranks) {
  return std::min<size_t>(size_t{64} << 30, (size_t{512} << 30) / ranks) / kHugePage * kHugePage;
}

size_t window_offset(size_t arena_bytes) { return (arena_bytes + kHugePage - 1) / kHugePage * kHugePage; }

// The arena, and behind it the window; without that where files may not be so large.
Result<OwnedFd> make_segment(size_t bytes, uint32_t ranks) {
  OwnedFd memory(::memfd_create("tutti", MFD_CLOEXEC));
  if (!memory) return system_error("creating shared memory (memfd_create)");
  if (::ftruncate(memory.get(), static_cast<off_t>(window_offset(bytes) + ranks * heap_bytes(ranks))) != 0 &&
      ::ftruncate(memory.get(), static_cast<off_t>(bytes)) != 0)
    return system_error("sizing " + std::to_string(bytes) + " bytes of shared memory");
  return memory;
}

Status serve(const Door& door, int memory, uint32_t others, uint64_t deadline_ns) {
  for (uint32_t served = 0; served < others;) {
    if (!wait_for(door.fd(), POLLIN, deadline_ns))
      return Status(Code::unreachable,
                    "only " + std::to_string(served) + " of " + std::to_string(others) +
                        " ranks of this host fetched the shared memory in time; TUTTI_TRANSPORT=tcp does without");
    OwnedFd guest(::accept4(door.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    if (guest && same_user(guest.get()) && hand_over(guest.get(), memory)) ++served;
  }
  return {};
}

Result<OwnedFd> fetch(const std::string& leader_door, uint64_t deadline_ns) {
  OwnedFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return system_error("opening a unix socket");
  socklen_t length = 0;
  const auto address = abstract_address(leader_door, length);
  if (!address.ok()) return address.status();
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&*address), length) != 0)
    return Status(Code::unreachable, "a rank that seems to be on this host cannot be reached over its unix socket (" +
                                         std::string(std::strerror(errno)) +
                                         "); set TUTTI_HOSTID to tell hosts apart, or TUTTI_TRANSPORT=tcp");
  if (!wait_for(socket.get(), POLLIN, deadline_ns))
    return Status(Code::unreachable, "the lowest rank of this host did not hand over the shared memory in time");
  OwnedFd memory = take_over(socket.get());
  if (!memory)
    return Status(Code::unreachable, "the lowest rank of this host closed its door while handing over the shared memory");
  return memory;
}

}  // namespace

Result<Door> Door::open() {
  Door door;
  uint64_t random[4];
  if (::getrandom(random, sizeof random, 0) != static_cast<ssize_t>(sizeof random)) return system_error("reading random bytes");
  door.name_ = "tutti-" + std::to_string(random[0]) + std::to_string(random[1]);
  char digits[33];
  std::snprintf(digits, sizeof digits, "%016" PRIx64 "%016" PRIx64, random[2], random[3]);
  door.secret_ = digits;
  door.socket_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!door.socket_) return system_error("opening a unix socket");
  socklen_t length = 0;
  const auto address = abstract_address(door.name_, length);
  if (!address.ok()) return address.status();
  if (::bind(door.socket_.get(), reinterpret_cast<const sockaddr*>(&*address), length) != 0 ||
      ::listen(door.socket_.get(), SOMAXCONN) != 0)
    return system_error("opening an abstract unix socket");
  return door;
}

Result<Mapping> Mapping::of(int fd, size_t bytes) {
  void* base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (base == MAP_FAILED)
    return Status(Code::out_of_memory, "mapping " + std::to_string(bytes) + " bytes of shared memory: " + std::strerror(errno) +
                                           "; raise the limit (ulimit -v) or lower TUTTI_SLOT_BYTES");
  ::madvise(base, bytes, MADV_HUGEPAGE);  // where the system allows huge shared pages
  return Mapping(static_cast<std::byte*>(base), bytes);
}

Mapping Mapping::window(int fd, size_t offset, size_t bytes) {
  struct stat file {};
  if (::fstat(fd, &file) != 0 || static_cast<size_t>(file.st_size) < offset + bytes) return {};
  // At an address that huge pages can have.
  void* room = ::mmap(nullptr, bytes + kHugePage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return {};
  auto* const first = static_cast<std::byte*>(room);
  const size_t skip = (kHugePage - reinterpret_cast<uintptr_t>(room) % kHugePage) % kHugePage;
  void* base =
      ::mmap(first + skip, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, static_cast<off_t>(offset));
  if (skip > 0) ::munmap(first, skip);
  if (skip < kHugePage) ::munmap(first + skip + bytes, kHugePage - skip);
  if (base == MAP_FAILED) return {};
  ::madvise(base, bytes, MADV_DONTDUMP);  // a core dump would walk through all of it
  return Mapping(static_cast<std::byte*>(base), bytes);
}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(base_, other.base_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Mapping::~Mapping() {
  if (base_) ::munmap(base_, bytes_);
}

Result<std::unique_ptr<ShmTransport>> ShmTransport::create(const Door& door, const Options& options) {
  const uint64_t deadline = now_ns() + options.timeout_ns;
  const size_t bytes = options.shape.bytes();
  auto memory = options.my_place == 0 ? make_segment(bytes, options.shape.ranks) : fetch(options.leader_door, deadline);
  if (!memory.ok()) return memory.status();
  auto mapping = Mapping::of(memory->get(), bytes);
  if (!mapping.ok()) return mapping.status();
  if (options.my_place == 0)
    if (Status served = serve(door, memory->get(), options.shape.ranks - 1, deadline); !served.ok()) return served;
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
