#include "resource_limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cerrno>

namespace tutti {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(FileSizeLimit, IsAskedBeforeItKills) {
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{1 << 20, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  EXPECT_TRUE(within_file_size_limit(1 << 20, "sizing shared memory").ok());
  const Status refused = within_file_size_limit((1 << 20) + 1, "sizing shared memory");
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(refused.code(), Code::system);
  EXPECT_THAT(refused.message(), HasSubstr("sizing shared memory takes a file of "));
  EXPECT_THAT(refused.message(), HasSubstr("at most 1 MiB: raise the limit (ulimit -f unlimited)"));
}

TEST(FileSizeLimit, NoneRefusesNothing) {
  rlimit now{};
  getrlimit(RLIMIT_FSIZE, &now);
  if (now.rlim_cur != RLIM_INFINITY) GTEST_SKIP() << "there is a limit here";
  EXPECT_TRUE(within_file_size_limit(UINT64_MAX, "writing").ok());
}

TEST(DescriptorLimit, KnowsTheErrors) {
  EXPECT_TRUE(is_descriptor_shortage(EMFILE));
  EXPECT_TRUE(is_descriptor_shortage(ENFILE));
  EXPECT_FALSE(is_descriptor_shortage(ENOMEM));
  EXPECT_FALSE(is_descriptor_shortage(0));
}

TEST(DescriptorLimit, SaysWhatTheLimitIsAndWhatIsNeeded) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit few{50, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  errno = EMFILE;
  const Status low = out_of_descriptors("opening a listener", 90), full = out_of_descriptors("opening a listener", 20);
  EXPECT_EQ(errno, EMFILE);
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(low.code(), Code::system);
  EXPECT_THAT(low.message(),
              AllOf(HasSubstr("opening a listener: Too many open files"), HasSubstr("is 50"), HasSubstr("ulimit -n 90")));
  EXPECT_THAT(full.message(), AllOf(HasSubstr("has opened many others"), HasSubstr("ulimit -n")));
}

}  // namespace
}  // namespace tutti
