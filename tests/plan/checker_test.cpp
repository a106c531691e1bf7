// The verdicts of the checker on small plans made by hand.
#include "checker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "expressions.h"

namespace tutti {
namespace {

using testing::HasSubstr;

std::string verdict(Collective collective, const std::vector<Plan>& plans, int root = 0) {
  return prove(collective, root, plans).status().message();
}

std::vector<Plan> ranks(size_t n, uint32_t blocks = 1) { return std::vector<Plan>(n, Plan(blocks)); }

TEST(Checker, ProvesAnExchange) {
  auto plans = ranks(2);
  for (int rank = 0; rank < 2; ++rank) {
    plans[static_cast<size_t>(rank)].send(1 - rank, 0);
    plans[static_cast<size_t>(rank)].recv_reduce(1 - rank, 0, 1, true);
  }
  const Result<Proof> proof = prove(Collective::all_reduce, 0, plans);
  ASSERT_TRUE(proof.ok()) << proof.status().message();
  EXPECT_EQ(proof->cost, (Cost{1, 1, 1, 1}));
}

TEST(Checker, AsksForEveryContribution) {
  auto plans = ranks(3);
  plans[0].recv_reduce(1, 0, 1, false);
  plans[1].send(0, 0);
  EXPECT_EQ(verdict(Collective::reduce, plans), "rank 0, block 0: does not hold each contribution once");
}

TEST(Checker, AsksForNoContributionTwice) {
  auto plans = ranks(2, 2);
  for (const uint32_t block : {0u, 1u, 0u}) plans[1].send(0, block);
  plans[0].recv_reduce(1, 0, 1, true);
  plans[0].recv_reduce(1, 1, 1, true);
  plans[0].recv_reduce(1, 0);
  EXPECT_EQ(verdict(Collective::reduce, plans), "rank 0, block 0: does not hold each contribution once");
}

TEST(Checker, AsksForTheOwnersBlock) {
  auto plans = ranks(2, 2);
  plans[0].send(1, 0);
  plans[1].recv(0, 0);
  EXPECT_EQ(verdict(Collective::all_gather, plans), "rank 0, block 1: never arrives");
}

TEST(Checker, RefusesToReadWhatIsNotThere) {
  auto plans = ranks(3);
  plans[1].send(2, 0);
  plans[2].recv(1, 0);
  EXPECT_EQ(verdict(Collective::broadcast, plans), "rank 1, step 0 (send block 0 to rank 2): has no block 0");
  plans = ranks(2);
  plans[0].send(1, 0);
  plans[1].recv_reduce(0, 0);
  EXPECT_EQ(verdict(Collective::broadcast, plans), "rank 1, step 0 (recv_reduce block 0 from rank 0): has no block 0");
}

TEST(Checker, RefusesAnInputSentAfterItWasOverwritten) {  // what working in place would destroy
  auto plans = ranks(2);
  plans[0].recv_reduce(1, 0, 1, true);
  plans[0].send(1, 0);
  plans[1].send(0, 0);
  plans[1].recv_reduce(0, 0, 1, true);
  EXPECT_EQ(verdict(Collective::all_reduce, plans),
            "rank 1, step 1 (recv_reduce block 0 from rank 0, completes): block 0 is not complete");
}

// Each rank has the right sum of three, but rank 2 adds in another order.
TEST(Checker, RefusesAnotherOrderOfOperands) {
  auto plans = ranks(3, 2);
  for (int rank = 0; rank < 3; ++rank) {
    Plan& plan = plans[static_cast<size_t>(rank)];
    std::vector<int> peers;
    for (int peer = 0; peer < 3; ++peer) {
      if (peer != rank) peers.push_back(peer);
    }
    for (const int peer : peers) {
      for (uint32_t block = 0; block < 2; ++block) plan.send(peer, block);
    }
    for (const int peer : peers) {
      for (uint32_t block = 0; block < 2; ++block) plan.recv_reduce(peer, block, 1, peer == peers[1]);
    }
  }
  EXPECT_EQ(verdict(Collective::all_reduce, plans), "rank 2, block 0: is made by another expression than at a lower rank");
}

TEST(Checker, ASharedSlotIsReadOnly) {
  auto plans = ranks(3);
  for (const int peer : {1, 2}) {
    plans[0].send(peer, 0);
    plans[static_cast<size_t>(peer)].recv_reduce(0, 0);
  }
  EXPECT_EQ(verdict(Collective::reduce, plans),
            "rank 2, step 0 (recv_reduce block 0 from rank 0): reduces into a slot that others read");
}

TEST(Checker, ASharedSlotIsReadOnlyAlsoWhenPassedOn) {
  auto plans = ranks(4);
  plans[0].send(1, 0);
  plans[0].send(2, 0);
  plans[1].recv(0, 0);
  plans[1].send(3, 0);
  plans[2].recv(0, 0);
  plans[3].recv_reduce(1, 0);
  EXPECT_THAT(verdict(Collective::reduce, plans), HasSubstr("reduces into a slot that others read"));
}

TEST(Checker, AFoldMayReadASharedSlotButNotPassItOn) {
  auto plans = ranks(4, 2);
  for (const int owner : {1, 2}) plans[0].send(owner, 0);
  plans[1].fold(std::array{0}, 0, 1, false);
  plans[2].fold(std::array{0}, 0, 1, false);
  EXPECT_THAT(verdict(Collective::reduce, plans), HasSubstr("rank 0, block 0"));  // wrong, but not for its slots
  plans[2].send(3, 0);
  plans[3].recv(2, 0);
  EXPECT_THAT(verdict(Collective::reduce, plans), HasSubstr("rank 2, step 0 (fold block 0 from rank 0): reduces into a slot"));
}

TEST(Checker, FindsRanksThatWaitForEachOther) {
  auto plans = ranks(2, 2);
  for (int rank = 0; rank < 2; ++rank) {
    plans[static_cast<size_t>(rank)].recv(1 - rank, static_cast<uint32_t>(1 - rank));
    plans[static_cast<size_t>(rank)].send(1 - rank, static_cast<uint32_t>(rank));
  }
  EXPECT_EQ(verdict(Collective::all_gather, plans), "rank 0, step 0 (recv block 1 from rank 1): waits for ever");
}

// A chain to rank 2, whose result goes back: everybody encodes once, and rank 2 its result once for both.
TEST(Checker, AChainMayCarryACodec) {
  auto plans = ranks(3);
  plans[1].send(0, 0);
  plans[0].recv_reduce(1, 0);
  plans[0].send(2, 0);
  plans[2].recv_reduce(0, 0, 1, true);
  for (const int peer : {0, 1}) {
    plans[2].send(peer, 0);
    plans[static_cast<size_t>(peer)].recv(2, 0);
  }
  const Result<Proof> proof = prove(Collective::all_reduce, 0, plans);
  ASSERT_TRUE(proof.ok()) << proof.status().message();
  EXPECT_TRUE(proof->may_carry_codec);
}

TEST(Checker, CodecsNeedOneConsumerPerPartialSum) {
  auto plans = ranks(2);
  for (int rank = 0; rank < 2; ++rank) {
    plans[static_cast<size_t>(rank)].send(1 - rank, 0);
    plans[static_cast<size_t>(rank)].recv_reduce(1 - rank, 0, 1, true);  // the peer and itself
  }
  EXPECT_FALSE(prove(Collective::all_reduce, 0, plans)->may_carry_codec);
}

TEST(Checker, CodecsNeedOneEncodingPerBlock) {
  auto plans = ranks(4);
  plans[1].send(0, 0);  // rank 1 encodes its own contribution,
  plans[1].recv(2, 0);
  plans[1].recv_reduce(3, 0);  // and then a sum of others
  plans[1].send(0, 0);
  plans[2].send(1, 0);
  plans[3].send(1, 0);
  plans[0].recv_reduce(1, 0);
  plans[0].recv_reduce(1, 0, 1, true);
  const Result<Proof> proof = prove(Collective::reduce, 0, plans);
  ASSERT_TRUE(proof.ok()) << proof.status().message();
  EXPECT_FALSE(proof->may_carry_codec);
}

TEST(Expressions, AreEqualExactlyIfMadeAlike) {
  Expressions e(4);
  const uint32_t left = e.reduce(e.reduce(0, 1), 2), right = e.reduce(0, e.reduce(1, 2));
  EXPECT_EQ(left, e.reduce(e.reduce(0, 1), 2));
  EXPECT_NE(left, right);
  EXPECT_NE(e.reduce(0, 1), e.reduce(1, 0));
  const std::array<uint32_t, 3> three{0, 1, 2};
  const std::array<uint32_t, 2> nested{e.fold(std::array<uint32_t, 2>{0, 1}), 2};
  EXPECT_EQ(e.fold(three), e.fold(three));
  EXPECT_NE(e.fold(three), left);
  EXPECT_NE(e.fold(three), e.fold(nested));
}

TEST(Expressions, CountInputs) {
  Expressions e(3);
  EXPECT_TRUE(e.holds_each_rank_once(e.reduce(2, e.reduce(0, 1))));
  EXPECT_TRUE(e.holds_each_rank_once(e.fold(std::array<uint32_t, 3>{2, 0, 1})));
  EXPECT_FALSE(e.holds_each_rank_once(e.reduce(0, 1)));
  EXPECT_FALSE(e.holds_each_rank_once(e.reduce(0, e.reduce(0, 1))));
  uint32_t value = 0;
  for (int i = 0; i < 100; ++i) value = e.reduce(value, value);
  EXPECT_FALSE(e.holds_each_rank_once(value));
  EXPECT_EQ(e.inputs(value), uint64_t{1} << 62);
}

// Both receivers add to what rank 0 sends them; in the order of `from` rank 2 takes its two messages.
std::vector<Plan> scan_of_three(bool apart, std::array<int, 2> from) {
  auto plans = ranks(3);
  plans[0].send(1, 0, 1, apart);
  plans[0].send(2, 0, 1, apart);
  plans[1].send(2, 0);
  plans[1].recv_reduce(0, 0, 1, true);
  plans[2].recv_reduce(from[0], 0);
  plans[2].recv_reduce(from[1], 0, 1, true);
  return plans;
}

TEST(Checker, AsksForSlotsApartWhereReceiversReduce) {
  EXPECT_EQ(verdict(Collective::scan, scan_of_three(true, {1, 0})), "");
  EXPECT_THAT(verdict(Collective::scan, scan_of_three(false, {1, 0})), HasSubstr("reduces into a slot that others read"));
}

TEST(Checker, AsksForTheOrderOfRanksInScans) {
  EXPECT_EQ(verdict(Collective::scan, scan_of_three(true, {0, 1})),
            "rank 2, block 0: does not hold the contributions up to here in order");
}

}  // namespace
}  // namespace tutti
