// Every plan for 1 … 130 ranks is proved, and holds to its cost formulas.
#include <gtest/gtest.h>

#include <set>

#include "algorithm_rules.h"
#include "all_plans.h"
#include "checker.h"
#include "sanitized.h"

namespace tutti {
namespace {

constexpr int kMostRanksProved = 130;

class EveryPlan : public testing::TestWithParam<Algorithm> {};

TEST_P(EveryPlan, IsProvedAndCostsWhatTheCostModelSays) {
  const Algorithm& algorithm = GetParam();
  const CostModel& model = algorithm.cost;
  for (const int size : test::sizes_up_to(kMostRanksProved)) {
    for (const int root : roots_of(algorithm, size)) {
      const auto plans = plans_of(algorithm, size, root);
      const Result<Proof> proof = prove(algorithm.collective, root, plans);
      ASSERT_TRUE(proof.ok()) << size << " ranks, root " << root << ": " << proof.status().message();
      const auto p = static_cast<uint64_t>(size);
      const Cost expected =
          size == 1 ? Cost{}
                    : Cost{model.rounds.value(p, 1), model.messages.value(p, 1), model.data.value(p, 1), model.reduced.value(p, 1)};
      ASSERT_EQ(proof->cost.rounds, expected.rounds) << size << " ranks, root " << root;
      ASSERT_EQ(proof->cost.messages, expected.messages) << size << " ranks, root " << root;
      ASSERT_EQ(proof->cost.blocks, expected.blocks) << size << " ranks, root " << root;
      ASSERT_EQ(proof->cost.reduced, expected.reduced) << size << " ranks, root " << root;
      ASSERT_EQ(proof->may_carry_codec, size == 1 || algorithm.may_carry_codec) << size << " ranks, root " << root;
      ASSERT_EQ(proof->makes_partial_sums, makes_partial_sums(algorithm.collective, algorithm.name, size)) << size << " ranks";
    }
  }
}

TEST_P(EveryPlan, OfOneRankIsEmpty) { EXPECT_TRUE(GetParam().plan(0, 1, 0).steps().empty()); }

// Plans are made per rank: a job of thousands must not pay for all of them.
TEST_P(EveryPlan, OfFourThousandRanksIsMadeInStepsOfOneRank) {
  const Algorithm& algorithm = GetParam();
  const auto p = uint64_t{4096};
  const CostModel& model = algorithm.cost;
  uint64_t most = 0;
  for (const int rank : {0, 1, 2047, 2048, 4094, 4095}) {
    const Plan plan = algorithm.plan(rank, 4096, 2048);
    uint64_t messages = 0;
    for (const Step& step : plan.steps()) messages += plan.peers_of(step).size();
    EXPECT_LE(messages, 2 * model.messages.value(p, 1)) << "rank " << rank;  // sent and received
    most = std::max(most, messages);
  }
  EXPECT_GE(most, model.messages.value(p, 1));
}

INSTANTIATE_TEST_SUITE_P(Algorithms, EveryPlan, testing::ValuesIn(algorithms().begin(), algorithms().end()),
                         [](const auto& test) { return label(test.param); });

TEST(Registry, FindsEveryAlgorithmAtItsPlace) {
  for (size_t i = 0; i < algorithms().size(); ++i) {
    EXPECT_EQ(find_algorithm(algorithms()[i].collective, algorithms()[i].name), i) << label(algorithms()[i]);
    EXPECT_FALSE(algorithms()[i].source.empty());
    EXPECT_FALSE(algorithms()[i].summary.empty());
  }
  EXPECT_FALSE(find_algorithm(Collective::all_reduce, "star").has_value());
  EXPECT_FALSE(find_algorithm(Collective::all_to_all, "ring").has_value());
}

// The settings are read below the registry, so they list the names again.
TEST(Registry, HasTheNamesThatSettingsKnow) {
  std::set<std::string_view> names{"flat"};  // runs no plan
  for (const Algorithm& algorithm : algorithms()) names.insert(algorithm.name);
  EXPECT_EQ(names, std::set<std::string_view>(std::begin(kAlgorithmNames), std::end(kAlgorithmNames)));
}

}  // namespace
}  // namespace tutti
