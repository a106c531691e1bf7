#include "descriptor_limit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cerrno>

namespace tutti {
namespace {

using testing::AllOf;
using testing::HasSubstr;

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
  const Status low = out_of_descriptors("opening a door", 90), full = out_of_descriptors("opening a door", 20);
  EXPECT_EQ(errno, EMFILE);
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(low.code(), Code::system);
  EXPECT_THAT(low.message(), AllOf(HasSubstr("opening a door: Too many open files"), HasSubstr("is 50"), HasSubstr("ulimit -n 90")));
  EXPECT_THAT(full.message(), AllOf(HasSubstr("has opened many others"), HasSubstr("ulimit -n")));
}

}  // namespace
}  // namespace tutti
