// One rank's control tree against neighbours that the test plays: silent ones, stopped ones, liars, and those who
// leave.
#include "control_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "control_fixture.h"

namespace tutti {
namespace {

using testing::HasSubstr;

const Signature kTreeCall = call_of(Collective::all_reduce, 417, 1024);

ControlFrame sample_frame(FrameKind kind, int rank = -1) {
  ControlFrame frame = frame_of(kind, rank);
  frame.cause.status = Status(Code::aborted, "from outside");
  frame.stall = stall_in(kTreeCall, 0);
  return frame;
}

// The other end of a control connection.
class Puppet {
 public:
  explicit Puppet(OwnedFd fd) : socket_(std::move(fd)) {}
  void say(const ControlFrame& frame) { socket_.send(frame); }
  void leave() { socket_.close(); }
  void babble() { (void)!::send(socket_.fd(), "\xff\xff\xff\xff", 4, MSG_NOSIGNAL); }
  // Waits for the next frame of this kind; false: the tree closed the connection.
  bool hear(FrameKind kind, ControlFrame* heard = nullptr) {
    for (;;) {
      ControlFrame frame;
      if (socket_.next(100, frame) == Decoding::complete) {
        if (frame.kind != kind) continue;
        if (heard != nullptr) *heard = frame;
        return true;
      }
      if (!socket_.fill()) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

 private:
  ControlSocket socket_;
};

// Rank 1 of 4 with parent 0 and child 3, or the root of 2 with child 1.
class Stage {
 public:
  Stage(int rank, int size) {
    Status status;
    auto thread = start_control_thread(status);
    std::vector<ControlTree::Neighbour> neighbours;
    std::vector<int> ranks = children_of(rank, size);
    if (rank > 0) ranks.insert(ranks.begin(), parent_of(rank));
    for (const int other : ranks) {
      int ends[2];
      EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
      neighbours.push_back({other, ControlSocket(OwnedFd(ends[0])), false, true});
      puppets.emplace_back(OwnedFd(ends[1]));
    }
    tree = std::make_unique<ControlTree>(thread, control_options(rank, size), std::move(neighbours));
    EXPECT_TRUE(tree->begin().ok());
  }
  Status failure() {
    while (!tree->failed()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return tree->failure();
  }
  std::vector<Puppet> puppets;  // the parent first
  std::unique_ptr<ControlTree> tree;
};

TEST(ControlTree, ReportsUpAndBelievesWhatComesDown) {
  Stage stage(1, 4);
  stage.tree->fail(3, Status(Code::peer_lost, "my own view"));
  ControlFrame heard;
  ASSERT_TRUE(stage.puppets[0].hear(FrameKind::report, &heard));
  EXPECT_EQ(heard.cause.culprit, 3);
  EXPECT_EQ(heard.cause.status.message(), "my own view");
  stage.puppets[0].say(sample_frame(FrameKind::failure));
  EXPECT_EQ(stage.failure().message(), "from outside");
  ASSERT_TRUE(stage.puppets[1].hear(FrameKind::failure, &heard));
  EXPECT_EQ(heard.cause.status.message(), "from outside");
}

TEST(ControlTree, DecidesByItselfWhereTheRootDoesNotAnswer) {
  Stage stage(1, 4);
  stage.puppets[1].say(sample_frame(FrameKind::report));
  EXPECT_EQ(stage.failure().message(), "from outside");
  EXPECT_TRUE(stage.puppets[0].hear(FrameKind::report));
  EXPECT_TRUE(stage.puppets[1].hear(FrameKind::failure));
}

TEST(ControlTree, KeepsItsReportWhenTheParentDies) {
  Stage stage(1, 4);
  stage.tree->fail(2, Status(Code::peer_lost, "rank 2 went first"));
  stage.puppets[0].leave();
  EXPECT_EQ(stage.failure().message(), "rank 2 went first");
}

TEST(ControlTree, NeighbourThatBabblesIsLost) {
  Stage stage(0, 2);
  stage.puppets[0].babble();
  EXPECT_EQ(stage.failure().message(), rank_name(1) + " died or closed its connections");
}

TEST(ControlTree, FrameFromTheWrongSideIsLost) {
  Stage stage(1, 4);
  stage.puppets[0].say(sample_frame(FrameKind::goodbye_up));
  EXPECT_EQ(stage.failure().message(), rank_name(0) + " died or closed its connections");
}

TEST(ControlTree, SilentParentIsBlamedForADeadline) {
  Stage stage(1, 4);
  stage.tree->timed_out(stall_in(kTreeCall, 2));
  EXPECT_TRUE(stage.puppets[0].hear(FrameKind::timed_out));
  EXPECT_TRUE(stage.puppets[0].hear(FrameKind::ping));
  EXPECT_TRUE(stage.puppets[1].hear(FrameKind::ping));
  stage.puppets[1].say(sample_frame(FrameKind::pong));
  EXPECT_EQ(stage.failure().message(), silent_cause(0, rank_name(0)).status.message());
}

TEST(ControlTree, SilentChildIsReported) {
  Stage stage(1, 4);
  stage.puppets[0].say(sample_frame(FrameKind::ping));
  EXPECT_TRUE(stage.puppets[0].hear(FrameKind::pong));
  EXPECT_TRUE(stage.puppets[0].hear(FrameKind::ping));
  stage.puppets[0].say(sample_frame(FrameKind::pong));
  ControlFrame heard;
  ASSERT_TRUE(stage.puppets[0].hear(FrameKind::suspect, &heard));
  EXPECT_EQ(heard.rank, 3);
  EXPECT_FALSE(stage.tree->failed());
}

TEST(ControlTree, RootBlamesTheSilentChild) {
  Stage stage(0, 2);
  stage.tree->timed_out(stall_in(kTreeCall, 1));
  EXPECT_EQ(stage.failure().message(), silent_cause(1, rank_name(1)).status.message());
}

TEST(ControlTree, OwnViewHoldsWhereNoVerdictComes) {
  Stage stage(1, 4);
  stage.tree->timed_out(stall_in(kTreeCall, 2));
  for (Puppet& puppet : stage.puppets) {
    EXPECT_TRUE(puppet.hear(FrameKind::ping));
    puppet.say(sample_frame(FrameKind::pong));
  }
  EXPECT_EQ(stage.failure().message(),
            rank_name(2) + " is late: " + rank_name(1) + " waited 2.0 s in all_reduce #417 of 1024 float32, sum, step 5 of 14");
  EXPECT_TRUE(stage.puppets[0].hear(FrameKind::report));
}

TEST(ControlTree, ForwardsStallsAndSuspects) {
  Stage stage(1, 4);
  ControlFrame heard;
  for (const FrameKind kind : {FrameKind::stall, FrameKind::timed_out, FrameKind::suspect}) {
    stage.puppets[1].say(sample_frame(kind, 3));
    ASSERT_TRUE(stage.puppets[0].hear(kind, &heard));
    EXPECT_EQ(encode(heard), encode(sample_frame(kind, 3)));
  }
}

TEST(ControlTree, ParentThatLeavesDuringGoodbyeCountsAsDone) {
  Stage stage(1, 4);
  Status said(Code::internal, "");
  std::thread leaving([&] { said = stage.tree->goodbye(); });
  EXPECT_TRUE(stage.puppets[0].hear(FrameKind::leaving));
  EXPECT_TRUE(stage.puppets[1].hear(FrameKind::leaving));
  stage.puppets[0].leave();
  leaving.join();
  EXPECT_TRUE(said.ok()) << said.message();
  ControlFrame heard;
  ASSERT_TRUE(stage.puppets[1].hear(FrameKind::failure, &heard));
  EXPECT_TRUE(heard.cause.by_close);  // which means nothing to a child that is leaving
}

TEST(ControlTree, ChildThatLeavesBeforeThoseBelowItIsReported) {
  Stage stage(1, 10);  // ranks 3 and 4 are below it, and below those ranks 7, 8 and 9
  stage.puppets[1].say(sample_frame(FrameKind::leaving, 3));
  stage.puppets[1].leave();
  ControlFrame heard;
  ASSERT_TRUE(stage.puppets[0].hear(FrameKind::cut_off, &heard));
  EXPECT_EQ(heard.rank, 3);
  stage.puppets[2].say(sample_frame(FrameKind::cut_off, 9));
  ASSERT_TRUE(stage.puppets[0].hear(FrameKind::cut_off, &heard));
  EXPECT_EQ(heard.rank, 9);
  EXPECT_FALSE(stage.tree->failed());
}

TEST(ControlTree, ExitsBehindARankThatHasLeftAreNoDeaths) {
  Stage stage(0, 4);  // rank 3 is below rank 1
  stage.puppets[0].say(sample_frame(FrameKind::leaving, 1));
  stage.puppets[0].leave();
  stage.puppets[1].say(sample_frame(FrameKind::exited, 3));
  std::this_thread::sleep_for(std::chrono::nanoseconds(kExitGraceNs + kExitGraceNs / 2));
  EXPECT_FALSE(stage.tree->failed());
  stage.puppets[1].say(sample_frame(FrameKind::exited, 2));
  EXPECT_EQ(stage.failure().message(), rank_name(2) + " died or closed its connections");
}

TEST(ControlTree, ChildThatHasSaidGoodbyeMayGo) {
  Stage stage(1, 4);
  stage.puppets[1].say(sample_frame(FrameKind::goodbye_up));
  stage.puppets[1].leave();
  Status said(Code::internal, "");
  std::thread leaving([&] { said = stage.tree->goodbye(); });
  EXPECT_TRUE(stage.puppets[0].hear(FrameKind::goodbye_up));
  leaving.join();
  EXPECT_TRUE(said.ok()) << said.message();
}

TEST(ControlTree, FailureDuringGoodbyeIsTold) {
  Stage stage(1, 4);
  Status said;
  std::thread leaving([&] { said = stage.tree->goodbye(); });
  stage.puppets[0].say(sample_frame(FrameKind::failure));
  leaving.join();
  EXPECT_EQ(said.message(), "from outside");
}

TEST(ControlTree, NeighbourThatDoesNotReadCostsNothing) {
  Stage stage(1, 4);
  for (int i = 0; i < 20'000; ++i) stage.tree->stalled(stall_in(kTreeCall, 2));  // far more than the socket holds
  stage.puppets[1].say(sample_frame(FrameKind::report));
  EXPECT_TRUE(stage.puppets[0].hear(FrameKind::report));
  stage.puppets[0].say(sample_frame(FrameKind::failure));
  EXPECT_EQ(stage.failure().message(), "from outside");
}

}  // namespace
}  // namespace tutti
