// Every plan is proved for teams of several hosts too, whatever their ranks and their order are.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "all_plans.h"
#include "checker.h"
#include "sample_teams.h"
#include "schedule.h"

namespace tutti {
namespace {

class EveryPlanForTeams : public testing::TestWithParam<Algorithm> {};

TEST_P(EveryPlanForTeams, IsProvedForTeamsOfSeveralHosts) {
  const Algorithm& algorithm = GetParam();
  const CostModel& model = algorithm.cost;
  for (const auto& ranks : host_mixes()) {
    for (const bool shuffled : {false, true}) {
      SCOPED_TRACE(label(ranks) + (shuffled ? " shuffled" : ""));
      const Team team = team_of(ranks, shuffled);
      std::vector<int> roots = roots_of(algorithm, team.size);
      if (roots.size() > 5) roots = {0, 1, team.size / 2, team.size - 1};
      for (const int root : roots) {
        const auto plans = plans_of(algorithm, team, root);
        const Result<Proof> proof = prove(algorithm.collective, root, plans);
        ASSERT_TRUE(proof.ok()) << "root " << root << ": " << proof.status().message();
        ASSERT_EQ(proof->may_carry_codec, algorithm.may_carry_codec);
        ASSERT_EQ(proof->makes_partial_sums, makes_partial_sums(algorithm.collective, algorithm.name, team));
        // The formulas are of equal hosts.
        if (std::ranges::adjacent_find(ranks, std::not_equal_to<>()) != ranks.end()) continue;
        const auto p = static_cast<uint64_t>(team.size), h = static_cast<uint64_t>(team.hosts());
        ASSERT_EQ(proof->cost.rounds, model.rounds.value(p, h)) << "root " << root;
        ASSERT_EQ(proof->cost.messages, model.messages.value(p, h)) << "root " << root;
        ASSERT_EQ(proof->cost.blocks, model.data.value(p, h)) << "root " << root;
        ASSERT_EQ(proof->cost.reduced, model.reduced.value(p, h)) << "root " << root;
      }
    }
  }
}

TEST_P(EveryPlanForTeams, EndsForTeamsOfSeveralHosts) {
  for (const auto& ranks : host_mixes()) {
    const Team team = team_of(ranks, true);
    if (team.size > 33) continue;
    const auto plans = plans_of(GetParam(), team, 0), others = plans_of(GetParam(), team, team.size - 1);
    const auto first = compile_all(GetParam().collective, 0, plans);
    const auto second = compile_all(GetParam().collective, team.size - 1, others);
    // A message of each lane: hierarchical sends several to a rank of which it awaits none meanwhile.
    for (const uint32_t lanes : {1u, 3u, 8u}) {
      for (const bool lends : {false, true}) {
        const Status status =
            prove_schedule(*first, *second, {.lanes = lanes, .stripes = 2 * lanes, .link_capacity = lanes, .lends = lends});
        ASSERT_TRUE(status.ok()) << label(ranks) << ", links of " << lanes << ": " << status.message();
      }
    }
  }
}

// The use of the order: of the messages that ring and tree send, only as many leave a host as must.
TEST(Order, KeepsRingsWithinHosts) {
  const Team team = team_of({3, 1, 4});
  Team interleaved = team_of({3, 1, 4}, true);
  interleaved.order.clear();
  for (const auto& members : interleaved.ranks_by_host())
    interleaved.order.insert(interleaved.order.end(), members.begin(), members.end());
  for (const Team& each : {team, interleaved}) {
    std::vector<bool> leaves(3);
    for (int rank = 0; rank < each.size; ++rank) {
      const Plan plan = algorithm_of(Collective::all_reduce, "ring").plan(rank, each, 0);
      const int from = each.host_of(rank), to = each.host_of(static_cast<int>(plan.steps()[0].peer));
      if (from == to) continue;
      EXPECT_FALSE(leaves[static_cast<size_t>(from)]) << "a second rank of host " << from << " sends to another host";
      leaves[static_cast<size_t>(from)] = true;
    }
    EXPECT_EQ(leaves, std::vector<bool>(3, true));
  }
}

TEST(Team, OfAnIntIsOneHostInOrder) {
  const Team team = 5;
  EXPECT_EQ(team.hosts(), 1);
  EXPECT_EQ(team.host_of(4), 0);
  EXPECT_EQ(team.at(-1), 4);
  EXPECT_EQ(team.at(6), 1);
  EXPECT_EQ(team.place_of(3), 3);
  EXPECT_EQ(team.ranks_by_host(), (std::vector<std::vector<int>>{{0, 1, 2, 3, 4}}));
}

TEST(Team, KnowsItsHostsAndItsOrder) {
  Team team = 4;
  team.host = {0, 1, 0, 1};
  team.order = {2, 0, 3, 1};
  EXPECT_EQ(team.hosts(), 2);
  EXPECT_EQ(team.at(0), 2);
  EXPECT_EQ(team.at(-1), 1);
  EXPECT_EQ(team.place_of(3), 2);
  EXPECT_EQ(team.ranks_by_host(), (std::vector<std::vector<int>>{{0, 2}, {1, 3}}));
}

INSTANTIATE_TEST_SUITE_P(Algorithms, EveryPlanForTeams, testing::ValuesIn(algorithms().begin(), algorithms().end()),
                         [](const auto& test) { return label(test.param); });

}  // namespace
}  // namespace tutti
