#include "handoff.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "clock.h"
#include "listener.h"
#include "resource_limits.h"

namespace tutti::shm {
namespace {

constexpr uint64_t kPause = 10 * kMillisecond;  // before a connection is tried again
constexpr uint64_t kReasonPatience = 500 * kMillisecond;  // in which the bootstrap says why the other side is gone

constexpr char kMagic[8] = "tutti03";  // begins each message, either way

// A peer's first words.
struct Hello {
  char magic[sizeof kMagic] = {};
  Secret secret;
  uint32_t place = 0;
};
static_assert(sizeof(Hello) == sizeof kMagic + sizeof(Secret) + sizeof(uint32_t));

bool same_user(int fd) {
  ucred peer{};
  socklen_t length = sizeof peer;
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == ::geteuid();
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

// Every descriptor that came with the message, whatever its text is: none is left open.
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
    return out_of_descriptors("receiving the shared memory");
  if (descriptors.size() != 1 || !descriptors[0]) return OwnedFd();
  return std::move(descriptors[0]);
}

// ---- the side that has the memory ----

class Handoff final : private Gatekeeper {
 public:
  Handoff(OwnedFd socket, const Secret& secret, int memory, std::span<const std::string> names, const Patience& patience)
      : secret_(secret), memory_(memory), names_(names), patience_(patience), served_(names.size()) {
    std::vector<OwnedFd> sockets;
    sockets.push_back(std::move(socket));
    Listener::Options options;
    options.longest_hello = sizeof(Hello);
    options.log = Log(LogLevel::none, "", STDERR_FILENO);
    listener_ = Listener(std::move(sockets), std::move(options));
    served_[0] = true;
  }

  Status run() {
    while (!complete())
      if (Status status = step(); !status.ok()) return status;
    return {};
  }

 private:
  bool complete() const { return std::find(served_.begin(), served_.end(), false) == served_.end(); }
  Status step();
  Verdict judge(PendingConnection& connection) override;
  void starved(int error) override {
    errno = error;
    shortage_ = no_descriptor("handing over the shared memory");
  }

  const Secret secret_;
  const int memory_;
  const std::span<const std::string> names_;
  const Patience& patience_;
  Listener listener_;
  std::vector<bool> served_;  // by place
  Status shortage_;
};

Status Handoff::step() {
  std::vector<pollfd> set;
  listener_.watch(set, now_ns());
  const auto ready = patience_.wait(set, listener_.next_deadline(now_ns()));
  if (!ready.ok()) return ready.status();
  if (Status served = listener_.serve(*this, set); !served.ok()) return served;
  if (!shortage_.ok()) return shortage_;
  if (complete() || now_ns() < patience_.deadline) return {};
  const auto missing = static_cast<size_t>(std::find(served_.begin(), served_.end(), false) - served_.begin());
  return Status(Code::unreachable, names_[missing] + " did not fetch the memory that the ranks of its host share from " +
                                       names_[0] + " in time; TUTTI_TRANSPORT=tcp does without");
}

Verdict Handoff::judge(PendingConnection& connection) {
  Hello hello;
  if (connection.said.size() < sizeof hello) return {};
  std::memcpy(&hello, connection.said.data(), sizeof hello);
  const bool known = same_user(connection.fd.get()) && std::memcmp(hello.magic, kMagic, sizeof kMagic) == 0 &&
                     hello.secret == secret_ && hello.place < served_.size();
  if (!known) return Verdict::refused("it does not know the secret of this rank's memory");
  const OwnedFd peer = std::move(connection.fd);
  // A peer that could not be sent it comes again.
  if (send_descriptor(peer.get(), memory_)) served_[hello.place] = true;
  return Verdict::admitted();
}

// ---- the side that gets it ----

class Taking {
 public:
  Taking(const SocketAddress& address, const Hello& hello, const std::string& leader, const Patience& patience)
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

  const SocketAddress& address_;
  const Hello& hello_;
  const std::string& leader_;
  const Patience& patience_;
};

// Empty: to be tried again, since the queue was full or the other side was busy with other connections.
Result<OwnedFd> Taking::attempt() {
  errno = 0;
  auto socket = start_connect(address_);
  if (!socket.ok()) {
    const int error = errno;
    if (error == EAGAIN) return OwnedFd();
    if (is_descriptor_shortage(error)) return socket;
    const Status refused(Code::unreachable, leader_ + " seems to be on this host but cannot be reached over its unix socket (" +
                                                std::strerror(error) +
                                                "); set TUTTI_HOSTID to tell hosts apart, or TUTTI_TRANSPORT=tcp");
    const auto heard = patience_.wait({}, now_ns() + kReasonPatience);
    return heard.ok() ? refused : heard.status();
  }
  if (!same_user(socket->get()))
    return Status(Code::unreachable,
                  "the unix socket of " + leader_ + " belongs to another user; TUTTI_TRANSPORT=tcp does without");
  if (::send(socket->get(), &hello_, sizeof hello_, MSG_NOSIGNAL) != static_cast<ssize_t>(sizeof hello_)) return OwnedFd();
  pollfd entry{socket->get(), POLLIN, 0};
  const auto ready = patience_.wait({&entry, 1}, UINT64_MAX);
  if (!ready.ok()) return ready.status();
  return *ready ? receive_descriptor(socket->get()) : Result<OwnedFd>(OwnedFd());
}

}  // namespace

Result<HandoffSocket> HandoffSocket::open() {
  const auto secret = Secret::random();
  if (!secret.ok()) return secret.status();
  const auto address = SocketAddress::random_unix();
  if (!address.ok()) return address.status();
  auto socket = listen_on(*address, SOMAXCONN);
  if (!socket.ok()) return socket.status();
  HandoffSocket handoff;
  handoff.socket_ = std::move(*socket);
  handoff.address_ = *address;
  handoff.secret_ = *secret;
  return handoff;
}

Status hand_over(HandoffSocket& socket, int memory, std::span<const std::string> names, const Patience& patience) {
  return Handoff(std::move(socket.socket_), socket.secret_, memory, names, patience).run();
}

Result<OwnedFd> take_over(const std::string& name, const std::string& secret, uint32_t place, const std::string& leader,
                          const Patience& patience) {
  const auto address = SocketAddress::parse("unix:" + name);
  const auto known = Secret::from_hex(secret);
  if (!address.ok() || !address->is_unix() || !known)
    return Status(Code::unreachable,
                  leader + " named no unix socket, or no secret, for the memory that the ranks of its host share");
  Hello hello;
  std::memcpy(hello.magic, kMagic, sizeof kMagic);
  hello.secret = *known;
  hello.place = place;
  return Taking(*address, hello, leader, patience).run();
}

}  // namespace tutti::shm
