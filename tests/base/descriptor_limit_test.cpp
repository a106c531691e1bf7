#include "descriptor_limit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cerrno>

namespace tutti {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(DescriptorLimit, TellsAShortageFromOtherErrors) {
  EXPECT_TRUE(is_descriptor_shortage(EMFILE));
  EXPECT_TRUE(is_descriptor_shortage(ENFILE));
  EXPECT_FALSE(is_descriptor_shortage(ECONNREFUSED));
  EXPECT_FALSE(is_descriptor_shortage(0));
}

TEST(DescriptorLimit, TheSentenceNamesTheLimitAndWhatIsNeeded) {
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  const rlimit small{50, before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &small);
  errno = EMFILE;
  const Status few = out_of_descriptors("accepting rank 3", 70), enough = out_of_descriptors("accepting rank 3", 40);
  EXPECT_EQ(errno, EMFILE);
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(few.code(), Code::system);
  EXPECT_THAT(few.message(), AllOf(HasSubstr("accepting rank 3: Too many open files"), HasSubstr("some 70 descriptors"),
                                   HasSubstr("the limit of this process is 50"), HasSubstr("(ulimit -n 70 or more)")));
  EXPECT_THAT(enough.message(), AllOf(HasSubstr("has opened many others"), Not(HasSubstr("ulimit -n 40"))));
}

}  // namespace
}  // namespace tutti
