// Dead, stopped, late and mistaken ranks as real processes: every call of the others ends, with the right status and
// culprit, and nothing is left behind.  The watchdogs are generous; how fast a failure is told is measured elsewhere.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <tutti/tutti.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>
#include <thread>

#include "process_world.h"
#include "transports.h"

namespace tutti::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// The first "RESULT <status> <sentence>" of an output.
struct Told {
  int status = -1;
  std::string sentence;
};

Told told(const std::string& output) {
  Told result;
  const size_t at = output.find("RESULT ");
  if (at == std::string::npos) return result;
  std::istringstream line(output.substr(at + 7, output.find('\n', at) - at - 7));
  line >> result.status;
  std::getline(line >> std::ws, result.sentence);
  return result;
}

std::set<std::string> shared_memory_files() {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
    const std::string name = entry.path().filename();
    if (name.find("tutti") != std::string::npos) names.insert(name);
  }
  return names;
}

bool is_stopped(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  const size_t end_of_name = text.rfind(") ");
  return end_of_name != std::string::npos && text.compare(end_of_name + 2, 1, "T") == 0;
}

void wait_until_stopped(pid_t pid) {
  for (int i = 0; i < 15'000 && !is_stopped(pid); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  ASSERT_TRUE(is_stopped(pid));
}

class Failures : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    before_ = shared_memory_files();
    if (const std::string why = lacks(GetParam()); !why.empty()) GTEST_SKIP() << why;
  }
  void TearDown() override {
    EXPECT_EQ(shared_memory_files(), before_);
    std::filesystem::remove_all(shared_);
  }

  ProcessWorld start(int size, const std::string& scenario, const std::string& argument, Variables variables = {}) {
    variables.emplace("TUTTI_TIMEOUT", "20s");
    variables.emplace("API_TEST_FOLDER", shared_.string());
    return ProcessWorld(size, {program_from("API_TEST_FAILURE_PROGRAM"), scenario, argument}, variables, GetParam());
  }

  // Makes a file that ranks wait for.
  void allow(const char* name) { std::ofstream file(shared_ / name); }

  // Every rank but `except` ended by itself, was told `status` and `sentence`, and left nothing behind.
  template <class Matcher>
  void expect_told(ProcessWorld& world, int except, tutti_status status, const Matcher& sentence) {
    const std::vector<Ending> endings = world.wait(kWatchdog);
    for (int rank = 0; rank < static_cast<int>(endings.size()); ++rank) {
      if (rank != except) expect_told(endings[static_cast<size_t>(rank)], rank, status, sentence);
    }
  }

  template <class Matcher>
  void expect_told(const Ending& ending, int rank, tutti_status status, const Matcher& sentence) {
    SCOPED_TRACE("rank " + std::to_string(rank));
    EXPECT_FALSE(ending.timed_out);
    EXPECT_EQ(ending.exit_code, 0) << "signal " << ending.signal;
    EXPECT_EQ(told(ending.output).status, status);
    EXPECT_THAT(told(ending.output).sentence, sentence);
    EXPECT_THAT(ending.output, AllOf(HasSubstr("CLEAN"), Not(HasSubstr("DIFFERENT ERROR")), Not(HasSubstr("WRONG DATA")),
                                     Not(HasSubstr("WRITTEN A"))));
  }

  static constexpr int kWatchdog = 20;  // seconds
  const std::filesystem::path shared_ = new_folder();
  std::set<std::string> before_;
};

INSTANTIATE_TEST_SUITE_P(Over, Failures, testing::ValuesIn(with_rdma({"shm", "tcp", "mixed", "ucx"})), parameter_name);

// ---- dead ranks ----

TEST_P(Failures, KilledAmongSmallCalls) {
  ProcessWorld world = start(4, "loop", "10");
  ASSERT_TRUE(world.wait_for_output("looping"));
  world.rank(2).signal(SIGKILL);
  expect_told(world, 2, TUTTI_PEER_LOST, HasSubstr("rank 2"));
}

TEST_P(Failures, KilledAmongLargeCalls) {
  ProcessWorld world = start(4, "loop", "400000");
  ASSERT_TRUE(world.wait_for_output("looping"));
  world.rank(0).signal(SIGKILL);
  expect_told(world, 0, TUTTI_PEER_LOST, HasSubstr("rank 0"));
}

TEST_P(Failures, KilledWithRequestsInFlight) {
  ProcessWorld world = start(3, "started", "30000");
  ASSERT_TRUE(world.wait_for_output("looping"));
  world.rank(1).signal(SIGKILL);
  expect_told(world, 1, TUTTI_PEER_LOST, HasSubstr("rank 1"));
}

// Nobody waits for the call, nor makes another.
TEST_P(Failures, KilledWhileACallIsOnAStream) {
  if (!std::getenv("API_TEST_DEVICE")) GTEST_SKIP() << "for memory of a device";
  for (const char* count : {"10", "400000"}) {
    ProcessWorld world = start(3, "on_a_stream", count);
    ASSERT_TRUE(world.wait_for_output("looping"));
    world.rank(2).signal(SIGKILL);
    expect_told(world, 2, TUTTI_PEER_LOST, HasSubstr("rank 2"));
    for (const int rank : {0, 1}) EXPECT_THAT(world.rank(rank).output(), HasSubstr("STREAM GOES ON"));
  }
}

// Copies of its sockets in a child hide no death, wherever in the control tree the rank is.
TEST_P(Failures, KilledWhileAChildLives) {
  const auto dies = [&](const char* how, int size, int victim) {
    SCOPED_TRACE(std::string(how) + ", rank " + std::to_string(victim) + " of " + std::to_string(size));
    ProcessWorld world = start(size, "with_a_child", std::to_string(victim) + how, {{"TUTTI_TIMEOUT", "10m"}});
    ASSERT_TRUE(world.wait_for_output("looping"));
    world.rank(victim).signal(SIGKILL);
    for (int rank = 0; rank < size; ++rank)
      if (rank != victim)
        expect_told(world.rank(rank).wait(kWatchdog), rank, TUTTI_PEER_LOST, HasSubstr("rank " + std::to_string(victim)));
  };
  const bool sees_all = std::string(GetParam()) != "mixed";  // on another host nobody sees a process end
  for (int size = sees_all ? 2 : 4; size < 4; ++size)
    for (int victim = 0; victim < 3 && victim < size; ++victim) dies("cloned", size, victim);
  dies(sees_all ? "cloned" : "forked", 7, 1);
  for (const char* how : {"before", "forked", "spawned", "busy"}) dies(how, 3, 0);
}

TEST_P(Failures, SurvivorsStartAnewAtOnce) {
  ProcessWorld world = start(3, "loop_and_start_anew", "1000");
  ASSERT_TRUE(world.wait_for_output("looping"));
  world.rank(2).signal(SIGKILL);
  const std::vector<Ending> endings = world.wait(kWatchdog);
  for (int rank = 0; rank < 2; ++rank) {
    expect_told(endings[static_cast<size_t>(rank)], rank, TUTTI_PEER_LOST, HasSubstr("rank 2"));
    EXPECT_THAT(endings[static_cast<size_t>(rank)].output, HasSubstr("SECOND LIFE"));
  }
}

TEST_P(Failures, ExitWithoutDestroy) {
  ProcessWorld world = start(3, "leave", "exit");
  expect_told(world, 2, TUTTI_PEER_LOST, HasSubstr("rank 2"));
}

TEST_P(Failures, DestroyWhileOthersAreInACall) {
  ProcessWorld world = start(3, "leave", "destroy");
  expect_told(world, 2, TUTTI_PEER_LOST, HasSubstr("rank 2"));
  EXPECT_THAT(world.rank(2).output(), HasSubstr("CLEAN"));
}

// ---- ranks that leave at once ----

// The others are not harmed, whether or not its process lives on, and a death among them is noticed.
TEST_P(Failures, RankThatLeavesAtOnceHarmsNobody) {
  constexpr int kSize = 4, kVictim = 3;
  std::vector<std::unique_ptr<ProcessWorld>> worlds;
  const std::vector<std::string> arguments = {"0 ends", "1 ends", "0 lives", "1 lives"};
  for (const std::string& argument : arguments) {
    const Variables variables{{"TUTTI_TIMEOUT", "10m"}, {"API_TEST_FOLDER", shared_.string()}};
    worlds.push_back(std::make_unique<ProcessWorld>(
        kSize, std::vector<std::string>{program_from("API_TEST_FAILURE_PROGRAM"), "leave_at_once", argument}, variables,
        GetParam()));
  }
  for (size_t i = 0; i < worlds.size(); ++i) {
    SCOPED_TRACE("rank " + arguments[i]);
    const int leaver = arguments[i][0] - '0';
    EXPECT_TRUE(worlds[i]->rank(leaver).wait_for_output("LEFT 0\n"));
    for (int rank = 0; rank < kSize; ++rank) EXPECT_TRUE(rank == leaver || worlds[i]->rank(rank).wait_for_output("STAYED"));
    worlds[i]->rank(kVictim).signal(SIGKILL);
  }
  for (size_t i = 0; i < worlds.size(); ++i) {
    SCOPED_TRACE("rank " + arguments[i]);
    const int leaver = arguments[i][0] - '0';
    for (int rank = 0; rank < kSize; ++rank)
      if (rank != leaver && rank != kVictim)
        expect_told(worlds[i]->rank(rank).wait(kWatchdog), rank, TUTTI_PEER_LOST, HasSubstr("rank 3"));
  }
  allow("enough");  // for those who left, and live
  for (size_t i = 0; i < worlds.size(); ++i) {
    const Ending ending = worlds[i]->rank(arguments[i][0] - '0').wait(kWatchdog);
    EXPECT_EQ(ending.exit_code, 0) << ending.signal;
    EXPECT_TRUE(arguments[i].ends_with("ends") || ending.output.ends_with("CLEAN\n")) << ending.output;
  }
}

TEST_P(Failures, AllMayLeaveAtOnce) {
  for (const char* count : {"1", "100000", "1", "100000", "1", "3000000"}) {
    ProcessWorld world = start(4, "all_leave_at_once", count);
    for (const Ending& ending : world.wait(kWatchdog)) {
      EXPECT_EQ(ending.exit_code, 0) << ending.signal;
      EXPECT_EQ(ending.output, "LEFT 0\n");
    }
  }
}

// ---- stopped and late ranks ----

TEST_P(Failures, StoppedBetweenCalls) {
  ProcessWorld world = start(3, "stopped", "between calls", {{"TUTTI_TIMEOUT", "1s"}});
  for (const int rank : {0, 2}) {
    expect_told(world.rank(rank).wait(kWatchdog), rank, TUTTI_TIMEOUT, HasSubstr("rank 1"));
  }
  world.rank(1).signal(SIGCONT);
  expect_told(world.rank(1).wait(kWatchdog), 1, TUTTI_TIMEOUT, HasSubstr("rank 1"));
}

// On a ring, where the others need what rank 1 passes on; by other algorithms it may have given all it has before it is
// stopped.
TEST_P(Failures, StoppedInACall) {
  ProcessWorld world = start(3, "stopped", "in a call", {{"TUTTI_TIMEOUT", "1s"}, {"TUTTI_ALGORITHM", "ring"}});
  wait_until_stopped(world.rank(1).pid());
  allow("stopped");
  for (const int rank : {0, 2}) {
    expect_told(world.rank(rank).wait(kWatchdog), rank, TUTTI_TIMEOUT, HasSubstr("rank 1"));
  }
  world.rank(1).signal(SIGCONT);
  expect_told(world.rank(1).wait(kWatchdog), 1, TUTTI_TIMEOUT, HasSubstr("rank 1"));
}

// A job that is stopped as a whole for longer than the timeout was not late.
TEST_P(Failures, SuspendedJobGoesOn) {
  ProcessWorld world = start(3, "suspended", "", {{"TUTTI_TIMEOUT", "4s"}});
  ASSERT_TRUE(world.wait_for_output("ready"));
  for (int rank = 0; rank < 3; ++rank) world.rank(rank).signal(SIGSTOP);
  for (int rank = 0; rank < 3; ++rank) wait_until_stopped(world.rank(rank).pid());
  std::this_thread::sleep_for(std::chrono::seconds(6));
  for (int rank = 0; rank < 3; ++rank) world.rank(rank).signal(SIGCONT);
  allow("resumed");
  for (const Ending& ending : world.wait(kWatchdog)) EXPECT_THAT(ending.output, AllOf(HasSubstr("GOES ON"), HasSubstr("CLEAN")));
}

TEST_P(Failures, LateForTheDeadlineOfTheCall) {
  ProcessWorld world = start(3, "late", "5000");
  for (const int rank : {0, 2}) {
    expect_told(world.rank(rank).wait(kWatchdog), rank, TUTTI_TIMEOUT, HasSubstr("rank 1"));
  }
  allow("late");
  expect_told(world.rank(1).wait(kWatchdog), 1, TUTTI_TIMEOUT, HasSubstr("rank 1"));
}

// ---- mistaken ranks ----

TEST_P(Failures, BroadcastReceivedInsteadOfAllReduce) {
  ProcessWorld world = start(3, "mismatch", "receiver");
  expect_told(world, -1, TUTTI_MISMATCH, AllOf(HasSubstr("all_reduce"), HasSubstr("broadcast"), HasSubstr("rank 1")));
}

// The root of a broadcast may be in its next call when the others find out.
TEST_P(Failures, BroadcastGivenInsteadOfAllReduce) {
  ProcessWorld world = start(3, "mismatch", "giver");
  expect_told(world, -1, TUTTI_MISMATCH, AllOf(HasSubstr("all_reduce"), HasSubstr("rank 1")));
}

TEST_P(Failures, BarrierInsteadOfAllReduce) {
  ProcessWorld world = start(3, "mismatch", "barrier");
  expect_told(world, -1, TUTTI_MISMATCH, AllOf(HasSubstr("all_reduce"), HasSubstr("barrier")));
}

TEST_P(Failures, AnotherCount) {
  ProcessWorld world = start(3, "mismatch", "count");
  expect_told(world, -1, TUTTI_MISMATCH, AllOf(HasSubstr("1000"), HasSubstr("1001"), HasSubstr("rank 1")));
}

TEST_P(Failures, AnotherType) {
  ProcessWorld world = start(3, "mismatch", "dtype");
  expect_told(world, -1, TUTTI_MISMATCH, AllOf(HasSubstr("float32"), HasSubstr("int32"), HasSubstr("rank 1")));
}

TEST_P(Failures, AnotherOperator) {
  ProcessWorld world = start(3, "mismatch", "op");
  expect_told(world, -1, TUTTI_MISMATCH, AllOf(HasSubstr("sum"), HasSubstr("max"), HasSubstr("rank 1")));
}

TEST_P(Failures, AnotherRoot) {
  ProcessWorld world = start(3, "mismatch", "root");
  expect_told(world, -1, TUTTI_MISMATCH, AllOf(HasSubstr("root 0"), HasSubstr("root 1"), HasSubstr("rank 1")));
}

TEST_P(Failures, AMessageOfAnotherLength) {
  ProcessWorld world = start(2, "messages", "11");
  expect_told(world, -1, TUTTI_MISMATCH, AllOf(HasSubstr("10"), HasSubstr("11")));
}

// ---- abort, fork ----

TEST_P(Failures, AbortBetweenCalls) {
  ProcessWorld world = start(3, "abort", "between calls");
  expect_told(world, -1, TUTTI_ABORTED, AllOf(HasSubstr("rank 1"), HasSubstr("went up in smoke")));
}

TEST_P(Failures, AbortFromAnotherThreadInACall) {
  ProcessWorld world = start(3, "abort", "in a call");
  expect_told(world, -1, TUTTI_ABORTED, AllOf(HasSubstr("rank 1"), HasSubstr("went up in smoke")));
}

TEST_P(Failures, ForkedChildIsRefusedAndTheParentGoesOn) {
  ProcessWorld world = start(2, "forked", "");
  for (const Ending& ending : world.wait(kWatchdog)) {
    EXPECT_THAT(ending.output, AllOf(HasSubstr("CHILD 0"), HasSubstr("PARENT GOES ON"), HasSubstr("CLEAN")));
  }
}

}  // namespace
}  // namespace tutti::test
