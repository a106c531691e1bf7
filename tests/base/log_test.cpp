#include "log.h"

#include <fcntl.h>
#include <poll.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>
#include <vector>

#include "clock.h"
#include "host_identity.h"

namespace tutti {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;
namespace fs = std::filesystem;

class LogTest : public testing::Test {
 protected:
  LogTest() {
    std::string pattern = (fs::temp_directory_path() / "tutti-log-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
  }
  ~LogTest() override { fs::remove_all(directory_); }

  std::string path(const std::string& name) const { return (directory_ / name).string(); }
  std::string content(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(path(name)).rdbuf();
    return text.str();
  }

  fs::path directory_;
};

TEST_F(LogTest, LevelsAndPrefix) {
  const auto fd = open_log_file(path("log"), 0);
  ASSERT_TRUE(fd.ok()) << fd.status().message();
  const Log log(LogLevel::info, "tutti[3/8 b]", fd->get());
  EXPECT_TRUE(log.enabled(LogLevel::warn));
  EXPECT_TRUE(log.enabled(LogLevel::info));
  EXPECT_FALSE(log.enabled(LogLevel::trace));
  log.warn("first");
  log.info("second");
  log.trace("third");
  log.write(LogLevel::none, "never");
  EXPECT_EQ(content("log"), "tutti[3/8 b] warn: first\ntutti[3/8 b] info: second\n");
}

TEST_F(LogTest, LevelNoneIsSilent) {
  const auto fd = open_log_file(path("log"), 0);
  ASSERT_TRUE(fd.ok());
  const Log log(LogLevel::none, "tutti", fd->get());
  log.warn("text");
  log.write(LogLevel::none, "text");
  EXPECT_EQ(content("log"), "");
}

TEST_F(LogTest, AMessageIsOneLine) {
  const auto fd = open_log_file(path("log"), 0);
  ASSERT_TRUE(fd.ok());
  Log(LogLevel::warn, "tutti", fd->get()).warn("a\nb\x1b[2Jc");
  EXPECT_EQ(content("log"), "tutti warn: a b [2Jc\n");
}

TEST_F(LogTest, LinesOfThreadsDoNotMix) {
  const auto fd = open_log_file(path("log"), 0);
  ASSERT_TRUE(fd.ok());
  const Log log(LogLevel::warn, "tutti", fd->get());
  const std::string text(300, 'x');
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) log.warn(text);
    });
  for (std::thread& thread : threads) thread.join();
  std::istringstream lines(content("log"));
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) EXPECT_EQ(line, "tutti warn: " + text);
  EXPECT_EQ(count, 200);
}

TEST_F(LogTest, AClosedPipeDoesNotKillTheProgram) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  close(ends[0]);
  errno = 0;
  Log(LogLevel::warn, "tutti", ends[1]).warn("nobody reads this");  // SIGPIPE has its default action here
  EXPECT_EQ(errno, 0);
  sigset_t pending, blocked;
  sigpending(&pending);
  EXPECT_EQ(sigismember(&pending, SIGPIPE), 0);
  pthread_sigmask(SIG_BLOCK, nullptr, &blocked);
  EXPECT_EQ(sigismember(&blocked, SIGPIPE), 0);
  close(ends[1]);
}

// A pipe of which nobody reads, filled to the last byte.
struct FullPipe {
  FullPipe() {
    EXPECT_EQ(pipe2(ends.data(), O_NONBLOCK), 0);
    const std::string much(4096, 'x');
    while (write(ends[1], much.data(), much.size()) > 0) {
    }
    while (write(ends[1], "x", 1) > 0) {
    }
    fcntl(ends[1], F_SETFL, 0);  // as programs have it: a write waits
  }
  ~FullPipe() {
    close(ends[0]);
    close(ends[1]);
  }
  std::string drain() const {
    std::string text(1 << 20, '\0');
    size_t got = 0;
    for (ssize_t n; (n = read(ends[0], text.data() + got, text.size() - got)) > 0;) got += static_cast<size_t>(n);
    text.resize(got);
    return text.substr(std::min(text.size(), text.find_last_of('x') + 1));
  }
  std::array<int, 2> ends{};
};

// The deeds of a forked child, by its exit code: descriptors, limits and signals are the process's.
int in_a_child(const std::function<bool()>& body) {
  const pid_t child = fork();
  if (child == 0) _exit(body() ? 0 : 1);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST_F(LogTest, AFullPipeHoldsNobodyAndLossesAreCounted) {
  const FullPipe pipe;
  const Log log(LogLevel::warn, "tutti", pipe.ends[1]);
  const Log copy = log;
  const uint64_t begin = now_ns();
  log.warn("one");
  copy.warn("two");
  EXPECT_LT(now_ns() - begin, kSecond);
  EXPECT_EQ(fcntl(pipe.ends[1], F_GETFL) & O_NONBLOCK, 0) << "the flag belongs to the program";
  EXPECT_EQ(pipe.drain(), "");
  log.warn("three");
  log.warn("four");
  EXPECT_EQ(pipe.drain(), "tutti warn: 2 lines were lost here\ntutti warn: three\ntutti warn: four\n");
}

TEST_F(LogTest, AFullPipeOfAProgramThatDoesNotWaitEither) {
  const FullPipe pipe;
  fcntl(pipe.ends[1], F_SETFL, O_NONBLOCK);
  const Log log(LogLevel::warn, "tutti", pipe.ends[1]);
  log.warn("one");
  pipe.drain();
  log.warn("two");
  EXPECT_EQ(pipe.drain(), "tutti warn: 1 line was lost here\ntutti warn: two\n");
}

// A process that has changed its user may not open the pipe once more.
TEST_F(LogTest, AFullPipeOfAnotherUsers) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can change the user";
  const int code = in_a_child([] {
    const FullPipe pipe;
    if (setresuid(65534, 65534, 65534) != 0) return false;
    const Log log(LogLevel::warn, "tutti", pipe.ends[1]);
    log.warn("one");
    if (!pipe.drain().empty()) return false;
    log.warn("two");
    return pipe.drain() == "tutti warn: 1 line was lost here\ntutti warn: two\n";
  });
  EXPECT_EQ(code, 0);
}

TEST_F(LogTest, ThreadsLoseWholeLinesAndCountThemAll) {
  const FullPipe pipe;
  const Log log(LogLevel::warn, "tutti", pipe.ends[1]);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) log.warn("lost");
    });
  for (std::thread& thread : threads) thread.join();
  pipe.drain();
  log.warn("last");
  EXPECT_EQ(pipe.drain(), "tutti warn: 200 lines were lost here\ntutti warn: last\n");
}

TEST_F(LogTest, AFullSocketHoldsNobody) {
  std::array<int, 2> ends{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  const Log log(LogLevel::warn, "tutti", ends[1]);
  const uint64_t begin = now_ns();
  for (int i = 0; i < 2000; ++i) log.warn(std::string(1000, 'y'));
  EXPECT_LT(now_ns() - begin, 10 * kSecond);
  std::string text(1 << 22, '\0');
  while (recv(ends[0], text.data(), text.size(), MSG_DONTWAIT) > 0) {
  }
  log.warn("again");
  const ssize_t n = recv(ends[0], text.data(), text.size(), MSG_DONTWAIT);
  ASSERT_GT(n, 0);
  text.resize(static_cast<size_t>(n));
  EXPECT_THAT(text, MatchesRegex("\n?tutti warn: [0-9]+ lines were lost here\ntutti warn: again\n"));
  for (const int end : ends) close(end);
}

TEST_F(LogTest, AStoppedTerminalHoldsNobody) {
  const OwnedFd master(posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (!master || grantpt(master.get()) != 0 || unlockpt(master.get()) != 0) GTEST_SKIP() << "no pseudo-terminals here";
  const OwnedFd terminal(open(ptsname(master.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_TRUE(terminal);
  ASSERT_EQ(tcflow(terminal.get(), TCOOFF), 0);  // Ctrl-S
  const Log log(LogLevel::warn, "tutti", terminal.get());
  const uint64_t begin = now_ns();
  log.warn("one");
  EXPECT_LT(now_ns() - begin, kSecond);
  ASSERT_EQ(tcflow(terminal.get(), TCOON), 0);
  log.warn("two");
  const std::string expected = "tutti warn: 1 line was lost here\r\ntutti warn: two\r\n";
  std::string text;
  for (pollfd ready{master.get(), POLLIN, 0}; text.size() < expected.size() && poll(&ready, 1, 10'000) > 0;) {  // piece by piece
    char piece[4096];
    const ssize_t n = read(master.get(), piece, sizeof piece);
    ASSERT_GT(n, 0);
    text.append(piece, static_cast<size_t>(n));
  }
  EXPECT_EQ(text, expected);
}

TEST_F(LogTest, AClosedDescriptorLosesLines) {
  const int fd = open(path("log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const Log log(LogLevel::warn, "tutti", fd);
  close(fd);
  log.warn("one");
  ASSERT_EQ(open(path("log").c_str(), O_WRONLY | O_APPEND | O_CLOEXEC), fd);
  log.warn("two");
  close(fd);
  EXPECT_EQ(content("log"), "tutti warn: 1 line was lost here\ntutti warn: two\n");
}

TEST_F(LogTest, AFileThatMayNotGrowDoesNotKillTheProgram) {
  const int code = in_a_child([this] {
    const auto fd = open_log_file(path("log"), 0);
    const Log log(LogLevel::warn, "tutti", fd->get());
    const rlimit small{15, RLIM_INFINITY}, none{RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_FSIZE, &small);
    log.warn("first");   // in part
    log.warn("second");  // not at all: SIGXFSZ has its default action here
    setrlimit(RLIMIT_FSIZE, &none);
    log.warn("third");
    return true;
  });
  EXPECT_EQ(code, 0);
  EXPECT_EQ(content("log"), "tutti warn: fir\ntutti warn: 2 lines were lost here\ntutti warn: third\n");
}

TEST_F(LogTest, WhatTookTheNumberOfAClosedStderrIsNotWrittenTo) {
  const int code = in_a_child([this] {
    close(STDERR_FILENO);
    const int other = open(path("other").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    Log().warn("not there");
    return other == STDERR_FILENO;
  });
  EXPECT_EQ(code, 0);
  EXPECT_EQ(content("other"), "");
}

// The program's own writes follow the library's: a file is written at the position that both share.
TEST_F(LogTest, AFileAsStderrKeepsItsOrder) {
  const int code = in_a_child([this] {
    const int file = open(path("err").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    dup2(file, STDERR_FILENO);
    Log().warn("one");
    return write(STDERR_FILENO, "two\n", 4) == 4;
  });
  EXPECT_EQ(code, 0);
  EXPECT_EQ(content("err"), "tutti warn: one\ntwo\n");
}

TEST_F(LogTest, AFifoThatNobodyReadsIsAnErrorAtOnce) {
  ASSERT_EQ(mkfifo(path("fifo").c_str(), 0600), 0);
  const auto fd = open_log_file(path("fifo"), 0);
  ASSERT_FALSE(fd.ok());
  EXPECT_THAT(fd.status().message(), HasSubstr("opening the log file"));
}

TEST_F(LogTest, ALongLineIsCutBetweenCharacters) {
  const auto fd = open_log_file(path("log"), 0);
  ASSERT_TRUE(fd.ok());
  std::string text = "x";
  for (int i = 0; i < 3000; ++i) text += "ä";
  Log(LogLevel::warn, "tutti", fd->get()).warn(text);
  const std::string line = content("log");
  EXPECT_LE(line.size(), static_cast<size_t>(PIPE_BUF));
  EXPECT_TRUE(line.ends_with("ä …\n")) << line.substr(line.size() - 20);
}

TEST_F(LogTest, FileNamePatterns) {
  const std::string name = host_name() + "." + std::to_string(getpid()) + ".7.%";
  ASSERT_TRUE(open_log_file(path("%h.%p.%r.%%"), 7).ok());
  EXPECT_TRUE(fs::exists(path(name)));
  ASSERT_TRUE(open_log_file(path("r%r"), -1).ok());
  EXPECT_TRUE(fs::exists(path("runknown")));
}

TEST_F(LogTest, FileIsAppendedTo) {
  for (const char* text : {"one", "two"}) {
    const auto fd = open_log_file(path("log"), 0);
    ASSERT_TRUE(fd.ok());
    Log(LogLevel::warn, "tutti", fd->get()).warn(text);
  }
  EXPECT_EQ(content("log"), "tutti warn: one\ntutti warn: two\n");
}

TEST_F(LogTest, FileErrorsAreSentences) {
  for (const char* pattern : {"%x", "log%"}) {
    const auto fd = open_log_file(path(pattern), 0);
    ASSERT_FALSE(fd.ok());
    EXPECT_EQ(fd.status().code(), Code::invalid_argument);
    EXPECT_NE(fd.status().message().find("after % comes"), std::string::npos);
  }
  const auto fd = open_log_file(path("none/log"), 0);
  ASSERT_FALSE(fd.ok());
  EXPECT_NE(fd.status().message().find("No such file or directory"), std::string::npos);
}

}  // namespace
}  // namespace tutti
