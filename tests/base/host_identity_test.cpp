#include "host_identity.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

namespace tutti {
namespace {

TEST(HostIdentity, NameIsTheSystems) {
  std::array<char, 256> name{};
  ASSERT_EQ(gethostname(name.data(), name.size() - 1), 0);
  EXPECT_EQ(host_name(), name.data());
}

TEST(HostIdentity, IdIsStableAndBounded) {
  EXPECT_EQ(host_id(""), host_id(""));
  EXPECT_FALSE(host_id("").empty());
  EXPECT_LE(host_id("").size(), 128u);
}

TEST(HostIdentity, SettingReplacesIt) {
  EXPECT_EQ(host_id("left"), host_id("left"));
  EXPECT_NE(host_id("left"), host_id("right"));
  EXPECT_NE(host_id(host_id("")), host_id(""));
}

// The id of a process, told by a child that has first done `before`; "" if that is not allowed here.
template <class Before>
std::string id_in_child(Before before) {
  std::array<int, 2> ends{};
  EXPECT_EQ(pipe(ends.data()), 0);
  const pid_t child = fork();
  if (child == 0) {
    const std::string id = before() ? host_id("") : "";
    const bool written = write(ends[1], id.data(), id.size()) == static_cast<ssize_t>(id.size());
    _exit(written ? 0 : 1);
  }
  close(ends[1]);
  std::array<char, 256> text{};
  const ssize_t got = read(ends[0], text.data(), text.size());
  close(ends[0]);
  waitpid(child, nullptr, 0);
  return std::string(text.data(), got > 0 ? static_cast<size_t>(got) : 0);
}

TEST(HostIdentity, ProcessesOfOneHostAgree) {
  EXPECT_EQ(id_in_child([] { return true; }), host_id(""));
}

TEST(HostIdentity, AnotherNetworkNamespaceIsAnotherHost) {
  const std::string id = id_in_child([] { return unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0; });
  if (id.empty()) GTEST_SKIP() << "no right to make a network namespace";
  EXPECT_NE(id, host_id(""));
}

}  // namespace
}  // namespace tutti
