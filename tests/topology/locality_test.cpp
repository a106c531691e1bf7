// Where ranks run: what an invented machine's files say, what ranks tell each other of it, and the team that follows.
#include "locality.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "cores.h"

namespace tutti {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;

// Two NUMA nodes of two L3 caches of two cores of two hardware threads: core c has the threads c and c + 8.
class Machine : public testing::Test {
 protected:
  Machine() {
    std::string pattern = (fs::temp_directory_path() / "tutti-locality-XXXXXX").string();
    root_ = mkdtemp(pattern.data());
    for (int thread = 0; thread < 16; ++thread) {
      const int core = thread % 8, l3 = core / 2 * 2, numa = core / 4;
      const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(thread);
      const auto pair = [](int first) {
        return std::to_string(first) + "-" + std::to_string(first + 1) + "," + std::to_string(first + 8) + "-" +
               std::to_string(first + 9);
      };
      write(folder + "/cache/index3/shared_cpu_list", pair(l3));
      write(folder + "/topology/thread_siblings_list", std::to_string(core) + "," + std::to_string(core + 8));
      write(folder + "/node" + std::to_string(numa) + "/cpulist", "");
    }
    write("/sys/devices/system/node/node0/cpulist", "0-3,8-11");
    write("/sys/devices/system/node/node1/cpulist", "4-7,12-15");
  }
  ~Machine() override { fs::remove_all(root_); }
  void write(const std::string& path, const std::string& content) const {
    fs::create_directories(fs::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << content << "\n";
  }
  std::string root_;
};

TEST_F(Machine, OneThreadIsInOneOfEach) { EXPECT_EQ(locality_of("0004", root_), (Locality{1, 6, 6, 14})); }
TEST_F(Machine, ACoreHasTwoThreads) { EXPECT_EQ(locality_of("202", root_), (Locality{0, 0, 1, -1})); }
TEST_F(Machine, ACacheHasTwoCores) { EXPECT_EQ(locality_of("0303", root_), (Locality{1, 4, -1, -1})); }
TEST_F(Machine, CoresOfOneCache) { EXPECT_EQ(locality_of("c0c", root_), (Locality{0, 2, -1, -1})); }
TEST_F(Machine, CoresOfOneNode) { EXPECT_EQ(locality_of("6", root_), (Locality{0, -1, -1, -1})); }
TEST_F(Machine, AllThreadsAreNowhere) { EXPECT_EQ(locality_of("ffff", root_), Locality{}); }
TEST_F(Machine, NoThreadsAreNowhere) { EXPECT_EQ(locality_of("", root_), Locality{}); }

TEST_F(Machine, FilesThatSayNothingAreNoPlace) {
  EXPECT_EQ(locality_of("1", root_ + "/nowhere"), (Locality{-1, -1, -1, 0}));
  for (const char* nonsense : {"", "0-", "-", "5-1", "0-99999999999999999999", "0-3-5", "x"}) {
    write("/sys/devices/system/cpu/cpu0/cache/index3/shared_cpu_list", nonsense);
    EXPECT_EQ(locality_of("1", root_).l3, -1) << nonsense;
  }
}

TEST(Locality, OfThisThreadIsReadFromTheSystem) {
  const Locality here = locality_of(allowed_cores());
  EXPECT_EQ(decode_locality(encode(here)), here);
}

TEST(Locality, TravelsAsText) {
  EXPECT_EQ(encode({0, 8, 9, -1}), "0 8 9 -");
  EXPECT_EQ(decode_locality("0 8 9 -"), (Locality{0, 8, 9, -1}));
  for (const char* nonsense : {"", "0", "0 1 2", "0 1 2 3 4", "0 1 2 x", "0 1 2 -1", "0 1 2 1048577", "0  1 2"})
    EXPECT_EQ(decode_locality(nonsense), Locality{}) << nonsense;
}

TEST(LocalTeam, GoesFromHostToHostAndFromCacheToCache) {
  const std::vector<RankPlace> places{{"a", {0, 0, 1, 1}}, {"b", {}}, {"a", {1, 4, 4, 4}},
                                      {"a", {0, 0, 0, 0}}, {"b", {}}, {"a", {}}};
  const Team team = team_of(places);
  EXPECT_EQ(team.size, 6);
  EXPECT_THAT(team.host, ElementsAre(0, 1, 0, 0, 1, 0));
  EXPECT_THAT(team.order, ElementsAre(5, 3, 0, 2, 1, 4));
  const std::vector<std::string_view> names{"ada", "bob", "ada", "ada", "bob", "ada"};
  EXPECT_EQ(describe(team, names, places),
            "2 hosts: ada (ranks 0, 2, 3, 5), bob (ranks 1, 4); order 5, 3, 0, 2, 1, 4; ranks 0, 3 share an L3 cache; "
            "ranks 0, 3 share a NUMA node");
}

TEST(LocalTeam, OfOneHostInOrderIsToldBriefly) {
  const std::vector<RankPlace> places(5, RankPlace{"a", {}});
  const std::vector<std::string_view> names(5, "ada");
  EXPECT_EQ(describe(team_of(places), names, places), "1 host: ada (ranks 0-4)");
}

TEST(Locality, IsTold) {
  EXPECT_EQ(describe(Locality{1, 6, -1, -1}), "NUMA node 1, L3 cache 6");
  EXPECT_EQ(describe(Locality{}), "");
}

}  // namespace
}  // namespace tutti
