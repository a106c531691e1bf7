// The root's judgement, without sockets or clocks.
#include "control_judge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control_fixture.h"

namespace tutti {
namespace {

using testing::HasSubstr;
constexpr uint64_t kSecond = 1'000'000'000;

std::vector<std::string> names(int size) {
  std::vector<std::string> result;
  for (int rank = 0; rank < size; ++rank) result.push_back(rank_name(rank));
  return result;
}

const Signature kFive = call_of(Collective::all_reduce, 5, 100);
const Signature kSix = call_of(Collective::all_reduce, 6, 100);

TEST(ControlJudge, SameCallsAreNoContradiction) {
  ControlJudge judge(names(3));
  for (int rank = 0; rank < 3; ++rank) EXPECT_FALSE(judge.stalled(rank, stall_in(kFive, -1, 60 * kSecond), kSecond));
}

TEST(ControlJudge, SameNumberDifferentCallNamesBoth) {
  ControlJudge judge(names(3));
  EXPECT_FALSE(judge.stalled(2, stall_in(call_of(Collective::broadcast, 5, 100), 0), kSecond));
  const auto verdict = judge.stalled(0, stall_in(kFive, 1), 2 * kSecond);
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->status.code(), Code::mismatch);
  EXPECT_EQ(verdict->status.message(), "ranks called different things: " + rank_name(0) +
                                           " is in all_reduce #5 of 100 float32, sum; " + rank_name(2) +
                                           " is in broadcast #5 of 100 float32");
}

TEST(ControlJudge, DifferenceThatTheWordsHideIsExplained) {
  ControlJudge judge(names(2));
  Signature other = kFive;
  other.algorithm = 3;
  EXPECT_FALSE(judge.stalled(0, stall_in(kFive, 1), kSecond));
  EXPECT_THAT(judge.stalled(1, stall_in(other, 0), kSecond)->status.message(), HasSubstr("by different algorithms"));
}

TEST(ControlJudge, RankAheadIsNoContradictionUnlessAllAreStalledForSure) {
  ControlJudge judge(names(3));
  EXPECT_FALSE(judge.stalled(0, stall_in(kSix, 1, 10 * kSecond), kSecond));
  EXPECT_FALSE(judge.stalled(1, stall_in(kFive, 2, 10 * kSecond), kSecond));
  EXPECT_FALSE(judge.stalled(2, stall_in(kFive, 0, kSecond), kSecond));
  EXPECT_FALSE(judge.stalled(2, stall_in(kFive, 0, 10 * kSecond), 5 * kSecond));  // the others have moved since
  EXPECT_FALSE(judge.stalled(1, stall_in(kFive, 2, 14 * kSecond), 5 * kSecond));
  // These reports may have been under way for long.
  EXPECT_FALSE(judge.stalled(0, stall_in(kSix, 1, 14 * kSecond), 5 * kSecond));
  const auto query = judge.query();
  ASSERT_TRUE(query);
  EXPECT_FALSE(judge.query());
  EXPECT_FALSE(judge.stalled(1, stall_in(kFive, 2, 15 * kSecond), 6 * kSecond, *query));
  EXPECT_FALSE(judge.stalled(2, stall_in(kFive, 0, 11 * kSecond), 6 * kSecond, *query));
  const auto verdict = judge.stalled(0, stall_in(kSix, 1, 15 * kSecond), 6 * kSecond, *query);
  ASSERT_TRUE(verdict);
  EXPECT_THAT(verdict->status.message(), HasSubstr(rank_name(0) + " is in all_reduce #6"));
  EXPECT_THAT(verdict->status.message(), HasSubstr("is in all_reduce #5"));
}

TEST(ControlJudge, PointToPointComparesNothing) {
  ControlJudge judge(names(2));
  EXPECT_FALSE(judge.stalled(0, stall_in(call_of(Collective::point_to_point, 0, 5), 1, 60 * kSecond), kSecond));
  EXPECT_FALSE(judge.stalled(1, stall_in(call_of(Collective::point_to_point, 0, 6), 0, 60 * kSecond), kSecond));
  EXPECT_FALSE(judge.stalled(1, stall_in(kFive, 0, 60 * kSecond), kSecond));
}

// The meaning of number 5 at a rank does not depend on when it said so.
TEST(ControlJudge, OldReportsOfTheSameCallCount) {
  ControlJudge judge(names(2));
  EXPECT_FALSE(judge.stalled(0, stall_in(kFive, 1), kSecond));
  EXPECT_TRUE(judge.stalled(1, stall_in(call_of(Collective::broadcast, 5, 100), 0), kSecond + kStallFreshNs));
}

// A rank that still asks whether buffers are lent and one that has begun the call mean the same call; one that calls
// something else does not.
TEST(ControlJudge, QuestionBeforeACallIsThatCall) {
  ControlJudge judge(names(3));
  Signature question = kFive;
  question.algorithm = kQuestion;
  EXPECT_FALSE(judge.stalled(0, stall_in(kFive, 1), kSecond));
  EXPECT_FALSE(judge.stalled(1, stall_in(question, 2), kSecond));
  Signature other = call_of(Collective::broadcast, 5, 100);
  other.algorithm = kQuestion;
  const auto verdict = judge.stalled(2, stall_in(other, 1), kSecond);
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->status.code(), Code::mismatch);
}

// After an interruption of the network all reports arrive at once and look as if nothing moved; the next packet is
// about to be sent again.
TEST(ControlJudge, StandstillBetweenHostsMustLast) {
  constexpr uint64_t kSettle = 30 * kSecond;
  ControlJudge judge(names(2), kSettle);
  const auto report = [&](uint64_t now, uint32_t query) {
    EXPECT_FALSE(judge.stalled(0, stall_in(kSix, 1, now), now, query));
    return judge.stalled(1, stall_in(kFive, 0, now), now, query);
  };
  EXPECT_FALSE(report(20 * kSecond, 0));
  const auto query = judge.query();
  ASSERT_TRUE(query);
  for (uint64_t t = 21; t < 50; ++t) EXPECT_FALSE(report(t * kSecond, *query)) << t;
  EXPECT_FALSE(judge.stalled(0, stall_in(kSix, 1, 0), 49 * kSecond, *query));  // it has moved: all begins anew
  EXPECT_FALSE(report(51 * kSecond, *query));
  const auto again = judge.query();
  ASSERT_TRUE(again);
  EXPECT_NE(*again, *query);
  const uint64_t end = 51 * kSecond + kSettle;
  for (uint64_t t = 52 * kSecond; t < end; t += kSecond) EXPECT_FALSE(report(t, *again)) << t;
  EXPECT_EQ(judge.stalled(0, stall_in(kSix, 1, end), end, *again).value_or(Cause{}).status.code(), Code::mismatch);
}

TEST(ControlJudge, EndOfAProcessIsADeathUnlessItHadLeft) {
  ControlJudge judge(names(3));
  judge.exited(1, kSecond);
  judge.exited(2, kSecond);
  judge.leaving(2);  // said before it ended, heard after
  EXPECT_FALSE(judge.due(kSecond));
  EXPECT_EQ(judge.next(), kSecond + kExitGraceNs);
  const auto verdict = judge.due(judge.next());
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->culprit, 1);
  EXPECT_EQ(verdict->status.message(), rank_name(1) + " died or closed its connections");
  EXPECT_FALSE(judge.due(kSecond + kExitGraceNs));
}

TEST(ControlJudge, DeadlineBlamesTheEndOfTheChainAfterAMoment) {
  ControlJudge judge(names(4));
  EXPECT_FALSE(judge.timed_out(0, stall_in(kFive, 1), 10 * kSecond));
  EXPECT_FALSE(judge.due(10 * kSecond));
  EXPECT_EQ(judge.next(), 10 * kSecond + kVerdictDelayNs);
  EXPECT_FALSE(judge.stalled(1, stall_in(kFive, 2), 10 * kSecond));
  const auto verdict = judge.due(judge.next());
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->culprit, 2);
  EXPECT_EQ(verdict->status.code(), Code::timeout);
  EXPECT_EQ(verdict->status.message(),
            rank_name(2) + " is late: " + rank_name(0) + " waited 2.0 s in all_reduce #5 of 100 float32, sum, step 5 of 14");
  EXPECT_EQ(judge.next(), UINT64_MAX);
}

TEST(ControlJudge, RankThatLeftIsNamedOnceTheWaitIsSure) {
  ControlJudge judge(names(3));
  judge.leaving(2);
  EXPECT_FALSE(judge.stalled(0, stall_in(kFive, 1, 2 * kSecond), kSecond));  // what rank 2 sent may still be under way
  EXPECT_FALSE(judge.stalled(1, stall_in(kFive, 2, 2 * kSecond), kSecond));
  const auto verdict = judge.stalled(0, stall_in(kFive, 1, 6 * kSecond), 2 * kSecond);  // by way of rank 1
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->culprit, 2);
  EXPECT_EQ(verdict->status.code(), Code::peer_lost);
  EXPECT_THAT(verdict->status.message(), HasSubstr(rank_name(2) + " has left: it called tutti_comm_destroy"));
}

TEST(ControlJudge, CircleBlamesNobody) {
  ControlJudge judge(names(2));
  EXPECT_FALSE(judge.timed_out(0, stall_in(kFive, 1), 10 * kSecond));
  EXPECT_FALSE(judge.timed_out(1, stall_in(kFive, 0), 10 * kSecond));
  const auto verdict = judge.due(11 * kSecond);
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->culprit, -1);
  EXPECT_THAT(verdict->status.message(),
              HasSubstr("ranks wait for one another, and nothing moved for 2.0 s: " + rank_name(0) + " is in all_reduce #5"));
}

TEST(ControlJudge, SilentRankIsBlamedBeforeTheOneThatCannotReport) {
  ControlJudge judge(names(4));
  EXPECT_FALSE(judge.timed_out(0, stall_in(kFive, 3), 10 * kSecond));  // 3 waits for 1 too, but its word goes through 1
  judge.suspect(1);
  const auto verdict = judge.due(11 * kSecond);
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->culprit, 1);
  EXPECT_EQ(verdict->status.message(), silent_cause(1, rank_name(1)).status.message());
}

TEST(ControlJudge, LateRankIsToldOncePerCall) {
  ControlJudge judge(names(3));
  EXPECT_FALSE(judge.stalled(1, stall_in(kFive, 0, 30 * kSecond), 40 * kSecond));
  EXPECT_FALSE(judge.late(40 * kSecond));
  EXPECT_FALSE(judge.stalled(2, stall_in(kFive, 1, 30 * kSecond), 41 * kSecond));
  const auto late = judge.late(judge.next());
  ASSERT_TRUE(late);
  EXPECT_EQ(late->rank, 0);
  EXPECT_EQ(late->text, rank_name(0) + " is late: 2 ranks have waited 30 s for it in all_reduce #5 of 100 float32, sum");
  EXPECT_FALSE(judge.late(42 * kSecond));
  EXPECT_FALSE(judge.stalled(1, stall_in(kFive, 0, 34 * kSecond), 44 * kSecond));
  EXPECT_FALSE(judge.late(47 * kSecond));
  EXPECT_FALSE(judge.stalled(1, stall_in(kSix, 0, 30 * kSecond), 80 * kSecond));
  EXPECT_TRUE(judge.late(82 * kSecond));
}

}  // namespace
}  // namespace tutti
