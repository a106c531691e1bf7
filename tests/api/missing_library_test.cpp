// Libraries of transports that cannot be loaded: an error where the transport was asked for by name, and elsewhere
// others are used.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "process_world.h"
#include "transports.h"

namespace tutti::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// `name`: of a file that is no library, which the loader finds first.
class MissingLibrary : public testing::Test {
 protected:
  ~MissingLibrary() override { std::filesystem::remove_all(folder_); }

  std::vector<Ending> stats_of_two(const std::string& name, const std::string& transports) const {
    std::ofstream(folder_ / name) << "no library\n";
    std::filesystem::create_directories(folder_ / "class/infiniband");  // this host has RDMA devices
    ProcessWorld world(2, {program_from("API_TEST_RANK_PROGRAM"), "stats"},
                       {{"LD_LIBRARY_PATH", folder_}, {"SYSFS_PATH", folder_}, {"TUTTI_DEBUG", "info"}}, transports);
    return world.wait();
  }
  void expect_error(const std::string& name, const std::string& transports, const std::string& sentence,
                    const std::string& remedy) const {
    for (const Ending& ending : stats_of_two(name, transports)) {
      EXPECT_EQ(ending.exit_code, 3);  // no communicator
      EXPECT_THAT(ending.output, AllOf(HasSubstr(sentence), HasSubstr(remedy)));
    }
  }
  void expect_other(const std::string& name, const std::string& transports, const std::string& used) const {
    for (const Ending& ending : stats_of_two(name, transports)) {
      EXPECT_EQ(ending.exit_code, 0) << ending.output;
      EXPECT_THAT(ending.output, AllOf(HasSubstr("transports " + used + " 1\n"), Not(HasSubstr("warn"))));
    }
  }
  std::string told_of(const std::string& name, const std::string& transports) const {
    return stats_of_two(name, transports)[0].output;
  }

 private:
  const std::filesystem::path folder_ = new_folder();
};

constexpr char kUcx[] = "libucp.so.0", kVerbs[] = "libibverbs.so.1";

TEST_F(MissingLibrary, OfUcx) {
  if (!TUTTI_TEST_HAS_UCX) GTEST_SKIP() << "this build has no ucx";
  for (const char* named : {"ucx", "shm,ucx"})
    expect_error(kUcx, named, "TUTTI_TRANSPORT asks for ucx, but libucp.so.0 cannot be loaded: ",
                 "; install UCX 1.13 or later (Debian: libucx0), or name another transport");
  expect_other(kUcx, "tcp,ucx", "tcp");  // which needs no UCX
  expect_other(kUcx, "^shm", "tcp");
  expect_other(kUcx, "^tcp", "shm");
  EXPECT_THAT(told_of(kUcx, "^tcp"), HasSubstr("info: ucx is not used: libucp.so.0 cannot be loaded: "));
  EXPECT_THAT(told_of(kUcx, "^shm"), Not(HasSubstr("ucx is not used")));
}

TEST_F(MissingLibrary, OfVerbs) {
  if (!TUTTI_TEST_HAS_RDMA) GTEST_SKIP() << "this build has no rdma";
  for (const char* named : {"rdma", "rdma,tcp"})
    expect_error(kVerbs, named, "TUTTI_TRANSPORT asks for rdma, but libibverbs.so.1 cannot be loaded: ",
                 "; the package is libibverbs1 (Debian) or libibverbs (Fedora)");
  expect_other(kVerbs, "^shm,ucx", "tcp");
  EXPECT_THAT(told_of(kVerbs, "^shm,ucx"), HasSubstr("info: rdma is not used: libibverbs.so.1 cannot be loaded: "));
}

}  // namespace
}  // namespace tutti::test
