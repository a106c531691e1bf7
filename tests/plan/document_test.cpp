// The documents that are made from the plans are up to date: the table in docs/algorithms.md and the picture
// docs/ring.svg.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "all_plans.h"
#include "cost_table.h"
#include "portrait.h"

namespace tutti {
namespace {

std::string contents(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(Documents, HoldTheTableOfCosts) {
  const std::string document = contents(DOCUMENTS "/algorithms.md");
  ASSERT_FALSE(document.empty());
  const Result<std::string> table = cost_table();
  ASSERT_TRUE(table.ok()) << table.status().message();
  const Result<std::string> updated = with_table(document, *table);
  ASSERT_TRUE(updated.ok()) << updated.status().message();
  EXPECT_EQ(*updated, document) << "run: tutti-plan table --into docs/algorithms.md";
}

TEST(Documents, HoldTheDrawnRing) {
  const Result<std::string> ring = portrait(algorithm_of(Collective::all_reduce, "ring"), 4, 0);
  ASSERT_TRUE(ring.ok()) << ring.status().message();
  EXPECT_EQ(*ring, contents(DOCUMENTS "/ring.svg")) << "run: tutti-plan draw --algorithm ring --ranks 4 -o docs/ring.svg";
}

TEST(Documents, ATableNeedsItsPlace) { EXPECT_FALSE(with_table("# Algorithms\n", "| a |\n").ok()); }

}  // namespace
}  // namespace tutti
