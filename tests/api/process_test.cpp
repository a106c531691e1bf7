// Ranks as real processes over shared memory and over TCP: a part of the matrix, random programs, bits.

#include "process_world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iostream>

#include "cases.h"
#include "digest.h"
#include "local_world.h"
#include "sanitized.h"
#include "transports.h"

namespace tutti::test {
namespace {

using testing::HasSubstr;

class Processes : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (const std::string why = lacks(GetParam()); !why.empty()) GTEST_SKIP() << why;
  }

  // Every rank of a world must end with "rank R: ok".
  std::vector<Ending> run(int size, std::vector<std::string> arguments, const Variables& variables = {}) {
    arguments.insert(arguments.begin(), program_from("API_TEST_RANK_PROGRAM"));
    ProcessWorld world(size, arguments, variables, GetParam());
    std::vector<Ending> endings = world.wait(120);
    for (size_t rank = 0; rank < endings.size(); ++rank) {
      EXPECT_FALSE(endings[rank].timed_out) << "rank " << rank << " of " << size << " did not end";
      EXPECT_EQ(endings[rank].exit_code, 0) << "rank " << rank << ", signal " << endings[rank].signal;
      EXPECT_THAT(endings[rank].output, HasSubstr("rank " + std::to_string(rank) + ": ok"));
    }
    return endings;
  }
};

INSTANTIATE_TEST_SUITE_P(Over, Processes, testing::ValuesIn(with_rdma({"shm", "tcp", "mixed", "ucx"})), parameter_name);

TEST_P(Processes, TheTransportIsTheOneAskedFor) {
  const std::string output = run(3, {"stats"})[0].output;
  const std::string transport = GetParam();
  EXPECT_THAT(output, HasSubstr(transport == "mixed" ? "transports shm 1, tcp 1\n" : "transports " + transport + " 2\n"));
}

// As daemons start programs.  Sockets and memory must not get the numbers of the streams, or log lines would land in
// them.
TEST_P(Processes, WithoutStdinAndStderr) {
  ProcessWorld world(3, {"/bin/sh", "-c", "exec \"$0\" stats 0<&- 2>&-", program_from("API_TEST_RANK_PROGRAM")},
                     {{"TUTTI_DEBUG", "trace"}}, GetParam());
  const std::vector<Ending> endings = world.wait(60);
  for (size_t rank = 0; rank < endings.size(); ++rank)
    EXPECT_THAT(endings[rank].output, HasSubstr("rank " + std::to_string(rank) + ": ok"));
}

TEST_P(Processes, OneRank) { run(1, {"cover"}); }
TEST_P(Processes, PairwiseCoverOnTwoRanks) { run(2, {"cover", "2"}); }
TEST_P(Processes, PairwiseCoverOnThreeRanks) { run(3, {"cover", "3"}); }

TEST_P(Processes, RandomSampleOnManyRanks) {
  const std::string seed = std::to_string(random_seed());
  std::cout << "API_TEST_SEED=" << seed << std::endl;
  run(4, {"sample", seed, fewer("60", "15")});
  run(7, {"sample", seed, fewer("20", "5")});
}

TEST_P(Processes, RandomSampleWithSmallSlotsAndManyLanes) {
  const std::string seed = std::to_string(random_seed());
  std::cout << "API_TEST_SEED=" << seed << std::endl;
  run(4, {"sample", seed, fewer("30", "10")}, {{"TUTTI_SLOT_BYTES", "4K"}, {"TUTTI_LANES", "8"}, {"TUTTI_TCP_CONNECTIONS", "3"}});
}

TEST_P(Processes, RandomPrograms) {
  const std::string seed = std::to_string(random_seed());
  std::cout << "API_TEST_SEED=" << seed << std::endl;
  run(4, {"program", seed, fewer("80", "25")});
  run(5, {"split", seed, fewer("60", "20")});
}

TEST_P(Processes, DeterministicBitsAreThoseOfThreads) {
  constexpr int kSize = 3;
  setenv("TUTTI_DETERMINISTIC", "1", 1);
  std::string expected;
  {
    const LocalWorld world(kSize);
    ASSERT_EQ(world.size(), kSize);
    world.run([&](int rank, tutti_comm* comm) {
      const std::string digest = reduction_digest(comm);
      if (rank == 0) expected = digest;
    });
  }
  unsetenv("TUTTI_DETERMINISTIC");
  for (const char* lanes : {"1", "3"}) {
    const std::vector<Ending> endings = run(kSize, {"digest"}, {{"TUTTI_DETERMINISTIC", "1"}, {"TUTTI_LANES", lanes}});
    EXPECT_THAT(endings[0].output, HasSubstr("digest " + expected));
  }
}

// Two jobs on one host at the same time do not meet each other.
TEST_P(Processes, TwoJobsAtOnce) {
  const std::vector<std::string> command = {program_from("API_TEST_RANK_PROGRAM"), "program", "11", "40"};
  ProcessWorld one(2, command, {}, GetParam()), other(3, command, {}, GetParam());
  for (const Ending& ending : one.wait()) EXPECT_EQ(ending.exit_code, 0) << ending.output;
  for (const Ending& ending : other.wait()) EXPECT_EQ(ending.exit_code, 0) << ending.output;
}

}  // namespace
}  // namespace tutti::test
