// A split that cannot be at one rank fails at all ranks of its color, at once, and at no other; the parent lives on.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process_world.h"

namespace tutti::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class SplitFailure : public testing::TestWithParam<const char*> {};

void expect_split_failure_of(int poor, const std::string& transport) {
  ProcessWorld world(4, {program_from("API_TEST_SPLIT_PROGRAM"), std::to_string(poor)}, {}, transport);
  const auto endings = world.wait();  // half of the bootstrap timeout, which nobody waits out
  for (int rank = 0; rank < 4; ++rank) {
    const Ending& ending = endings[static_cast<size_t>(rank)];
    EXPECT_FALSE(ending.timed_out) << "rank " << rank;
    EXPECT_EQ(ending.exit_code, 0) << "rank " << rank << ", signal " << ending.signal << "\n" << ending.output;
    if (rank % 2 == poor % 2)
      EXPECT_THAT(ending.output, AllOf(HasSubstr("split: system error: rank " + std::to_string(poor) + " (host "),
                                       HasSubstr("cannot take part in the split"), HasSubstr("ulimit -n")));
    else
      EXPECT_THAT(ending.output, HasSubstr("split: success"));
  }
}

TEST_P(SplitFailure, OfTheFirstRankOfAColor) { expect_split_failure_of(1, GetParam()); }
TEST_P(SplitFailure, OfAnotherRank) { expect_split_failure_of(2, GetParam()); }

INSTANTIATE_TEST_SUITE_P(Over, SplitFailure, testing::Values("shm", "tcp"), parameter_name);

}  // namespace
}  // namespace tutti::test
