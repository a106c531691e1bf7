// Which cores tutti-bench binds its ranks to.
#include "binding.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace tutti::bench {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Four cores of two threads, as Linux numbers them: the second threads come after all first ones.
const std::vector<CoreThreads> kFourCores{{0, 4}, {1, 5}, {2, 6}, {3, 7}};

TEST(Binding, EachRankGetsItsShareOfTheCores) {
  EXPECT_THAT(share_out(1, kFourCores), ElementsAre(ElementsAre(0, 4, 1, 5, 2, 6, 3, 7)));
  EXPECT_THAT(share_out(2, kFourCores), ElementsAre(ElementsAre(0, 4, 1, 5), ElementsAre(2, 6, 3, 7)));
  EXPECT_THAT(share_out(3, kFourCores), ElementsAre(ElementsAre(0, 4), ElementsAre(1, 5), ElementsAre(2, 6, 3, 7)));
  EXPECT_THAT(share_out(4, kFourCores),
              ElementsAre(ElementsAre(0, 4), ElementsAre(1, 5), ElementsAre(2, 6), ElementsAre(3, 7)));
}

TEST(Binding, ThreadsOfDifferentCoresComeFirst) {
  EXPECT_THAT(share_out(5, kFourCores),
              ElementsAre(ElementsAre(0), ElementsAre(1), ElementsAre(2), ElementsAre(3), ElementsAre(4)));
}

TEST(Binding, ThereIsNoneWhereRanksOutnumberThreads) {
  EXPECT_THAT(share_out(9, kFourCores), testing::Each(IsEmpty()));
  EXPECT_THAT(share_out(2, {}), ElementsAre(IsEmpty(), IsEmpty()));
}

TEST(Binding, SiblingsAreWhatTheKernelSays) {
  const std::filesystem::path root = testing::TempDir() + "binding_test_root";
  const auto thread = [&](int number, const std::string& siblings) {
    const auto folder = root / ("sys/devices/system/cpu/cpu" + std::to_string(number)) / "topology";
    std::filesystem::create_directories(folder);
    std::ofstream(folder / "thread_siblings_list") << siblings << "\n";
  };
  thread(0, "0,2");
  thread(1, "1,3");
  thread(2, "0,2");
  thread(3, "1,3");
  const int allowed[] = {0, 2, 3, 9};  // nothing is known of 9
  EXPECT_THAT(by_core(allowed, root.string()), ElementsAre(ElementsAre(0, 2), ElementsAre(3), ElementsAre(9)));
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace tutti::bench
