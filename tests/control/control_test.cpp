// The control tree: deaths, failures, verdicts and goodbyes among ranks that are threads.
#include "control.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>

#include "control_fixture.h"
#include "control_tree.h"

namespace tutti {
namespace {

using testing::HasSubstr;

const Signature kCall = call_of(Collective::all_reduce, 417, 1024);

class ControlSizes : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Control, ControlSizes, testing::Range(1, 10));

TEST_P(ControlSizes, HeapHasOneParentPerRank) {
  const int size = GetParam();
  std::vector<int> parents(static_cast<size_t>(size), -1);
  for (int rank = 0; rank < size; ++rank)
    for (const int child : children_of(rank, size)) parents[static_cast<size_t>(child)] = rank;
  for (int rank = 0; rank < size; ++rank) EXPECT_EQ(parents[static_cast<size_t>(rank)], parent_of(rank));
}

TEST_P(ControlSizes, EveryDeathIsKnownToAllByName) {
  const int size = GetParam();
  for (int victim = 0; victim < size; ++victim) {
    Orchestra ranks(size);
    ranks.kill(victim);
    ranks.expect_everywhere(Code::peer_lost, rank_name(victim) + " died or closed its connections");
  }
}

TEST_P(ControlSizes, FailureOfAnyRankIsKnownToAllInTheSameWords) {
  const int size = GetParam();
  for (int rank = 0; rank < size; ++rank) {
    Orchestra ranks(size);
    ranks[rank].fail(size - 1, Status(Code::aborted, "we stop"));
    ranks.expect_everywhere(Code::aborted, "we stop");
  }
}

TEST_P(ControlSizes, OneOfSeveralCausesWinsEverywhere) {
  const int size = GetParam();
  Orchestra ranks(size);
  as_ranks(size, [&](int rank) { ranks[rank].fail(rank, Status(Code::aborted, "cause of " + std::to_string(rank))); });
  const std::string winner = ranks.failure(0).message();
  ranks.expect_everywhere(Code::aborted, winner);
}

// A rank without others below it waits for nobody; one that has some waits for them, who would hear of no failures
// otherwise.
TEST_P(ControlSizes, GoodbyeWaitsForTheRanksBelow) {
  const int size = GetParam();
  Orchestra ranks(size);
  std::vector<std::atomic<bool>> said(static_cast<size_t>(size));
  as_ranks(size, [&](int rank) {
    said[static_cast<size_t>(rank)] = true;
    const Status status = ranks[rank].goodbye();
    EXPECT_TRUE(status.ok()) << status.message();
    for (const int child : children_of(rank, size)) EXPECT_TRUE(said[static_cast<size_t>(child)]) << rank;
    ranks.kill(rank);  // those who are slower do not mind
  });
}

TEST(Control, LeafLeavesAtOnce) {
  Orchestra ranks(3);
  EXPECT_TRUE(ranks[2].goodbye().ok());
  ranks.kill(2);
  EXPECT_TRUE(ranks[1].goodbye().ok());
  ranks.kill(1);
  EXPECT_FALSE(ranks[0].failed());
  EXPECT_TRUE(ranks[0].goodbye().ok());
}

// With another communicator in the process nobody waits, and the tree goes on passing word for those below.
TEST(Control, ProcessThatGoesOnKeepsItsTreesAtWork) {
  Status status;
  auto thread = start_control_thread(status);
  ASSERT_TRUE(status.ok());
  Roundtable busy(1), left(7);
  auto alone = busy.seat(0);
  const auto other = std::move(*Control::create(thread, control_options(0, 1), alone));
  std::vector<std::unique_ptr<Control>> ranks(7);
  as_ranks(7, [&](int rank) {
    auto seat = left.seat(rank);
    ranks[static_cast<size_t>(rank)] = std::move(*Control::create(thread, control_options(rank, 7), seat));
  });
  EXPECT_TRUE(ranks[1]->goodbye().ok());  // ranks 3 and 4 are below it
  Control::retire(std::move(ranks[1]));
  ranks[3]->fail(3, Status(Code::aborted, "word from below"));
  for (const int rank : {0, 2, 4, 5, 6}) {
    while (!ranks[static_cast<size_t>(rank)]->failed()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_EQ(ranks[static_cast<size_t>(rank)]->failure().message(), "word from below");
  }
}

// Nor does it wait with a limit of nothing, and the tree goes on all the same.
TEST(Control, RankThatLeavesAtOnceKeepsItsTreeAtWork) {
  Orchestra ranks(7);
  EXPECT_TRUE(ranks[1].goodbye(0).ok());  // ranks 3 and 4 are below it
  ranks.retire(1);
  EXPECT_TRUE(ranks[0].goodbye(0).ok());
  ranks.retire(0);
  ranks[3].fail(3, Status(Code::aborted, "word from below"));
  ranks.expect_everywhere(Code::aborted, "word from below");
}

// Its end is no death.  Those on both sides of it hear no more of one another.
TEST(Control, RankThatLeavesAtOnceMayEnd) {
  Orchestra ranks(7);
  EXPECT_TRUE(ranks[1].goodbye(0).ok());
  ranks.kill(1);
  ranks[4].fail(4, Status(Code::aborted, "word from below"));
  EXPECT_EQ(ranks.failure(4).message(), "word from below");
  EXPECT_TRUE(ranks[3].goodbye().ok());
  ranks.kill(3);
  EXPECT_FALSE(ranks[0].failed());
  ranks[6].fail(6, Status(Code::aborted, "word from the side"));
  for (const int rank : {0, 2, 5, 6}) EXPECT_EQ(ranks.failure(rank).message(), "word from the side");
}

TEST(Control, RootThatLeavesAtOnceMayEnd) {
  Orchestra ranks(7);
  EXPECT_TRUE(ranks[0].goodbye(0).ok());
  ranks.kill(0);
  ranks[3].fail(3, Status(Code::aborted, "word from below"));
  for (const int rank : {1, 3, 4}) EXPECT_EQ(ranks.failure(rank).message(), "word from below");
  for (const int rank : {2, 5, 6}) EXPECT_FALSE(ranks[rank].failed());
}

// Two communicators that two processes end in opposite orders.
TEST(Control, OppositeOrdersOfEndsAreNoDeadlock) {
  Status status;
  std::shared_ptr<ControlThread> threads[2] = {start_control_thread(status), start_control_thread(status)};
  std::unique_ptr<Control> first[2], second[2];
  Roundtable one(2), two(2);
  as_ranks(2, [&](int process) {  // rank 0 of the first communicator is rank 1 of the second
    auto seat = one.seat(process);
    first[process] = std::move(*Control::create(threads[process], control_options(process, 2), seat));
    auto other_seat = two.seat(1 - process);
    second[process] = std::move(*Control::create(threads[process], control_options(1 - process, 2), other_seat));
  });
  as_ranks(2, [&](int process) {  // each ends that first where it has the other below it
    for (auto* control : {process == 0 ? &first[0] : &second[1], process == 0 ? &second[0] : &first[1]}) {
      EXPECT_TRUE((*control)->goodbye().ok());
      Control::retire(std::move(*control));
    }
  });
}

TEST_P(ControlSizes, DifferentCallsOfTheSameNumberAreAMismatch) {
  const int size = GetParam();
  if (size < 2) return;
  Orchestra ranks(size);
  const Signature other = call_of(Collective::reduce_scatter, 417, 100);
  for (int rank = 0; rank < size; ++rank) ranks[rank].stalled(stall_in(rank == size - 1 ? other : kCall, 0));
  const Status status = ranks.failure(0);
  EXPECT_EQ(status.code(), Code::mismatch);
  EXPECT_THAT(status.message(), HasSubstr("ranks called different things: rank "));
  EXPECT_THAT(status.message(), HasSubstr(" is in all_reduce #417 of 1024 float32, sum; " + rank_name(size - 1) +
                                          " is in reduce_scatter #417 of 100 float32, sum"));
  ranks.expect_everywhere(Code::mismatch, status.message());
}

TEST(Control, CausesBeforeTheFirstAreForgotten) {
  Orchestra ranks(2);
  ranks[0].fail(-1, Status(Code::aborted, "first"));
  ranks[0].fail(-1, Status(Code::aborted, "second"));
  ranks.expect_everywhere(Code::aborted, "first");
}

// Every rank waits for the next one, the last of them for the late one.  All trees at once: each verdict takes its
// time.
TEST(Control, LateRankIsFoundByTheChainOfWaits) {
  struct Case {
    int size, late;
    std::unique_ptr<Orchestra> ranks;
  };
  std::vector<Case> cases;
  for (const int size : {2, 4, 7})
    for (const int late : {0, 1, size - 1}) cases.push_back({size, late, std::make_unique<Orchestra>(size)});
  for (const Case& c : cases) {
    for (int rank = 0; rank < c.size; ++rank)
      if (rank != c.late) (*c.ranks)[rank].stalled(stall_in(kCall, (rank + 1) % c.size));
    const int first = (c.late + 1) % c.size;
    (*c.ranks)[first].timed_out(stall_in(kCall, (first + 1) % c.size));
  }
  for (const Case& c : cases)
    c.ranks->expect_everywhere(Code::timeout, rank_name(c.late) + " is late: " + rank_name((c.late + 1) % c.size) +
                                                  " waited 2.0 s in all_reduce #417 of 1024 float32, sum, step 5 of 14");
}

TEST(Control, RankThatIsNotLeavingLearnsWhoLeft) {
  Orchestra ranks(2);
  ranks.kill(1);
  EXPECT_EQ(ranks.failure(0).message(), rank_name(1) + " died or closed its connections");
  EXPECT_EQ(ranks[0].goodbye().code(), Code::peer_lost);
}

TEST(Control, GoodbyeIsBounded) {
  Orchestra ranks(3, kSilent, kShort);
  const Status status = ranks[0].goodbye();
  EXPECT_EQ(status.code(), Code::timeout);
  EXPECT_THAT(status.message(), HasSubstr("of communicator world " + rank_name(1) + " or a rank behind it, " + rank_name(2) +
                                          " or a rank behind it"));
}

TEST(Control, GoodbyeIsBoundedByTheLastTimeout) {
  Orchestra ranks(2);
  ranks[0].set_timeout(kShort);
  EXPECT_EQ(ranks[0].goodbye().code(), Code::timeout);
}

TEST(Control, SplitsShareAThreadAndLiveApart) {
  Status status;
  auto thread = start_control_thread(status);
  ASSERT_TRUE(status.ok());
  std::vector<std::unique_ptr<Control>> first(2), second(2);
  for (auto* ranks : {&first, &second}) {
    Roundtable table(2);
    as_ranks(2, [&](int rank) {
      auto seat = table.seat(rank);
      (*ranks)[static_cast<size_t>(rank)] = std::move(*Control::create(thread, control_options(rank, 2), seat));
    });
  }
  first[0]->fail(0, Status(Code::aborted, "only the first"));
  while (!first[1]->failed()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  first.clear();
  as_ranks(2, [&](int rank) { EXPECT_TRUE(second[static_cast<size_t>(rank)]->goodbye().ok()); });
}

TEST(Control, WaitersLogWhoIsLateOnce) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const std::string line = rank_name(0) + " is late: 2 ranks have waited 30 s for it in all_reduce #7 of 10 float32, sum\n";
  const auto lines = [&](const std::string& log) {
    size_t count = 0;
    for (size_t at = log.find(line); at != std::string::npos; at = log.find(line, at + 1)) ++count;
    return count;
  };
  std::string log;
  const auto hear = [&] {
    char chunk[512];
    const ssize_t n = ::read(ends[0], chunk, sizeof chunk);
    log.append(chunk, n > 0 ? static_cast<size_t>(n) : 0);
    return n > 0;
  };
  {
    Orchestra ranks(3, Log(LogLevel::warn, "tutti", ends[1]));
    const Signature waiters = call_of(Collective::all_reduce, 7, 10);
    for (int repeat = 0; repeat < 3; ++repeat)
      for (const int rank : {1, 2}) ranks[rank].stalled(stall_in(waiters, 0, 31'000'000'000));
    while (lines(log) < 2 && hear()) {
    }
  }
  ::close(ends[1]);
  while (hear()) {
  }
  ::close(ends[0]);
  EXPECT_EQ(lines(log), 2u) << log;
}

// ---- bootstrap ----

TEST(ControlJoin, AddressThatIsNotOursFailsEveryRankWithTheSameWords) {
  Roundtable table(3);
  as_ranks(3, [&](int rank) {
    Status status;
    auto thread = start_control_thread(status);
    Control::Options options = control_options(rank, 3);
    options.listen_address = rank == 0 ? "203.0.113.77" : "127.0.0.1";
    auto seat = table.seat(rank);
    const auto control = Control::create(thread, options, seat);
    ASSERT_FALSE(control.ok());
    EXPECT_THAT(control.status().message(),
                HasSubstr(rank_name(0) + " cannot join the control tree: cannot listen on 203.0.113.77"));
  });
}

TEST(ControlJoin, ChildThatNeverConnectsIsNamed) {
  Roundtable table(3, kShort);
  as_ranks(3, [&](int rank) {
    if (rank == 2) {  // gives its blob and dies
      EXPECT_TRUE(table.seat(2).exchange("1" + std::string(16, '\0')).ok());
      return;
    }
    Status status;
    auto thread = start_control_thread(status);
    auto seat = table.seat(rank);
    const auto control = Control::create(thread, control_options(rank, 3), seat);
    if (rank == 0) {
      ASSERT_FALSE(control.ok());
      EXPECT_THAT(control.status().message(), HasSubstr(rank_name(2) + " did not connect to " + rank_name(0) + " at 127.0.0.1:"));
    } else if (control.ok()) {  // its parent had welcomed it before it gave up
      while (!(*control)->failed()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      EXPECT_THAT((*control)->failure().message(), HasSubstr(rank_name(2) + " did not connect"));
    }
  });
}

TEST(ControlJoin, ParentThatIsGoneIsNamed) {
  Roundtable table(2);
  as_ranks(2, [&](int rank) {
    if (rank == 0) {
      EXPECT_TRUE(table.seat(0).exchange("1" + std::string(16, '\0') + loopback(free_port()).to_string()).ok());
      return;
    }
    Status status;
    auto thread = start_control_thread(status);
    auto seat = table.seat(1);
    const auto control = Control::create(thread, control_options(1, 2), seat);
    ASSERT_FALSE(control.ok());
    EXPECT_THAT(control.status().message(), HasSubstr(rank_name(1) + " cannot reach " + rank_name(0)));
  });
}

// Neither who waits for a child nor who finds its parent gone blames it where the bootstrap has failed elsewhere.
TEST(ControlJoin, WhoWaitsHearsOfFailuresElsewhere) {
  for (const bool parent_waits : {true, false}) {
    Roundtable table(2);
    as_ranks(2, [&](int rank) {
      auto seat = table.seat(rank);
      if (rank == (parent_waits ? 1 : 0)) {  // gives its blob and goes
        EXPECT_TRUE(seat.exchange("1" + std::string(16, '\0') + (rank == 0 ? loopback(free_port()).to_string() : "")).ok());
        return;
      }
      Status status;
      auto thread = start_control_thread(status);
      Herald herald(seat);
      std::thread word([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        herald.announce();
      });
      const auto control = Control::create(thread, control_options(rank, 2), herald);
      word.join();
      ASSERT_FALSE(control.ok());
      EXPECT_EQ(control.status().message(), "rank 7 has no memory");
    });
  }
}

TEST(ControlJoin, ManySilentConnectionsDoNotKeepAChildOut) {
  Roundtable table(2);
  as_ranks(2, [&](int rank) {
    Status status;
    auto thread = start_control_thread(status);
    auto inner = table.seat(rank);
    std::vector<Outsider> silent;
    const auto exchange = [&](const std::string& mine) -> Result<std::vector<std::string>> {
      auto blobs = inner.exchange(mine);
      for (int i = 0; rank == 1 && i < 200; ++i) silent.emplace_back(*SocketAddress::parse((*blobs)[0].substr(17)));
      return blobs;
    };
    ExchangeOnly seat(exchange, now_ns() + kLong);
    const auto control = Control::create(thread, control_options(rank, 2), seat);
    ASSERT_TRUE(control.ok()) << control.status().message();
    EXPECT_TRUE((*control)->goodbye().ok());
  });
}

TEST(ControlJoin, ConnectionsOfOthersAreRefused) {
  Roundtable table(2);
  as_ranks(2, [&](int rank) {
    Status status;
    auto thread = start_control_thread(status);
    auto inner = table.seat(rank);
    const auto exchange = [&](const std::string& mine) -> Result<std::vector<std::string>> {
      auto blobs = inner.exchange(mine);
      if (rank == 1) {  // somebody else is faster than this rank
        Outsider outsider(*SocketAddress::parse((*blobs)[0].substr(17)));
        outsider.say(std::string("\x1a\x00\x01", 3) + std::string(26, 'x'));
        EXPECT_EQ(outsider.hear(), "");
      }
      return blobs;
    };
    ExchangeOnly seat(exchange, now_ns() + kLong);
    const auto control = Control::create(thread, control_options(rank, 2), seat);
    ASSERT_TRUE(control.ok()) << control.status().message();
    EXPECT_TRUE((*control)->goodbye().ok());
  });
}

// A rank that has joined may come to the end of the communicator before others have joined.
TEST(Control, WhoLeavesEarlyIsNotBlamed) {
  Roundtable table(3);
  std::atomic<bool> left{false};
  as_ranks(3, [&](int rank) {
    Status status;
    auto thread = start_control_thread(status);
    ASSERT_TRUE(status.ok()) << status.message();
    auto seat = table.seat(rank);
    const auto exchange = [&](const std::string& mine) {
      auto blobs = seat.exchange(mine);
      while (rank == 2 && !left) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return blobs;
    };
    ExchangeOnly bootstrap(exchange, seat.deadline());
    auto control = Control::create(thread, control_options(rank, 3), bootstrap);
    ASSERT_TRUE(control.ok()) << control.status().message();
    EXPECT_TRUE((*control)->goodbye().ok());
    EXPECT_FALSE((*control)->failed());
    (*control).reset();
    if (rank == 1) left = true;
  });
}

}  // namespace
}  // namespace tutti
