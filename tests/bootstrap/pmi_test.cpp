// PMI-1, spoken with a proxy that the test plays.
#include "pmi.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "bootstrap_fixture.h"
#include "clock.h"

namespace tutti {
namespace {

using testing::HasSubstr;

// Not an OwnedFd, which would be closed in a child.
struct End {
  ~End() { reset(); }
  int get() const { return fd; }
  void reset(int other = -1) {
    if (fd >= 0) ::close(fd);
    fd = other;
  }
  int fd = -1;
};

struct Proxy {
  Proxy() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    ours.reset(ends[0]);
    theirs.reset(ends[1]);
  }
  // Answers each line by the next answer; returns the lines.
  std::vector<std::string> serve(const std::vector<std::string>& answers) {
    std::vector<std::string> lines;
    for (const std::string& answer : answers) {
      std::string line;
      for (char c; ::recv(ours.get(), &c, 1, 0) == 1 && c != '\n';) line += c;
      lines.push_back(line);
      (void)!::send(ours.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
    }
    return lines;
  }
  End ours, theirs;
};

std::string key_of(const std::string& line) { return line.substr(line.find("key=")); }

// In a process of its own: the connection to a proxy is one per process, and the last word is said at exit.
TEST(Pmi, EachBootstrapHasAKeyOfItsOwnAndTheProcessSaysFinalizeOnce) {
  Proxy proxy;
  const pid_t child = ::fork();
  if (child == 0) {
    bool right = true;
    for (int bootstrap = 0; bootstrap < 2; ++bootstrap) {
      const auto text = open_pmi(proxy.theirs.get(), 0, 2)->share("a;b=c", now_ns() + kLong);
      right = right && text.ok() && *text == "d=e";
    }
    std::exit(right ? 0 : 1);  // with destructors
  }
  const std::vector<std::string> bootstrap = {"cmd=my_kvsname kvsname=k1\n", "cmd=put_result rc=0 msg=success\n",
                                              "cmd=barrier_out\n", "cmd=get_result rc=0 msg=success value=d=e\n"};
  std::vector<std::string> answers = {"cmd=response_to_init rc=0\n"};
  for (int i = 0; i < 2; ++i) answers.insert(answers.end(), bootstrap.begin(), bootstrap.end());
  answers.push_back("cmd=finalize_ack\n");
  const auto lines = proxy.serve(answers);
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  ASSERT_EQ(lines.size(), 10u);
  EXPECT_EQ(lines[0], "cmd=init pmi_version=1 pmi_subversion=1");
  EXPECT_EQ(lines[2], "cmd=put kvsname=k1 " + key_of(lines[2]));
  EXPECT_EQ(lines[4], "cmd=get kvsname=k1 " + key_of(lines[4]));
  EXPECT_EQ(key_of(lines[2]), key_of(lines[4]) + " value=a;b=c");
  EXPECT_NE(key_of(lines[4]), key_of(lines[8]));
  EXPECT_EQ(lines[9], "cmd=finalize");
}

// The words of `share` to a proxy that answers so and then nothing more.
std::string sentence_after(const std::vector<std::string>& answers, uint64_t patience_ns, bool hang_up) {
  Proxy proxy;
  int words[2];
  EXPECT_EQ(::pipe2(words, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    proxy.ours.reset();
    const std::string text = open_pmi(proxy.theirs.get(), 1, 2)->share("", now_ns() + patience_ns).status().message();
    ::_exit(::write(words[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : 1);
  }
  ::close(words[1]);
  proxy.serve(answers);
  if (hang_up) {
    proxy.theirs.reset();
    proxy.ours.reset();
  }
  std::string text(1000, '\0');
  const ssize_t n = ::read(words[0], text.data(), text.size());
  ::close(words[0]);
  ::waitpid(child, nullptr, 0);
  return text.substr(0, n > 0 ? static_cast<size_t>(n) : 0);
}

const std::string kInit = "cmd=response_to_init rc=0\n", kSpace = "cmd=my_kvsname kvsname=k1\n";
// A program that a rank starts inherits variables and descriptor; so does a child that only forks.
TEST(Pmi, AChildIsToldThatThePlaceIsUsed) {
  Proxy proxy;
  const pid_t rank = ::fork();
  if (rank == 0) {
    if (!open_pmi(proxy.theirs.get(), 0, 2)->share("a", now_ns() + kLong).ok()) std::_Exit(1);
    const pid_t child = ::fork();
    if (child == 0) {
      const Status refused = open_pmi(proxy.theirs.get(), 0, 2)->share("b", now_ns() + kLong).status();
      const std::string who = "process " + std::to_string(::getppid()) + " has used the place in the job that PMI_RANK";
      std::_Exit(refused.code() == Code::invalid_argument && refused.message().find(who) != std::string::npos ? 0 : 1);
    }
    std::_Exit(exit_code_of(child));
  }
  proxy.serve({kInit, kSpace, "cmd=put_result rc=0 msg=success\n", "cmd=barrier_out\n", "cmd=get_result rc=0 value=a\n"});
  EXPECT_EQ(exit_code_of(rank), 0);
}

TEST(Pmi, ADescriptorThatIsNoSocketIsASentence) {
  const OwnedFd file(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  const Status status = open_pmi(file.get(), 0, 2)->share("a", now_ns() + kLong).status();
  EXPECT_EQ(status.code(), Code::invalid_argument);
  EXPECT_THAT(status.message(), HasSubstr("PMI_FD=" + std::to_string(file.get()) + " is not open here"));
}

TEST(Pmi, BarrierThatDoesNotEndIsASentence) {
  EXPECT_THAT(sentence_after({kInit, kSpace, ""}, kShort, false),
              HasSubstr("no answer in time; do all ranks of the job create this communicator?"));
}

TEST(Pmi, ProxyThatDiesIsASentence) {
  EXPECT_THAT(sentence_after({kInit, kSpace, "rubbish\n"}, kLong, true), HasSubstr("it closed the connection"));
}

TEST(Pmi, ValueThatIsNotThereIsASentence) {
  EXPECT_THAT(sentence_after({kInit, kSpace, "cmd=barrier_out\n", "cmd=get_result rc=-1 msg=key_not_found\n"}, kLong, false),
              HasSubstr("failed: \"cmd=get_result rc=-1 msg=key_not_found\""));
}

}  // namespace
}  // namespace tutti
