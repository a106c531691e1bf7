#include "handoff.h"

#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <list>
#include <optional>

#include "clock.h"
#include "net_address.h"
#include "resource_limits.h"

namespace tutti::shm {
namespace {

constexpr size_t kSecretDigits = 32;
constexpr size_t kMostPending = 64;                         // connections that have not said the secret yet
constexpr uint64_t kPendingPatience = 5000 * kMillisecond;  // with each
constexpr uint64_t kPause = 10 * kMillisecond;              // before a connection is tried again
constexpr uint64_t kWord = 500 * kMillisecond;              // in which the bootstrap says why the other side is gone
constexpr uint64_t kDescriptors = 64;                       // of a process with a communicator, generously

constexpr char kMagic[8] = "tutti02";  // begins what is sent either way

// What a peer says first.
struct Hello {
  char magic[sizeof kMagic] = {};
  char secret[kSecretDigits] = {};
  uint32_t place = 0;
};
static_assert(sizeof(Hello) == sizeof kMagic + kSecretDigits + sizeof(uint32_t));

struct Address {
  sockaddr_un address{};
  socklen_t length = 0;
  const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&address); }
};

// The name may come from a peer.
Result<Address> abstract_address(const std::string& name) {
  Address result;
  if (name.empty() || name.size() >= sizeof result.address.sun_path)
    return Status(Code::unreachable, "a unix socket cannot have a name of " + std::to_string(name.size()) + " bytes");
  result.address.sun_family = AF_UNIX;
  std::memcpy(result.address.sun_path + 1, name.data(), name.size());  // a leading zero byte: not in the file system
  result.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return result;
}

Result<OwnedFd> open_socket() {
  OwnedFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket) return socket;
  return is_descriptor_shortage(errno) ? out_of_descriptors("opening a unix socket", kDescriptors)
                                       : system_error("opening a unix socket");
}

bool same_user(int fd) {
  ucred peer{};
  socklen_t length = sizeof peer;
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == ::geteuid();
}

// As long for a wrong secret as for the right one.
bool equal(const char* a, const char* b, size_t bytes) {
  unsigned difference = 0;
  for (size_t i = 0; i < bytes; ++i) difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  return difference == 0;
}

// ---- descriptors in messages ----

union Control {  // room for one descriptor, aligned as cmsg wants it; what is left by the alignment may hold a second
  char bytes[CMSG_SPACE(sizeof(int))];
  cmsghdr header;
};

bool send_descriptor(int socket, int memory) {
  iovec text{const_cast<char*>(kMagic), sizeof kMagic};
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
  return ::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == static_cast<ssize_t>(sizeof kMagic);
}

// Every descriptor that came along, whatever the message is: none is left open.
std::vector<OwnedFd> descriptors_of(msghdr& message) {
  std::vector<OwnedFd> descriptors;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS || header->cmsg_len < CMSG_LEN(0)) continue;
    for (size_t i = 0; i < (header->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      descriptors.emplace_back(fd);
    }
  }
  return descriptors;
}

// The descriptor; empty: the other side closed, or sent something else.
Result<OwnedFd> receive_descriptor(int socket) {
  char text[sizeof kMagic] = {};
  iovec part{text, sizeof text};
  Control control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  const ssize_t got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (got < 0) return OwnedFd();
  std::vector<OwnedFd> descriptors = descriptors_of(message);
  if (got != static_cast<ssize_t>(sizeof text) || std::memcmp(text, kMagic, sizeof text) != 0) return OwnedFd();
  if (descriptors.empty() && (message.msg_flags & MSG_CTRUNC) != 0)
    return out_of_descriptors("receiving the shared memory", kDescriptors);
  if (descriptors.size() != 1 || !descriptors[0]) return OwnedFd();
  return std::move(descriptors[0]);
}

// ---- the side that has the memory ----

class Handoff {
 public:
  Handoff(const HandoffSocket& socket, int memory, std::span<const std::string> names, const Patience& patience)
      : socket_(socket), memory_(memory), names_(names), patience_(patience), served_(names.size()) {
    served_[0] = true;
  }

  Status run() {
    while (!complete())
      if (Status status = step(); !status.ok()) return status;
    return {};
  }

 private:
  struct Pending {
    OwnedFd fd;
    uint64_t deadline;
    Hello hello{};
    size_t got = 0;
  };

  bool complete() const { return std::find(served_.begin(), served_.end(), false) == served_.end(); }
  Status step();
  Status admit();
  void hear(Pending& pending);

  const HandoffSocket& socket_;
  const int memory_;
  const std::span<const std::string> names_;
  const Patience& patience_;
  std::vector<bool> served_;           // by place
  std::list<Pending> pending_;         // the oldest first
  bool short_of_descriptors_ = false;  // until one that is pending goes
};

Status Handoff::step() {
  std::vector<pollfd> set{{short_of_descriptors_ ? -1 : socket_.fd(), POLLIN, 0}};
  for (const Pending& pending : pending_) set.push_back({pending.fd.get(), POLLIN, 0});
  const auto ready = patience_.wait(set, pending_.empty() ? UINT64_MAX : pending_.front().deadline);
  if (!ready.ok()) return ready.status();
  const uint64_t now = now_ns();
  auto entry = set.begin() + 1;
  for (Pending& pending : pending_) {
    if ((entry++)->revents != 0) hear(pending);
    if (now >= pending.deadline) pending.fd.reset();
  }
  if (pending_.remove_if([](const Pending& pending) { return !pending.fd; }) > 0) short_of_descriptors_ = false;
  if (set[0].revents != 0)
    if (Status status = admit(); !status.ok()) return status;
  if (complete() || now < patience_.deadline) return {};
  const auto missing = static_cast<size_t>(std::find(served_.begin(), served_.end(), false) - served_.begin());
  return Status(Code::unreachable, names_[missing] + " did not fetch the memory that the ranks of its host share from " + names_[0] +
                                       " in time; TUTTI_TRANSPORT=tcp does without");
}

// Peers say who they are at once; so among many that are silent the oldest make room.
Status Handoff::admit() {
  for (;;) {
    auto fd = accept_from(socket_.fd());
    const int error = errno;
    if (!fd.ok() && is_descriptor_shortage(error)) {
      if (pending_.empty()) return out_of_descriptors("handing over the shared memory", kDescriptors);
      short_of_descriptors_ = true;
      return {};
    }
    if (!fd.ok()) return fd.status();
    if (!*fd) return {};
    if (!same_user(fd->get())) continue;
    if (pending_.size() >= kMostPending) pending_.pop_front();
    pending_.push_back({std::move(*fd), now_ns() + kPendingPatience});
  }
}

void Handoff::hear(Pending& pending) {
  const ssize_t n = ::recv(pending.fd.get(), reinterpret_cast<char*>(&pending.hello) + pending.got, sizeof(Hello) - pending.got,
                           MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  pending.got += n > 0 ? static_cast<size_t>(n) : 0;
  if (n > 0 && pending.got < sizeof(Hello)) return;
  const Hello& hello = pending.hello;
  const bool known = n > 0 && std::memcmp(hello.magic, kMagic, sizeof kMagic) == 0 &&
                     equal(hello.secret, socket_.secret().data(), kSecretDigits) && hello.place < served_.size();
  // A peer to whom the message cannot be sent comes again.
  if (known && send_descriptor(pending.fd.get(), memory_)) served_[hello.place] = true;
  pending.fd.reset();
}

// ---- the side that gets it ----

class Taking {
 public:
  Taking(const Address& address, const Hello& hello, const std::string& leader, const Patience& patience)
      : address_(address), hello_(hello), leader_(leader), patience_(patience) {}

  Result<OwnedFd> run() {
    while (now_ns() < patience_.deadline) {
      auto memory = attempt();
      if (!memory.ok() || *memory) return memory;
      if (const auto heard = patience_.wait({}, now_ns() + kPause); !heard.ok()) return heard.status();
    }
    return Status(Code::unreachable, leader_ + " did not hand over the memory that the ranks of its host share in time");
  }

 private:
  Result<OwnedFd> attempt();

  const Address& address_;
  const Hello& hello_;
  const std::string& leader_;
  const Patience& patience_;
};

// Empty: to be tried again, since the queue was full or the other side was busy with strangers.
Result<OwnedFd> Taking::attempt() {
  auto socket = open_socket();
  if (!socket.ok()) return socket;
  if (::connect(socket->get(), address_.data(), address_.length) != 0) {
    if (errno == EAGAIN || errno == EINTR) return OwnedFd();
    const Status refused(Code::unreachable, leader_ + " seems to be on this host but cannot be reached over its unix socket (" +
                                                std::strerror(errno) +
                                                "); set TUTTI_HOSTID to tell hosts apart, or TUTTI_TRANSPORT=tcp");
    const auto heard = patience_.wait({}, now_ns() + kWord);
    return heard.ok() ? refused : heard.status();
  }
  if (!same_user(socket->get()))
    return Status(Code::unreachable, "the unix socket of " + leader_ + " belongs to another user; TUTTI_TRANSPORT=tcp does without");
  if (::send(socket->get(), &hello_, sizeof hello_, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof hello_)) return OwnedFd();
  pollfd entry{socket->get(), POLLIN, 0};
  const auto ready = patience_.wait({&entry, 1}, UINT64_MAX);
  if (!ready.ok()) return ready.status();
  return *ready ? receive_descriptor(socket->get()) : Result<OwnedFd>(OwnedFd());
}

std::string hexadecimal(std::span<const unsigned char> bytes) {
  std::string text;
  for (const unsigned char byte : bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

}  // namespace

Result<HandoffSocket> HandoffSocket::open() {
  HandoffSocket handoff;
  unsigned char random[kSecretDigits];
  if (::getrandom(random, sizeof random, 0) != static_cast<ssize_t>(sizeof random)) return system_error("reading random bytes");
  const std::string digits = hexadecimal(random);
  handoff.name_ = "tutti-" + digits.substr(0, kSecretDigits);
  handoff.secret_ = digits.substr(kSecretDigits);
  auto socket = open_socket();
  if (!socket.ok()) return socket.status();
  const auto address = abstract_address(handoff.name_);
  if (!address.ok()) return address.status();
  if (::bind(socket->get(), address->data(), address->length) != 0 || ::listen(socket->get(), SOMAXCONN) != 0)
    return system_error("opening an abstract unix socket");
  handoff.socket_ = std::move(*socket);
  return handoff;
}

Status hand_over(const HandoffSocket& socket, int memory, std::span<const std::string> names, const Patience& patience) {
  return Handoff(socket, memory, names, patience).run();
}

Result<OwnedFd> take_over(const std::string& name, const std::string& secret, uint32_t place, const std::string& leader,
                          const Patience& patience) {
  const auto address = abstract_address(name);
  if (!address.ok()) return address.status();
  Hello hello;
  std::memcpy(hello.magic, kMagic, sizeof kMagic);
  std::memcpy(hello.secret, secret.data(), std::min(secret.size(), kSecretDigits));
  hello.place = place;
  return Taking(*address, hello, leader, patience).run();
}

}  // namespace tutti::shm
