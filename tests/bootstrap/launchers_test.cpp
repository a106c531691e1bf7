// Real launchers: the ranks of bootstrap_program meet three times.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <sstream>
#include <string>
#include <vector>

#include "bootstrap_fixture.h"

namespace tutti {
namespace {

struct Outcome {
  int status = -1;
  std::vector<std::string> lines;  // sorted: ranks print in any order
};

Outcome run(const std::string& command) {
  Outcome outcome;
  FILE* const pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return outcome;
  std::string text;
  char chunk[1024];
  for (size_t n; (n = std::fread(chunk, 1, sizeof chunk, pipe)) > 0;) text.append(chunk, n);
  const int status = ::pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) outcome.lines.push_back(line);
  std::sort(outcome.lines.begin(), outcome.lines.end());
  return outcome;
}

bool installed(const std::string& program) { return std::system(("command -v " + program + " >/dev/null").c_str()) == 0; }

std::vector<std::string> expected_lines(int bootstraps, int size, const std::string& source) {
  std::vector<std::string> lines;
  for (int i = 0; i < bootstraps; ++i)
    for (int rank = 0; rank < size; ++rank) {
      std::string line = "bootstrap " + std::to_string(i) + ": rank " + std::to_string(rank) + " of " + std::to_string(size) +
                         " by " + source + ":";
      for (int other = 0; other < size; ++other) line += " " + std::to_string(other * 10 + i);
      lines.push_back(line);
    }
  std::sort(lines.begin(), lines.end());
  return lines;
}

const std::string kOpenMpi = "mpirun.openmpi --allow-run-as-root --oversubscribe --mca btl self ";
const std::string kHydra = "mpiexec.hydra ";

TEST(Launchers, OpenMpiByPmix) {
  if (!installed("mpirun.openmpi")) GTEST_SKIP() << "mpirun.openmpi is not installed";
  const Outcome outcome = run(kOpenMpi + "-n 4 " BOOTSTRAP_PROGRAM " 3");
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.lines, expected_lines(3, 4, HAVE_PMIX ? "Open MPI (PMIx)" : "Open MPI"));
}

TEST(Launchers, OpenMpiWithAStore) {
  if (!installed("mpirun.openmpi")) GTEST_SKIP() << "mpirun.openmpi is not installed";
  const Outcome outcome = run("TUTTI_STORE=" + loopback(free_port()).to_string() + " " + kOpenMpi + "-n 3 " BOOTSTRAP_PROGRAM " 3");
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.lines, expected_lines(3, 3, "Open MPI"));
}

TEST(Launchers, HydraByPmi) {
  if (!installed("mpiexec.hydra")) GTEST_SKIP() << "mpiexec.hydra is not installed";
  const Outcome outcome = run(kHydra + "-n 4 " BOOTSTRAP_PROGRAM " 3");
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.lines, expected_lines(3, 4, "hydra (PMI)"));
}

TEST(Launchers, OneRankOfALauncherIsAlone) {
  if (!installed("mpiexec.hydra")) GTEST_SKIP() << "mpiexec.hydra is not installed";
  EXPECT_EQ(run(kHydra + "-n 1 " BOOTSTRAP_PROGRAM " 2").lines, expected_lines(2, 1, "hydra (PMI)"));
}

// Each rank runs a program that meets, too, by the variables that it inherits, and goes on.
void expect_unharmed_by_programs_inside(const std::string& launcher, const std::string& source) {
  const Outcome outcome = run(launcher + "-n 2 " BOOTSTRAP_PROGRAM " 2 " BOOTSTRAP_PROGRAM);
  EXPECT_EQ(outcome.status, 0);
  std::vector<std::string> bootstraps, inside;
  for (const std::string& line : outcome.lines) (line.starts_with("bootstrap") ? bootstraps : inside).push_back(line);
  EXPECT_EQ(bootstraps, expected_lines(2, 2, source));
  ASSERT_EQ(inside.size(), 4u);
  for (const std::string& line : inside) EXPECT_THAT(line, testing::HasSubstr("failed: this program runs inside a rank of a job"));
}

TEST(Launchers, OpenMpiIsUnharmedByProgramsInside) {
  if (!HAVE_PMIX || !installed("mpirun.openmpi")) GTEST_SKIP() << "no PMIx here, or mpirun.openmpi is not installed";
  expect_unharmed_by_programs_inside(kOpenMpi, "Open MPI (PMIx)");
}

TEST(Launchers, HydraIsUnharmedByProgramsInside) {
  if (!installed("mpiexec.hydra")) GTEST_SKIP() << "mpiexec.hydra is not installed";
  expect_unharmed_by_programs_inside(kHydra, "hydra (PMI)");
}

TEST(Launchers, TorchrunsVariables) {
  const std::string common = "WORLD_SIZE=3 MASTER_ADDR=127.0.0.1 MASTER_PORT=" + std::to_string(free_port() - 1) +
                             " TORCHELASTIC_RUN_ID=r1 " BOOTSTRAP_PROGRAM " 3 & ";
  const Outcome outcome = run("for rank in 0 1 2; do RANK=$rank " + common + " done; wait");
  EXPECT_EQ(outcome.lines, expected_lines(3, 3, "torchrun"));
}

TEST(Launchers, NoLauncherIsAlone) { EXPECT_EQ(run("env -i " BOOTSTRAP_PROGRAM " 1").lines, expected_lines(1, 1, "no launcher")); }

}  // namespace
}  // namespace tutti
