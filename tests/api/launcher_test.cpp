// The rank program under the launchers of this machine, which say who is who.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "process_world.h"

namespace tutti::test {
namespace {

using testing::HasSubstr;

std::string found_in_path(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::string rest = path != nullptr ? path : "";
  while (!rest.empty()) {
    const size_t colon = rest.find(':');
    const std::string candidate = rest.substr(0, colon) + "/" + name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
    rest = colon == std::string::npos ? "" : rest.substr(colon + 1);
  }
  return "";
}

// All ranks write to the launcher's output.
void expect_all_ok(std::vector<std::string> launcher, int size, const std::vector<std::string>& arguments,
                   const Variables& variables) {
  const std::filesystem::path folder = new_folder();
  launcher.push_back(program_from("API_TEST_RANK_PROGRAM"));
  launcher.insert(launcher.end(), arguments.begin(), arguments.end());
  Process process(launcher, variables, folder / "output");
  const Ending ending = process.wait(90);
  EXPECT_FALSE(ending.timed_out);
  EXPECT_EQ(ending.exit_code, 0) << ending.output;
  for (int rank = 0; rank < size; ++rank) EXPECT_THAT(ending.output, HasSubstr("rank " + std::to_string(rank) + ": ok"));
  std::filesystem::remove_all(folder);
}

class Launchers : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Over, Launchers, testing::Values("shm", "tcp"), parameter_name);

TEST_P(Launchers, OpenMpi) {
  const std::string mpirun = found_in_path("mpirun.openmpi");
  if (mpirun.empty()) GTEST_SKIP() << "mpirun.openmpi is not installed";
  expect_all_ok({mpirun, "--allow-run-as-root", "--oversubscribe", "-n", "4"}, 4, {"program", "21", "40"},
                {{"TUTTI_TRANSPORT", GetParam()}});
}

TEST_P(Launchers, Hydra) {
  const std::string mpiexec = found_in_path("mpiexec.hydra");
  if (mpiexec.empty()) GTEST_SKIP() << "mpiexec.hydra is not installed";
  expect_all_ok({mpiexec, "-n", "4"}, 4, {"program", "22", "40"}, {{"TUTTI_TRANSPORT", GetParam()}});
}

// The examples print what their comments promise.
TEST(Examples, Average) {
  ProcessWorld world(3, {program_from("API_TEST_EXAMPLE_AVERAGE")});
  for (const Ending& ending : world.wait(60)) {
    EXPECT_EQ(ending.exit_code, 0) << ending.output;
    EXPECT_THAT(ending.output, HasSubstr("of 3: the average of element 10 is 11\n"));
  }
}

TEST(Examples, Overlap) {
  ProcessWorld world(2, {program_from("API_TEST_EXAMPLE_OVERLAP")});
  for (const Ending& ending : world.wait(60)) {
    EXPECT_EQ(ending.exit_code, 0) << ending.output;
    EXPECT_THAT(ending.output, HasSubstr("of 2: the weights moved by -4\n"));
  }
}

TEST(Examples, Compress) {
  ProcessWorld world(2, {program_from("API_TEST_EXAMPLE_COMPRESS")});
  for (const Ending& ending : world.wait(60)) {
    EXPECT_EQ(ending.exit_code, 0) << ending.output;
    EXPECT_THAT(ending.output, HasSubstr("of 2: 20 steps in 4 bits, the sum is within 1 %\n"));
  }
}

// torchrun's variables without torchrun: its agent owns MASTER_PORT, so the rendezvous point must be elsewhere.
TEST(TorchrunVariables, AreEnough) {
  const std::filesystem::path folder = new_folder();
  const std::vector<std::string> command = {program_from("API_TEST_RANK_PROGRAM"), "program", "23", "20"};
  const std::string port = std::to_string(20'000 + getpid() % 10'000);
  std::vector<Process> ranks;
  for (int rank = 0; rank < 3; ++rank) {
    const Variables variables = {{"RANK", std::to_string(rank)}, {"WORLD_SIZE", "3"},   {"LOCAL_RANK", std::to_string(rank)},
                                 {"MASTER_ADDR", "127.0.0.1"},   {"MASTER_PORT", port}, {"TORCHELASTIC_RUN_ID", "none"}};
    ranks.emplace_back(command, variables, folder / std::to_string(rank));
  }
  for (Process& rank : ranks) {
    const Ending ending = rank.wait(60);
    EXPECT_EQ(ending.exit_code, 0) << ending.output;
    EXPECT_THAT(ending.output, HasSubstr(": ok"));
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace tutti::test
