// Runs a program once per rank as real processes, with everything they write collected and a watchdog over them.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace tutti::test {

using Variables = std::map<std::string, std::string>;

// How a process ended.
struct Ending {
  int exit_code = -1;  // -1: killed by `signal`
  int signal = 0;
  bool timed_out = false;  // the watchdog had to kill it
  std::string output;      // stdout and stderr together
};

// One child process, its output in a file.
class Process {
 public:
  Process(const std::vector<std::string>& command, const Variables& variables, std::filesystem::path output);
  Process(Process&& other) noexcept;
  Process& operator=(Process&&) = delete;
  ~Process();  // kills it if it still runs

  pid_t pid() const { return pid_; }
  void signal(int number) const;
  std::string output() const;  // so far
  bool wait_for_output(const std::string& text, int seconds = 30) const;
  Ending wait(int seconds);

 private:
  bool collect(bool block);
  pid_t pid_;
  std::optional<int> wait_status_;
  std::filesystem::path output_;
};

// Ranks 0 … size-1 of `program arguments…`, told who they are by TUTTI_RANK, TUTTI_SIZE and a file store of their own.
// `transport`: "shm", "tcp", "ucx", "mixed" (two hosts by TUTTI_HOSTID: ranks of equal parity share memory), or "" for
// the library's choice.
class ProcessWorld {
 public:
  ProcessWorld(int size, const std::vector<std::string>& command, const Variables& variables = {},
               const std::string& transport = "");
  // The same with a command for each rank, and a store that the variables name.
  ProcessWorld(const std::vector<std::vector<std::string>>& commands, const Variables& variables);
  ProcessWorld(const ProcessWorld&) = delete;
  ~ProcessWorld();

  Process& rank(int r) { return ranks_[static_cast<size_t>(r)]; }
  bool wait_for_output(const std::string& text, int seconds = 30) const;  // of every rank
  std::vector<Ending> wait(int seconds = 60);
  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
  std::vector<Process> ranks_;
};

// A new folder under the system's place for temporary files.
std::filesystem::path new_folder();

// The program named by the environment variable that the build sets for these tests.
std::string program_from(const char* variable);

// Test suites run once per transport are named after it.
inline std::string parameter_name(const testing::TestParamInfo<const char*>& tested) { return tested.param; }

}  // namespace tutti::test
