#include "recent_memory.h"

#include <gtest/gtest.h>

#include <vector>

namespace tutti {
namespace {

std::vector<char> memory(1 << 20);
char* at(size_t offset) { return memory.data() + offset; }

TEST(RecentMemory, NothingAtFirst) {
  const RecentMemory recent;
  EXPECT_FALSE(recent.holds(at(0), 1, UINT64_MAX));
}

// Memory that was touched counts, too: of a call again and again with one output of 100 bytes and one input the lines
// come back after 200.
TEST(RecentMemory, ForgetsWhatIsBeyondTheWindow) {
  RecentMemory recent;
  recent.touch(at(0), 100);
  EXPECT_TRUE(recent.holds(at(0), 100, 100));
  EXPECT_FALSE(recent.holds(at(0), 100, 99));
  recent.touch(at(500), 100);
  EXPECT_TRUE(recent.holds(at(0), 100, 200));
  EXPECT_FALSE(recent.holds(at(0), 100, 199));
  EXPECT_TRUE(recent.holds(at(500), 100, 100));
  recent.touch(at(0), 100);
  EXPECT_TRUE(recent.holds(at(0), 100, 100));
}

TEST(RecentMemory, HoldsPartsButNothingBeside) {
  RecentMemory recent;
  recent.touch(at(100), 100);
  EXPECT_TRUE(recent.holds(at(100), 1, 1000));
  EXPECT_TRUE(recent.holds(at(150), 50, 1000));
  EXPECT_FALSE(recent.holds(at(150), 51, 1000));
  EXPECT_FALSE(recent.holds(at(99), 10, 1000));
  EXPECT_FALSE(recent.holds(at(0), 1000, 1000));
}

// As many calls as it remembers, and no more.
TEST(RecentMemory, RemembersTheLast) {
  RecentMemory recent;
  for (size_t i = 0; i < 100; ++i) recent.touch(at(i * 10), 10);
  for (size_t i = 0; i < 100; ++i) EXPECT_EQ(recent.holds(at(i * 10), 10, UINT64_MAX), i >= 36) << i;
}

}  // namespace
}  // namespace tutti
