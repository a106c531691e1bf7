// The compiler's reading of plans: which steps it fuses, and the slots that a program takes.
#include "program.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "all_plans.h"
#include "plan_text.h"

namespace tutti {
namespace {

Program compiled(const Plan& plan) { return compile(plan, Collective::all_reduce, 0, 4, 0); }

TEST(Compiler, AReceiveDirectlyBeforeSendsOfTheSameRunPassesItsSlotOn) {
  Plan plan(4, 2);
  plan.recv(1, 0);
  plan.send(2, 0);
  plan.recv_reduce(1, 1, 2);
  plan.send(2, 1, 2);
  plan.send(3, 1, 2);
  plan.fold(std::array{1, 2}, 3);
  plan.send(1, 3);
  const Program program = compiled(plan);
  ASSERT_EQ(program.instructions.size(), 3u);
  for (const Instruction& instruction : program.instructions) EXPECT_NE(instruction.take, Take::nothing);
  EXPECT_EQ(program.instructions[1].outs.size(), 2u);
  EXPECT_EQ(program.instructions[2].ins.size(), 2u);
  EXPECT_EQ(program.instructions[2].step, 5u);
  EXPECT_EQ(slots_per_stripe(program), 0u);
  EXPECT_EQ(slots_per_stripe(program, true), 2u) << "loans are read-only";
}

TEST(Compiler, OtherSendsTakeOneSlotForAllThatFollowOfTheSameRun) {
  Plan plan(4, 2);
  plan.send(1, 0);
  plan.send(2, 0);  // the same slot
  plan.send(3, 0);
  plan.send(1, 1, 2);
  plan.send(2, 1);  // another run
  plan.recv(1, 3);
  plan.send(2, 0);  // not what was received
  const Program program = compiled(plan);
  ASSERT_EQ(program.instructions.size(), 5u);
  EXPECT_EQ(program.instructions[0].outs.size(), 3u);
  EXPECT_EQ(program.instructions[1].outs.size(), 1u);
  EXPECT_TRUE(program.instructions[3].outs.empty());
  EXPECT_EQ(slots_per_stripe(program), 4u);
}

TEST(Compiler, PortsAreTheMessagesOfALinkInOrder) {
  Plan plan(4);
  plan.send(1, 0);
  plan.send(2, 1);
  plan.recv(1, 3);
  plan.send(1, 2);
  const Program program = compiled(plan);
  ASSERT_EQ(program.peers.size(), 2u);
  EXPECT_EQ(program.peers[0].rank, 1);
  EXPECT_EQ(program.peers[0].sends, 2u);
  EXPECT_EQ(program.peers[0].receives, 1u);
  EXPECT_EQ(program.instructions[3].outs[0].link, 0u);
  EXPECT_EQ(program.instructions[3].outs[0].index, 1u);
  EXPECT_EQ(program.instructions[2].ins[0].index, 0u);
}

TEST(Compiler, OfAnEmptyPlanIsEmpty) { EXPECT_EQ(slots_per_stripe(compiled(Plan(1))), 0u); }

// An operation keeps its program, which is moved into its place.
TEST(Compiler, InstructionsViewThePortsOfAProgramThatWasMoved) {
  Plan plan(4, 2);
  plan.send(1, 3, 2);
  Program program = compiled(plan);
  const Program moved = std::move(program);
  EXPECT_EQ(moved.instructions[0].outs.data(), moved.ports.data());
  EXPECT_EQ(moved.instructions[0].segments.data(), moved.segments.data());
  EXPECT_EQ(moved.instructions[0].segments.size(), 2u) << "the run passes the last block";
}

struct Need {
  Collective collective;
  std::string_view name;
  uint32_t slots;  // the most of any of 9 ranks
};

TEST(Slots, NeededByThePlans) {
  using enum Collective;
  for (const Need& need :
       {Need{all_reduce, "ring", 1}, Need{all_reduce, "tree", 2}, Need{all_reduce, "recursive", 7}, Need{all_reduce, "doubling", 1},
        Need{all_reduce, "direct", 8}, Need{reduce_scatter, "ring", 1}, Need{all_gather, "direct", 1}, Need{broadcast, "ring", 1},
        Need{broadcast, "tree", 2}, Need{broadcast, "direct", 1}, Need{gather, "tree", 1}, Need{all_to_all, "direct", 8}}) {
    uint32_t most = 0;
    for (int rank = 0; rank < 9; ++rank) {
      const Plan plan = algorithm_of(need.collective, need.name).plan(rank, 9, 0);
      most = std::max(most, slots_per_stripe(compile(plan, need.collective, rank, 9, 0)));
    }
    EXPECT_EQ(most, need.slots) << name(need.collective) << " " << need.name;
  }
}

TEST(Slots, AreNeverMoreThanRanks) {
  for (const Algorithm& algorithm : algorithms()) {
    for (int size = 1; size <= 130; ++size) {
      for (int rank = 0; rank < size; ++rank) {
        const Program program = compile(algorithm.plan(rank, size, 0), algorithm.collective, rank, size, 0);
        ASSERT_LE(slots_per_stripe(program), static_cast<uint32_t>(size)) << label(algorithm);
      }
    }
  }
}

TEST(Text, DescribesSteps) {
  Plan plan(4, 3);
  plan.send(1, 2);
  plan.recv(3, 3, 3);
  plan.recv_reduce(3, 2, 1, true);
  plan.send(1, 2);
  plan.fold(std::array{0, 2}, 1, 1, false);
  EXPECT_EQ(describe(plan, compiled(plan)),
            "   0  send block 2 to rank 1\n"
            "   1  recv blocks 3-1 from rank 3\n"
            "   2  recv_reduce block 2 from rank 3, completes, slot passes on\n"
            "   3  send block 2 to rank 1\n"
            "   4  fold block 1 from ranks 0, 2\n");
}

}  // namespace
}  // namespace tutti
