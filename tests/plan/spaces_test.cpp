#include "spaces.h"

#include <gtest/gtest.h>

#include <string>

namespace tutti {
namespace {

// The blocks 0, 1, 2 (all_to_all: 0 … 8) of rank 1 of 3 with root 2 or 1, as "x" for yes.
std::string row(bool (*has)(Collective, int, int, int, uint32_t), Collective collective, int root) {
  std::string text;
  const uint32_t blocks = collective == Collective::all_to_all ? 9 : 3;
  for (uint32_t block = 0; block < blocks; ++block) text += has(collective, 1, 3, root, block) ? 'x' : '.';
  return text;
}

struct Case {
  Collective collective;
  int root;
  const char *input, *output;
};

TEST(Spaces, AreWhatThePublicHeaderSays) {
  using enum Collective;
  for (const Case& c :
       {Case{all_reduce, 0, "xxx", "xxx"}, Case{reduce_scatter, 0, "xxx", ".x."}, Case{all_gather, 0, ".x.", "xxx"},
        Case{broadcast, 1, "xxx", "xxx"}, Case{broadcast, 2, "...", "xxx"}, Case{reduce, 1, "xxx", "xxx"},
        Case{reduce, 2, "xxx", "..."}, Case{gather, 1, ".x.", "xxx"}, Case{gather, 2, ".x.", "..."}, Case{scatter, 1, "xxx", ".x."},
        Case{scatter, 2, "...", ".x."}, Case{all_to_all, 0, "...xxx...", ".x..x..x."}, Case{barrier, 0, "xxx", "xxx"},
        Case{scan, 0, "xxx", "xxx"}, Case{exscan, 0, "xxx", "xxx"}}) {
    EXPECT_EQ(row(has_input, c.collective, c.root), c.input) << name(c.collective) << " root " << c.root;
    EXPECT_EQ(row(has_output, c.collective, c.root), c.output) << name(c.collective) << " root " << c.root;
    EXPECT_EQ(row(contributes, c.collective, c.root), c.input) << name(c.collective) << " root " << c.root;
  }
}

TEST(Spaces, ReductionsAndRoots) {
  using enum Collective;
  for (const Collective c : {all_reduce, reduce_scatter, reduce, scan, exscan, barrier}) EXPECT_TRUE(is_reduction(c)) << name(c);
  for (const Collective c : {all_gather, broadcast, gather, scatter, all_to_all, point_to_point})
    EXPECT_FALSE(is_reduction(c)) << name(c);
  for (const Collective c : {broadcast, reduce, gather, scatter}) EXPECT_TRUE(has_root(c)) << name(c);
  for (const Collective c : {all_reduce, reduce_scatter, all_gather, all_to_all, scan, exscan, barrier, point_to_point}) {
    EXPECT_FALSE(has_root(c)) << name(c);
  }
}

TEST(Spaces, OfScans) {
  using enum Collective;
  EXPECT_FALSE(has_output(exscan, 0, 3, 0, 0));
  EXPECT_TRUE(has_output(exscan, 2, 3, 0, 0));
  EXPECT_FALSE(contributes(exscan, 2, 3, 0, 0));
  EXPECT_EQ(inputs_of_result(scan, 2, 5), 3u);
  EXPECT_EQ(inputs_of_result(exscan, 2, 5), 2u);
  EXPECT_EQ(inputs_of_result(all_reduce, 2, 5), 5u);
}

}  // namespace
}  // namespace tutti
