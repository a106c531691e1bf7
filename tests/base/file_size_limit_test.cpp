#include "file_size_limit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

namespace tutti {
namespace {

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

}  // namespace
}  // namespace tutti
