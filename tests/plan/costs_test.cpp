// The formulas at well-known points, so that a plan and its formula cannot drift together.
#include <gtest/gtest.h>

#include "all_plans.h"
#include "checker.h"

namespace tutti {
namespace {

struct Point {
  Collective collective;
  std::string_view name;
  int size;
  Cost cost;  // rounds, messages, blocks, reduced blocks
};

class KnownCost : public testing::TestWithParam<Point> {};

TEST_P(KnownCost, IsMet) {
  const Point& point = GetParam();
  const auto plans = plans_of(algorithm_of(point.collective, point.name), point.size, 0);
  const Result<Proof> proof = prove(point.collective, 0, plans);
  ASSERT_TRUE(proof.ok()) << proof.status().message();
  EXPECT_EQ(proof->cost.rounds, point.cost.rounds);
  EXPECT_EQ(proof->cost.messages, point.cost.messages);
  EXPECT_EQ(proof->cost.blocks, point.cost.blocks);
  EXPECT_EQ(proof->cost.reduced, point.cost.reduced);
}

using enum Collective;
INSTANTIATE_TEST_SUITE_P(Points, KnownCost,
                         testing::Values(Point{all_reduce, "ring", 4, {6, 6, 6, 3}},           //
                                         Point{all_reduce, "ring", 100, {198, 198, 198, 99}},  //
                                         Point{all_reduce, "tree", 2, {2, 2, 2, 1}},           //
                                         Point{all_reduce, "tree", 64, {12, 4, 4, 2}},         //
                                         Point{all_reduce, "tree", 100, {12, 4, 4, 2}},        //
                                         Point{all_reduce, "recursive", 8, {6, 6, 14, 7}},     //
                                         Point{all_reduce, "recursive", 9, {8, 8, 16, 8}},     //
                                         Point{all_reduce, "doubling", 8, {3, 3, 3, 3}},       //
                                         Point{all_reduce, "doubling", 9, {4, 4, 4, 4}},       //
                                         Point{all_reduce, "doubling", 13, {5, 4, 4, 4}},      //
                                         Point{all_reduce, "direct", 8, {2, 14, 14, 7}},       //
                                         Point{reduce_scatter, "recursive", 7, {3, 3, 6, 6}},  //
                                         Point{all_gather, "recursive", 7, {3, 3, 6, 0}},      //
                                         Point{broadcast, "ring", 9, {8, 1, 1, 0}},            //
                                         Point{broadcast, "tree", 9, {4, 2, 2, 0}},            //
                                         Point{broadcast, "recursive", 8, {5, 6, 14, 0}},      //
                                         Point{broadcast, "recursive", 12, {7, 8, 22, 0}},     //
                                         Point{reduce, "tree", 9, {4, 2, 2, 2}},               //
                                         Point{reduce, "direct", 9, {1, 8, 8, 8}},             //
                                         Point{gather, "tree", 16, {4, 4, 15, 0}},             //
                                         Point{scatter, "direct", 16, {1, 15, 15, 0}},         //
                                         Point{all_to_all, "direct", 16, {1, 15, 15, 0}},      //
                                         Point{scan, "ring", 9, {8, 1, 1, 1}},                 //
                                         Point{scan, "doubling", 8, {3, 3, 3, 3}},             //
                                         Point{scan, "direct", 9, {1, 8, 8, 8}},               //
                                         Point{exscan, "ring", 9, {8, 2, 2, 1}},               //
                                         Point{exscan, "doubling", 9, {4, 4, 4, 3}},           //
                                         Point{exscan, "direct", 9, {1, 8, 8, 7}},             //
                                         Point{barrier, "doubling", 64, {6, 6, 6, 6}}),
                         [](const auto& test) {
                           return std::string(name(test.param.collective)) + "_" + std::string(test.param.name) + "_" +
                                  std::to_string(test.param.size);
                         });

// The load of the two trees: nobody sends or receives more than twice its data, and no rank is an inner node of both.
TEST(TwoTrees, ShareTheWork) {
  for (int size = 2; size <= 130; ++size) {
    uint64_t total = 0;
    for (const Plan& plan : plans_of(algorithm_of(all_reduce, "tree"), size, 0)) {
      std::vector<bool> inner(2);
      for (const Step& step : plan.steps()) {
        total += step.verb == Verb::send;
        if (step.verb == Verb::recv_reduce) inner[step.block] = true;
      }
      EXPECT_FALSE(inner[0] && inner[1]) << size << " ranks";
    }
    EXPECT_EQ(total, 4 * (static_cast<uint64_t>(size) - 1)) << "two trees, up and down";
  }
}

}  // namespace
}  // namespace tutti
