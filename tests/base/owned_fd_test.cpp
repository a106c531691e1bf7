// No descriptor of the library has the number of a standard stream.
#include "owned_fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <atomic>
#include <cerrno>
#include <functional>
#include <thread>

namespace tutti {
namespace {

// In a child whose standard streams are closed.
bool holds_without_streams(const std::function<bool()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    for (int fd = 0; fd < 3; ++fd) ::close(fd);
    ::_exit(body() ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return status == 0;
}

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

TEST(OwnedFd, LeavesTheNumbersOfTheStandardStreamsAlone) {
  EXPECT_TRUE(holds_without_streams([] {
    errno = EDOM;
    const OwnedFd made(::eventfd(0, EFD_CLOEXEC));
    OwnedFd set;
    set.reset(::eventfd(0, EFD_CLOEXEC));
    OwnedFd moved;
    moved = OwnedFd(::eventfd(0, EFD_CLOEXEC));
    for (const int fd : {made.get(), set.get(), moved.get()})
      if (fd < 3 || (::fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0) return false;
    return errno == EDOM && !is_open(0) && !is_open(1) && !is_open(2) && ::eventfd_write(made.get(), 1) == 0;
  }));
}

TEST(OwnedFd, WithoutAnotherNumberThereIsAnError) {
  EXPECT_TRUE(holds_without_streams([] {
    const rlimit three{3, 3};
    ::setrlimit(RLIMIT_NOFILE, &three);
    const OwnedFd none(::eventfd(0, EFD_CLOEXEC));
    return !none && errno == EMFILE && !is_open(0);
  }));
}

// A copy of a socket in a child would hide from the peers that this process has died.
TEST(OwnedFd, IsClosedInAChildAndLeavesTheChildsOwnAlone) {
  OwnedFd before(::eventfd(0, EFD_CLOEXEC));
  const int number = before.get();
  const pid_t child = ::fork();
  if (child == 0) {
    bool right = ::fcntl(number, F_GETFD) == -1;
    const int again = ::fcntl(0, F_DUPFD, number);  // the child's own, by the same number
    right = right && again == number;
    before.reset();
    right = right && ::fcntl(number, F_GETFD) != -1;
    OwnedFd own(::eventfd(0, EFD_CLOEXEC));
    right = right && own && ::fcntl(own.get(), F_GETFD) != -1;
    const int held = own.get();
    own.reset();
    ::_exit(right && ::fcntl(held, F_GETFD) == -1 ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_NE(::fcntl(number, F_GETFD), -1);
}

TEST(OwnedFd, IsClosedInAChildOfAForkInTheMiddleOfChanges) {
  const int lowest = OwnedFd(::eventfd(0, EFD_CLOEXEC)).get();
  std::atomic<bool> enough{false};
  std::thread changing([&] {
    while (!enough) {
      const auto first = OwnedFd::made_by([] { return ::eventfd(0, EFD_CLOEXEC); });
      const auto second = OwnedFd::made_by([] { return ::eventfd(0, EFD_CLOEXEC); });
    }
  });
  const auto fork_often = [&] {
    for (int i = 0; i < 100; ++i) {
      const pid_t child = ::fork();
      if (child == 0) ::_exit(!is_open(lowest) && !is_open(lowest + 1) ? 0 : 1);
      int status = -1;
      ::waitpid(child, &status, 0);
      EXPECT_EQ(status, 0);
    }
  };
  std::thread other(fork_often);
  fork_often();
  other.join();
  enough = true;
  changing.join();
}

TEST(OwnedFd, KeepsTheErrorOfWhatMadeNone) {
  errno = ENOENT;
  const OwnedFd none(-1);
  EXPECT_FALSE(none);
  EXPECT_EQ(errno, ENOENT);
}

}  // namespace
}  // namespace tutti
