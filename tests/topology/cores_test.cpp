#include "cores.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <thread>
#include <vector>

namespace tutti {
namespace {

using Sets = std::vector<std::string>;

TEST(Cores, AreCountedAndCompared) {
  EXPECT_EQ(count_cores(""), 0u);
  EXPECT_EQ(count_cores("3"), 2u);
  EXPECT_EQ(count_cores("0f1"), 5u);
  EXPECT_EQ(count_cores("?z"), 0u);
  EXPECT_TRUE(share_a_core("3", "2"));
  EXPECT_FALSE(share_a_core("3", "c"));
  EXPECT_FALSE(share_a_core("3", "03"));
  EXPECT_FALSE(share_a_core("", "f"));
}

TEST(Cores, AreDividedAmongThoseWhoShareThem) {
  const auto cores = [](const std::string& mine, const Sets& all, double quota = 0) { return core_share(mine, all, quota).cores; };
  EXPECT_EQ(cores("ff", Sets{"ff"}), 8u);
  EXPECT_EQ(cores("ff", Sets{"ff", "ff", "ff"}), 2u);
  EXPECT_EQ(cores("f", Sets{"f", "0f"}), 4u);           // bound apart
  EXPECT_EQ(cores("1", Sets{"1", "2", "4"}), 1u);       // one core each
  EXPECT_EQ(cores("3", Sets{"3", "3", "3", "3"}), 1u);  // fewer than ranks
  EXPECT_EQ(cores("ff", Sets{"ff", "ff"}, 2.5), 1u);    // a quota
  EXPECT_EQ(cores("ff", Sets{"ff"}, 0.5), 1u);
  EXPECT_EQ(cores("", Sets{"", ""}), 1u);  // unknown
}

TEST(Cores, AreCrowdedWhereRanksAreMore) {
  EXPECT_FALSE(core_share("3", Sets{"3", "3"}, 0).crowded);
  EXPECT_TRUE(core_share("3", Sets{"3", "3", "3"}, 0).crowded);
  EXPECT_TRUE(core_share("1", Sets{"1", "1", "2"}, 0).crowded);
  EXPECT_FALSE(core_share("2", Sets{"1", "1", "2"}, 0).crowded);
  EXPECT_TRUE(core_share("ff", Sets{"ff", "ff", "ff"}, 2).crowded);
}

TEST(Cores, AllowedOnesFollowTheAffinityOfTheThread) {
  const std::string all = allowed_cores();
  ASSERT_GE(count_cores(all), 1u);
  std::thread([&] {
    cpu_set_t before, one;
    ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
    int core = 0;
    while (!CPU_ISSET(core, &before)) ++core;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    EXPECT_EQ(count_cores(allowed_cores()), 1u);
    EXPECT_TRUE(share_a_core(allowed_cores(), all));
  }).join();
  EXPECT_EQ(allowed_cores(), all);
}

}  // namespace
}  // namespace tutti
