#include "algorithm_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tutti {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<AlgorithmRule> rules(std::string_view text) {
  const auto result = parse_algorithm_rules(text);
  EXPECT_TRUE(result.ok()) << result.status().message();
  return result.ok() ? *result : std::vector<AlgorithmRule>{};
}

std::string error(std::string_view text) {
  const auto result = parse_algorithm_rules(text);
  EXPECT_FALSE(result.ok()) << text;
  return result.status().message();
}

TEST(AlgorithmRules, Grammar) {
  EXPECT_THAT(rules(""), ElementsAre());
  EXPECT_THAT(rules("ring"), ElementsAre(AlgorithmRule{.name = "ring"}));
  EXPECT_THAT(rules("^tree"), ElementsAre(AlgorithmRule{.exclude = true, .name = "tree"}));
  EXPECT_THAT(rules("recursive@0-64K,ring@64K-"), ElementsAre(AlgorithmRule{.name = "recursive", .from = 0, .to = 65536},
                                                              AlgorithmRule{.name = "ring", .from = 65536}));
  EXPECT_THAT(rules("all_reduce:direct"), ElementsAre(AlgorithmRule{.collective = Collective::all_reduce, .name = "direct"}));
  EXPECT_THAT(rules(" broadcast : ^ tree @ 1K - 2M "),
              ElementsAre(AlgorithmRule{
                  .collective = Collective::broadcast, .exclude = true, .name = "tree", .from = 1024, .to = 2u << 20}));
}

TEST(AlgorithmRules, FlatServesTwoCollectivesOnly) {
  EXPECT_THAT(rules("^flat"), ElementsAre(AlgorithmRule{.exclude = true, .name = "flat"}));
  EXPECT_EQ(rules("all_reduce:flat,barrier:flat").size(), 2u);
  EXPECT_THAT(error("flat"), HasSubstr("all_reduce and barrier only"));
  EXPECT_THAT(error("broadcast:flat"), HasSubstr("all_reduce and barrier only"));
}

TEST(AlgorithmRules, RefusedWithReason) {
  EXPECT_THAT(error("rign"), AllOf(HasSubstr("in rule \"rign\""), HasSubstr("did you mean \"ring\"?")));
  EXPECT_THAT(error("ring,,tree"), HasSubstr("the algorithm is missing"));
  EXPECT_THAT(error("ring,"), HasSubstr("the algorithm is missing"));
  EXPECT_THAT(error("^"), HasSubstr("the algorithm is missing"));
  EXPECT_THAT(error("all_redcue:ring"), HasSubstr("\"all_redcue\" is no collective; did you mean \"all_reduce\"?"));
  EXPECT_THAT(error("point_to_point:ring"), HasSubstr("is no collective"));
  EXPECT_THAT(error("ring@"), HasSubstr("has no \"-\""));
  EXPECT_THAT(error("ring@64K"), HasSubstr("has no \"-\""));
  EXPECT_THAT(error("ring@-64K"), HasSubstr("\"\" is no size"));
  EXPECT_THAT(error("ring@1Q-"), HasSubstr("\"1Q\" is no size"));
  EXPECT_THAT(error("ring@64K-64K"), HasSubstr("is empty"));
  EXPECT_THAT(error("ring@2M-1M"), HasSubstr("is empty"));
}

TEST(AlgorithmRules, Matches) {
  const AlgorithmRule rule = rules("all_reduce:ring@1K-2K").at(0);
  EXPECT_FALSE(rule.matches(Collective::all_reduce, 1023));
  EXPECT_TRUE(rule.matches(Collective::all_reduce, 1024));
  EXPECT_TRUE(rule.matches(Collective::all_reduce, 2047));
  EXPECT_FALSE(rule.matches(Collective::all_reduce, 2048));
  EXPECT_FALSE(rule.matches(Collective::broadcast, 1024));
  EXPECT_TRUE(rules("ring").at(0).matches(Collective::broadcast, 0));
}

TEST(AlgorithmRules, FormatIsReadBack) {
  for (const std::string text : {"", "ring", "^tree", "recursive@0-64K,ring@64K-", "all_reduce:^direct@3-17"}) {
    EXPECT_EQ(format_algorithm_rules(rules(text)), text);
    EXPECT_EQ(rules(format_algorithm_rules(rules(text))), rules(text));
  }
}

}  // namespace
}  // namespace tutti
