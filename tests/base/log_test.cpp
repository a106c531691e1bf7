#include "log.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "host_identity.h"

namespace tutti {
namespace {

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
