// Several hosts of several ranks: network namespaces that bench/hosts makes.  Takes root; skips itself elsewhere.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <memory>
#include <sstream>

#include "process_world.h"
#include "sanitized.h"
#include "transports.h"

namespace tutti::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// Three hosts for all tests of this file.
class Hosts : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new_folder();
    holder_ =
        std::make_unique<Process>(std::vector<std::string>{BENCH_HOSTS, "--hosts", "3", "--hold"}, Variables{}, folder_ / "hosts");
    holder_->wait_for_output("\n");
    std::istringstream line(holder_->output());
    for (std::string name; line >> name && name.starts_with("tutti-");) names_.push_back(name);
    if (names_.size() != 3) why_not_ = holder_->output();
  }
  static void TearDownTestSuite() {
    holder_->signal(SIGTERM);
    holder_->wait(20);
    holder_.reset();
    names_.clear();
    std::filesystem::remove_all(folder_);
  }
  void SetUp() override {
    if (names_.size() != 3) GTEST_SKIP() << why_not_;
  }

  // Rank r runs `command` on host `host_of[r]`.
  static std::unique_ptr<ProcessWorld> start(const std::vector<size_t>& host_of, const std::vector<std::string>& command,
                                             Variables variables = {}) {
    std::vector<std::vector<std::string>> commands;
    for (const size_t host : host_of) {
      commands.push_back({"nsenter", "--net=/run/netns/" + names_[host]});
      commands.back().insert(commands.back().end(), command.begin(), command.end());
    }
    variables.emplace("TUTTI_STORE", "10.99.0." + std::to_string(host_of[0] + 1) + ":29500");
    return std::make_unique<ProcessWorld>(commands, variables);
  }

  static void expect_ok(const std::vector<size_t>& host_of, std::vector<std::string> arguments, const Variables& variables = {}) {
    arguments.insert(arguments.begin(), program_from("API_TEST_RANK_PROGRAM"));
    const std::vector<Ending> endings = start(host_of, arguments, variables)->wait(60);
    for (size_t rank = 0; rank < endings.size(); ++rank) {
      EXPECT_EQ(endings[rank].exit_code, 0) << "rank " << rank << ", signal " << endings[rank].signal;
      EXPECT_THAT(endings[rank].output, HasSubstr("rank " + std::to_string(rank) + ": ok"));
    }
  }

  static inline std::unique_ptr<Process> holder_;
  static inline std::filesystem::path folder_;
  static inline std::vector<std::string> names_;
  static inline std::string why_not_;
};

// Every collective with every algorithm it has: values, types, places, sizes, all pairs of them or a part.
std::vector<std::string> cover(const char* seed) {
  return kSanitized ? std::vector<std::string>{"sample", seed, "30"} : std::vector<std::string>{"cover", seed};
}

TEST_F(Hosts, EveryAlgorithmOnTwoHostsOfTwo) { expect_ok({0, 0, 1, 1}, cover("1")); }
TEST_F(Hosts, EveryAlgorithmOnHostsOfThreeOneAndTwo) { expect_ok({0, 0, 0, 1, 2, 2}, cover("2")); }
TEST_F(Hosts, EveryAlgorithmWithRanksDealtInTurn) { expect_ok({0, 1, 2, 0, 1, 0}, cover("3")); }

TEST_F(Hosts, EveryAlgorithmWithSmallSlotsAndManyLanes) {
  expect_ok({0, 0, 0, 1}, cover("4"), {{"TUTTI_SLOT_BYTES", "4K"}, {"TUTTI_LANES", "8"}});
}
TEST_F(Hosts, ProgramsOnCommunicatorsAndTheirSplits) { expect_ok({0, 1, 0, 1, 2}, {"split", "5", "40"}); }

TEST_F(Hosts, WhoSharesAHostIsTold) {
  const std::vector<Ending> endings =
      start({1, 0, 1}, {program_from("API_TEST_RANK_PROGRAM"), "stats"}, {{"TUTTI_DEBUG", "info"}})->wait(30);
  EXPECT_THAT(endings[0].output, AllOf(HasSubstr("2 hosts: "), HasSubstr("(ranks 0, 2), "), HasSubstr("(rank 1); order 0, 2, 1"),
                                       HasSubstr("transports shm 1, tcp 1\n")));
}

// Not by UCX's shared memory, which these hosts, being one machine, could use as well.
TEST_F(Hosts, SharedMemoryWithinHostsAndUcxBetweenThem) {
  if (const std::string why = lacks("ucx"); !why.empty()) GTEST_SKIP() << why;
  const Variables variables = {{"TUTTI_TRANSPORT", "shm,ucx"}, {"UCX_TLS", "tcp,self"}, {"UCX_NET_DEVICES", "eth0"}};
  const std::vector<Ending> endings = start({0, 1, 0}, {program_from("API_TEST_RANK_PROGRAM"), "stats"}, variables)->wait(30);
  EXPECT_THAT(endings[0].output, HasSubstr("transports shm 1, ucx 1\n"));
  EXPECT_THAT(endings[1].output, HasSubstr("transports ucx 2\n"));
  expect_ok({0, 0, 1, 1}, {"sample", "6", "60"}, variables);
  expect_ok({0, 1, 0, 2}, {"split", "7", "40"}, variables);
}

// A rank that dies is named by the ranks of its host and of others.
TEST_F(Hosts, AKilledRankIsNamedByAll) {
  for (const char* count : {"10", "200000"}) {
    const auto world =
        start({0, 0, 1, 1, 2}, {program_from("API_TEST_FAILURE_PROGRAM"), "loop", count}, {{"TUTTI_TIMEOUT", "20s"}});
    ASSERT_TRUE(world->wait_for_output("looping"));
    world->rank(2).signal(SIGKILL);
    const std::vector<Ending> endings = world->wait(20);
    for (size_t rank = 0; rank < endings.size(); ++rank) {
      if (rank == 2) continue;
      EXPECT_EQ(endings[rank].exit_code, 0) << "rank " << rank << ", signal " << endings[rank].signal;
      EXPECT_THAT(endings[rank].output, AllOf(HasSubstr("RESULT "), HasSubstr("rank 2 ("), HasSubstr("CLEAN")));
    }
  }
}

}  // namespace
}  // namespace tutti::test
