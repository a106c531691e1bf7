// The hand-over of shared memory: to ranks that know the secret, whoever else is at the socket; within the deadline,
// and not beyond a failure elsewhere.  The memory itself: sealed, and refused if it is not.
#include "handoff.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <thread>

#include "segment.h"
#include "shm_world.h"

namespace tutti::shm {
namespace {

using testing::HasSubstr;

constexpr uint64_t kShort = 200 * kMillisecond;  // for tests that want a deadline to pass
const std::string kSecret(32, 'a');

size_t open_descriptors() {
  size_t n = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++n;
  return n;
}

OwnedFd unix_socket(const std::string& name, bool listens) {
  OwnedFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  const auto* data = reinterpret_cast<const sockaddr*>(&address);
  EXPECT_EQ(listens ? ::bind(fd.get(), data, length) : ::connect(fd.get(), data, length), 0) << std::strerror(errno);
  EXPECT_TRUE(!listens || ::listen(fd.get(), 8) == 0);
  return fd;
}

ino_t inode(int fd) {
  struct stat info {};
  EXPECT_EQ(::fstat(fd, &info), 0);
  return info.st_ino;
}

// A leader with `ranks - 1` others, each on a thread.
struct Host {
  explicit Host(int ranks, uint64_t bound_ns = 10'000'000'000)
      : names(names_of(ranks)), memory(std::move(*make_segment(4096, 2 * heap_bytes(2)))), until(patience(bound_ns)) {}
  Status give() { return hand_over(socket, memory.get(), names, until); }
  Result<OwnedFd> take(uint32_t place) { return take_over(socket.name(), socket.secret(), place, names[0], until); }
  void expect_taken(uint32_t place) {
    const auto taken = take(place);
    ASSERT_TRUE(taken.ok()) << taken.status().message();
    EXPECT_EQ(inode(taken->get()), inode(memory.get()));
  }

  HandoffSocket socket = std::move(*HandoffSocket::open());
  std::vector<std::string> names;
  OwnedFd memory;
  Patience until;
};

TEST(Handoff, EveryPlaceGetsTheMemory) {
  Host host(5);
  std::vector<std::thread> others;
  for (uint32_t place = 1; place < 5; ++place) others.emplace_back([&host, place] { host.expect_taken(place); });
  EXPECT_TRUE(host.give().ok());
  for (std::thread& other : others) other.join();
}

TEST(Handoff, StrangersGetNothingAndKeepNobodyOut) {
  Host host(2);
  std::vector<OwnedFd> strangers;
  for (int i = 0; i < 200; ++i) {
    strangers.push_back(unix_socket(host.socket.name(), false));
    const std::string words = "tutti03" + std::string(1, '\0') + std::string(16, 'x') + std::string("\1\0\0\0", 4);
    const size_t said = i % 3 == 0 ? words.size() : i % 3 == 1 ? 10 : 0;
    EXPECT_EQ(::send(strangers.back().get(), words.data(), said, MSG_NOSIGNAL), static_cast<ssize_t>(said));
  }
  std::thread other([&] { host.expect_taken(1); });
  EXPECT_TRUE(host.give().ok());
  other.join();
  for (const OwnedFd& stranger : strangers) {
    char byte = 0;
    EXPECT_LE(::recv(stranger.get(), &byte, 1, MSG_DONTWAIT), 0);
  }
}

TEST(Handoff, WhoDoesNotComeIsNamed) {
  Host host(3, kShort);
  std::thread other([&] { host.expect_taken(1); });
  const Status status = host.give();
  other.join();
  EXPECT_EQ(status.code(), Code::unreachable);
  EXPECT_THAT(status.message(), HasSubstr("rank 2 did not fetch"));
}

TEST(Handoff, ALeaderThatDoesNotServeIsNamed) {
  Host host(2, kShort);
  const auto taken = host.take(1);
  ASSERT_FALSE(taken.ok());
  EXPECT_THAT(taken.status().message(), HasSubstr("rank 0 did not hand over"));
}

TEST(Handoff, ALeaderThatIsGoneIsNamed) {
  const std::string name = HandoffSocket::open()->name();
  const auto taken = take_over(name, kSecret, 1, "rank 0", patience());
  ASSERT_FALSE(taken.ok());
  EXPECT_THAT(taken.status().message(), HasSubstr("rank 0 seems to be on this host but cannot be reached"));
}

// On both sides, also where the other is gone because of that failure.
TEST(Handoff, WhoWaitsHearsOfFailuresElsewhere) {
  Host host(2);
  host.until.wait = [](std::span<pollfd>, uint64_t) -> Result<bool> { return Status(Code::out_of_memory, "rank 7 has no memory"); };
  EXPECT_EQ(host.give().message(), "rank 7 has no memory");
  EXPECT_EQ(host.take(1).status().message(), "rank 7 has no memory");
  const std::string gone = HandoffSocket::open()->name();
  EXPECT_EQ(take_over(gone, kSecret, 1, "rank 0", host.until).status().message(), "rank 7 has no memory");
}

TEST(Handoff, NamesThatNoSocketHasAreRefused) {
  for (const std::string& name :
       {std::string(), "tutti-" + std::string(102, 'a'), std::string(60'000, 'a'), std::string("other-5f0c")}) {
    const auto taken = take_over(name, kSecret, 1, "rank 0", patience());
    ASSERT_FALSE(taken.ok());
    EXPECT_THAT(taken.status().message(), HasSubstr("rank 0 named no unix socket, or no secret"));
  }
  EXPECT_THAT(take_over("tutti-5f0c", "5f0c", 1, "rank 0", patience()).status().message(), HasSubstr("or no secret"));
}

// One that sends two descriptors, or other words with one, leaves none behind in this process.
TEST(Handoff, DescriptorsFromAFalseLeaderAreClosed) {
  const std::string name = HandoffSocket::open()->name();
  const OwnedFd listener = unix_socket(name, true);
  std::thread leader([&] {
    for (int i = 0; i < 2; ++i) {
      const OwnedFd peer(::accept(listener.get(), nullptr, nullptr));
      std::string words("tutti03", 8);
      if (i == 1) words = "nonsense";
      iovec text{words.data(), words.size()};
      const int sent[2] = {0, 0};
      alignas(cmsghdr) char control[CMSG_SPACE(sizeof sent)] = {};
      msghdr message{};
      message.msg_iov = &text;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      cmsghdr* header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(sizeof sent);
      std::memcpy(CMSG_DATA(header), sent, sizeof sent);
      EXPECT_EQ(::sendmsg(peer.get(), &message, MSG_NOSIGNAL), 8);
    }
  });
  const size_t before = open_descriptors();
  const auto taken = take_over(name, kSecret, 1, "rank 0", patience(kShort));
  leader.join();
  EXPECT_FALSE(taken.ok());
  EXPECT_EQ(open_descriptors(), before);
}

// Lowers the limit to what is open now; restored at the end.
class NoDescriptorLeft {
 public:
  NoDescriptorLeft() {
    EXPECT_EQ(::getrlimit(RLIMIT_NOFILE, &before_), 0);
    const int next = ::fcntl(0, F_DUPFD, 3);
    ::close(next);
    const rlimit none{static_cast<rlim_t>(next), before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  }
  NoDescriptorLeft(const NoDescriptorLeft&) = delete;
  ~NoDescriptorLeft() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST(Handoff, AShortageOfDescriptorsIsASentence) {
  Host host(2);
  const OwnedFd peer = unix_socket(host.socket.name(), false);
  const NoDescriptorLeft limit;
  EXPECT_THAT(host.give().message(), HasSubstr("handing over the shared memory: Too many open files"));
  const OwnedFd place_of_the_socket(::fcntl(0, F_DUPFD_CLOEXEC, 3));  // which give() has closed
  EXPECT_THAT(host.take(1).status().message(), HasSubstr("Too many open files"));
  EXPECT_THAT(HandoffSocket::open().status().message(), HasSubstr("ulimit -n"));
  EXPECT_THAT(make_segment(4096, 2 * heap_bytes(2)).status().message(), HasSubstr("creating shared memory: Too many open files"));
}

// ---- the memory ----

TEST(Segment, KeepsItsSize) {
  const auto segment = make_segment(4096, 2 * heap_bytes(2));
  ASSERT_TRUE(segment.ok()) << segment.status().message();
  EXPECT_TRUE(check_segment(segment->get(), 4096).ok());
  EXPECT_EQ(::ftruncate(segment->get(), 0), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(::ftruncate(segment->get(), 1ll << 50), -1);
}

TEST(Segment, WhatCouldShrinkIsRefused) {
  const OwnedFd open(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(open.get(), 8192), 0);
  EXPECT_THAT(check_segment(open.get(), 4096).message(), HasSubstr("could shrink"));
  ASSERT_EQ(::fcntl(open.get(), F_ADD_SEALS, F_SEAL_SHRINK), 0);
  EXPECT_TRUE(check_segment(open.get(), 4096).ok());
  EXPECT_THAT(check_segment(open.get(), 8193).message(), HasSubstr("has 8192 bytes instead of 8193"));
  const OwnedFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_FALSE(check_segment(socket.get(), 0).ok());
}

}  // namespace
}  // namespace tutti::shm
