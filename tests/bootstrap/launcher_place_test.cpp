// The place in a launcher's job belongs to one process and ends with it.
#include "launcher_place.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "bootstrap_fixture.h"

namespace tutti {
namespace {

std::string own_place() { return "a test's place " + std::to_string(::getpid()); }

TEST(LauncherPlace, BelongsToOneProcess) {
  const std::string name = own_place();
  LauncherPlace mine, once_more;
  ASSERT_TRUE(mine.take(name, "A and B").ok());
  EXPECT_TRUE(mine.is_ours());
  EXPECT_TRUE(once_more.take(name, "A and B").ok()) << "two copies of the library in one process";
  const pid_t child = ::fork();
  if (child == 0) {
    LauncherPlace theirs, other;
    const Status refused = theirs.take(name, "A and B");
    const bool right = !mine.is_ours() && refused.code() == Code::invalid_argument &&
                       refused.message().find("process " + std::to_string(::getppid())) != std::string::npos &&
                       refused.message().find("A and B") != std::string::npos && other.take(name + " of another rank", "").ok();
    std::_Exit(right ? 0 : 1);
  }
  EXPECT_EQ(exit_code_of(child), 0);
}

// Helpers that a rank forked may live on and keep its sockets.
TEST(LauncherPlace, EndsWithItsProcess) {
  const std::string name = own_place();
  int keep[2];
  ASSERT_EQ(::pipe2(keep, O_CLOEXEC), 0);
  const pid_t rank = ::fork();
  if (rank == 0) {
    LauncherPlace place;
    const bool taken = place.take(name, "").ok();
    if (::fork() == 0) {  // until the test closes the pipe
      ::close(keep[1]);
      char none;
      (void)!::read(keep[0], &none, 1);
    }
    std::_Exit(taken ? 0 : 1);
  }
  EXPECT_EQ(exit_code_of(rank), 0);
  LauncherPlace next;
  EXPECT_TRUE(next.take(name, "").ok());
  for (const int end : keep) ::close(end);
}

}  // namespace
}  // namespace tutti
