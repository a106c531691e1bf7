#include "process_world.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

namespace tutti::test {

namespace {

using Clock = std::chrono::steady_clock;

// Asks `done` until it says yes or the time is over; says which.
template <class Done>
bool ask_until(int seconds, const Done& done) {
  const auto end = Clock::now() + std::chrono::seconds(seconds);
  while (!done()) {
    if (Clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

// After fork: only calls that are safe there.
[[noreturn]] void become(char* const* arguments, char* const* environment, int output) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // a test that dies leaves nobody behind
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  execvpe(arguments[0], arguments, environment);
  _exit(127);
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

// This process's environment without what would tell a rank who it is, with `variables` on top.
std::vector<std::string> environment_with(const Variables& variables) {
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::string name = text.substr(0, text.find('='));
    const bool about_a_rank = name == "TUTTI_RANK" || name == "TUTTI_SIZE" || name == "TUTTI_STORE";
    if (!about_a_rank && !variables.contains(name)) result.push_back(text);
  }
  for (const auto& [name, value] : variables) result.push_back(name + "=" + value);
  return result;
}

}  // namespace

Process::Process(const std::vector<std::string>& command, const Variables& variables, std::filesystem::path output)
    : output_(std::move(output)) {
  std::vector<std::string> arguments = command, environment = environment_with(variables);
  const std::vector<char*> argv = pointers(arguments), envp = pointers(environment);
  const int fd = open(output_.c_str(), O_CREAT | O_WRONLY | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
  pid_ = fork();
  if (pid_ == 0) become(argv.data(), envp.data(), fd);
  close(fd);
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), wait_status_(other.wait_status_), output_(std::move(other.output_)) {}

Process::~Process() {
  if (pid_ <= 0 || wait_status_) return;
  kill(pid_, SIGKILL);
  collect(true);
}

void Process::signal(int number) const {
  if (pid_ > 0 && !wait_status_) kill(pid_, number);
}

std::string Process::output() const {
  std::ifstream file(output_);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool Process::wait_for_output(const std::string& text, int seconds) const {
  return ask_until(seconds, [&] { return output().find(text) != std::string::npos; });
}

bool Process::collect(bool block) {
  int status = 0;
  if (!wait_status_ && waitpid(pid_, &status, block ? 0 : WNOHANG) == pid_) wait_status_ = status;
  return wait_status_.has_value();
}

Ending Process::wait(int seconds) {
  Ending ending;
  if (pid_ <= 0) return ending;
  ending.timed_out = !ask_until(seconds, [&] { return collect(false); });
  if (ending.timed_out) {
    kill(pid_, SIGKILL);
    collect(true);
  }
  const int status = *wait_status_;
  if (WIFEXITED(status)) ending.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) ending.signal = WTERMSIG(status);
  ending.output = output();
  return ending;
}

ProcessWorld::ProcessWorld(int size, const std::vector<std::string>& command, const Variables& variables,
                           const std::string& transport)
    : folder_(new_folder()) {
  for (int r = 0; r < size; ++r) {
    Variables mine = variables;
    mine.emplace("TUTTI_RANK", std::to_string(r));
    mine.emplace("TUTTI_SIZE", std::to_string(size));
    mine.emplace("TUTTI_STORE", "file:" + (folder_ / "store").string());
    if (transport == "mixed") {
      mine.emplace("TUTTI_HOSTID", r % 2 == 0 ? "even" : "odd");
    } else if (!transport.empty()) {
      mine.emplace("TUTTI_TRANSPORT", transport);
    }
    ranks_.emplace_back(command, mine, folder_ / ("rank" + std::to_string(r)));
  }
}

ProcessWorld::ProcessWorld(const std::vector<std::vector<std::string>>& commands, const Variables& variables)
    : folder_(new_folder()) {
  for (size_t r = 0; r < commands.size(); ++r) {
    Variables mine = variables;
    mine.emplace("TUTTI_RANK", std::to_string(r));
    mine.emplace("TUTTI_SIZE", std::to_string(commands.size()));
    ranks_.emplace_back(commands[r], mine, folder_ / ("rank" + std::to_string(r)));
  }
}

ProcessWorld::~ProcessWorld() {
  ranks_.clear();
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

bool ProcessWorld::wait_for_output(const std::string& text, int seconds) const {
  for (const Process& process : ranks_) {
    if (!process.wait_for_output(text, seconds)) return false;
  }
  return true;
}

std::vector<Ending> ProcessWorld::wait(int seconds) {
  const auto end = Clock::now() + std::chrono::seconds(seconds);
  std::vector<Ending> endings;
  for (Process& process : ranks_) {
    const auto left = std::chrono::duration_cast<std::chrono::seconds>(end - Clock::now()).count();
    endings.push_back(process.wait(static_cast<int>(std::max<int64_t>(left, 0))));
  }
  return endings;
}

std::filesystem::path new_folder() {
  std::string name = (std::filesystem::temp_directory_path() / "tutti-test-XXXXXX").string();
  return mkdtemp(name.data()) != nullptr ? name : "";
}

std::string program_from(const char* variable) {
  const char* path = std::getenv(variable);
  return path != nullptr ? path : std::string("the build sets ") + variable;
}

}  // namespace tutti::test
