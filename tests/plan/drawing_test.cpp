#include "drawing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "all_plans.h"
#include "cost_table.h"
#include "portrait.h"
#include "selection.h"

namespace tutti {
namespace {

using testing::HasSubstr;

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

Timeline timeline(Collective collective, std::string_view name, int size) {
  return *timeline_of(collective, 0, plans_of(algorithm_of(collective, name), size, 0));
}

TEST(Timeline, OfARing) {
  const Timeline ring = timeline(Collective::all_reduce, "ring", 4);
  EXPECT_EQ(ring.rounds, 6u);
  EXPECT_EQ(ring.messages.size(), 24u);
  for (const TimedMessage& message : ring.messages) {
    EXPECT_EQ(message.to, (message.from + 1) % 4);
    EXPECT_EQ(message.taken, message.departs + 1);
    EXPECT_EQ(message.reduced, message.departs < 3);
  }
  EXPECT_EQ(ring.contributions(0, 2, 2), 1u);
  EXPECT_EQ(ring.contributions(2, 2, 3), 3u) << "block 3 has come from ranks 0 and 1";
  EXPECT_EQ(ring.contributions(3, 2, 2), 4u);
  for (uint32_t rank = 0; rank < 4; ++rank) {
    for (uint32_t block = 0; block < 4; ++block) EXPECT_EQ(ring.contributions(6, rank, block), 4u);
  }
}

TEST(Timeline, OfABroadcastBeginsAtTheRoot) {
  const Timeline tree = timeline(Collective::broadcast, "tree", 7);
  for (uint32_t rank = 0; rank < 7; ++rank) {
    EXPECT_EQ(tree.contributions(0, rank, 0), rank == 0 ? 1u : 0u);
    EXPECT_EQ(tree.contributions(tree.rounds, rank, 0), 1u);
  }
}

TEST(Timeline, NeedsPlansThatEnd) {
  std::vector<Plan> plans(2, Plan(1));
  plans[0].recv(1, 0);
  plans[1].send(0, 0);
  EXPECT_TRUE(timeline_of(Collective::broadcast, 1, plans).ok());
  plans[0] = Plan(1);
  EXPECT_FALSE(timeline_of(Collective::broadcast, 1, plans).ok());
}

// Each message has a ribbon: a shadow and one line for each block.
TEST(Drawing, HasEveryMessageOfEveryAlgorithm) {
  for (const Algorithm& algorithm : algorithms()) {
    for (const int size : {2, 3, 8}) {
      const Result<std::string> svg = portrait(algorithm, size, 0);
      ASSERT_TRUE(svg.ok()) << label(algorithm) << ": " << svg.status().message();
      EXPECT_TRUE(svg->starts_with("<svg ") && svg->ends_with("</svg>\n")) << label(algorithm);
      size_t lines = 0;
      for (const TimedMessage& message : timeline(algorithm.collective, algorithm.name, size).messages) lines += 1 + message.count;
      EXPECT_EQ(count(*svg, " C"), lines) << label(algorithm) << ", " << size << " ranks";
      EXPECT_EQ(count(*svg, ">rank "), static_cast<size_t>(size)) << label(algorithm);
      EXPECT_EQ(count(*svg, ">root<"), has_root(algorithm.collective) ? 1u : 0u) << label(algorithm);
      EXPECT_EQ(count(*svg, "nan") + count(*svg, "inf"), 0u) << label(algorithm);
    }
  }
}

TEST(Drawing, ShowsTwoToTwentyFourRanks) {
  const Algorithm& ring = algorithm_of(Collective::all_reduce, "ring");
  EXPECT_TRUE(portrait(ring, 24, 0).ok());
  EXPECT_THAT(portrait(ring, 25, 0).status().message(), HasSubstr("2 to 24 ranks"));
  EXPECT_THAT(portrait(ring, 1, 0).status().message(), HasSubstr("2 to 24 ranks"));
  EXPECT_THAT(*portrait(ring, 4, 0), HasSubstr("6 rounds; 6 messages and 1.5n bytes in or out of the busiest rank"));
}

TEST(Selection, FindsNamesAndSuggestsTheNearest) {
  EXPECT_EQ(select_algorithms("", "")->size(), algorithms().size());
  EXPECT_EQ(select_algorithms("barrier", "")->size(), 2u);
  EXPECT_EQ(select_algorithms("", "direct")->size(), 10u);
  EXPECT_EQ(select_algorithms("all_reduce", "tree")->front().plan, algorithm_of(Collective::all_reduce, "tree").plan);
  EXPECT_EQ(select_algorithms("all_reduce", "rign").status().message(),
            "all_reduce has no algorithm \"rign\"; did you mean \"ring\"?");
  EXPECT_EQ(select_algorithms("allreduce", "").status().message(),
            "there is no collective \"allreduce\"; did you mean \"all_reduce\"?");
  EXPECT_EQ(select_algorithms("all_to_all", "ring").status().message(), "all_to_all has no algorithm \"ring\"; there is direct");
}

TEST(Selection, ReadsRanges) {
  EXPECT_EQ(parse_ranks("8")->first, 8);
  EXPECT_EQ(parse_ranks("8")->last, 8);
  EXPECT_EQ(parse_ranks("1-130")->first, 1);
  EXPECT_EQ(parse_ranks("1-130")->last, 130);
  for (const char* wrong : {"", "0", "-", "3-", "-3", "5-4", "1-2-3", "four", "4097", "99999999999999999999"}) {
    EXPECT_FALSE(parse_ranks(wrong).ok()) << wrong;
  }
}

TEST(Costs, InUnitsOfTheData) {
  EXPECT_EQ(in_n(6, algorithm_of(Collective::all_reduce, "ring"), 4), "1.5n");
  EXPECT_EQ(in_n(2, algorithm_of(Collective::broadcast, "tree"), 4), "n");
  EXPECT_EQ(in_n(3, algorithm_of(Collective::all_to_all, "direct"), 4), "0.75n");
  EXPECT_EQ(in_n(2, algorithm_of(Collective::barrier, "doubling"), 4), "0");
}

}  // namespace
}  // namespace tutti
