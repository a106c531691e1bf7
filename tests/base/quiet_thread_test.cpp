#include "quiet_thread.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <mutex>
#include <stdexcept>

namespace tutti {
namespace {

using testing::HasSubstr;

sigset_t mask() {
  sigset_t set;
  pthread_sigmask(SIG_BLOCK, nullptr, &set);
  return set;
}

TEST(QuietThread, TakesNoSignalsButThoseOfItsOwnFaults) {
  sigset_t of_thread;
  auto thread = start_quiet_thread([&] { of_thread = mask(); }, "tutti-test");
  ASSERT_TRUE(thread.ok());
  thread->join();
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGCHLD, SIGPIPE, SIGALRM}) EXPECT_EQ(sigismember(&of_thread, signal), 1);
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) EXPECT_EQ(sigismember(&of_thread, signal), 0);
  const sigset_t here = mask();
  EXPECT_EQ(sigismember(&here, SIGINT), 0);
}

TEST(QuietThread, HasAName) {
  char name[16] = {};
  auto thread = start_quiet_thread([&] { pthread_getname_np(pthread_self(), name, sizeof name); }, "tutti-test");
  ASSERT_TRUE(thread.ok());
  thread->join();
  EXPECT_STREQ(name, "tutti-test");
}

TEST(QuietThread, TellsOfWhatEscapes) {
  std::string told;
  auto thread =
      start_quiet_thread([] { throw std::runtime_error("no more"); }, "tutti-test", [&](const std::string& what) { told = what; });
  ASSERT_TRUE(thread.ok());
  thread->join();
  EXPECT_EQ(told, "the thread tutti-test ended: no more");
  auto other = start_quiet_thread([] { throw 7; }, "tutti-test", [&](const std::string& what) { told = what; });
  ASSERT_TRUE(other.ok());
  other->join();
  EXPECT_THAT(told, HasSubstr("of an unknown kind"));
}

TEST(QuietThread, WarnsWhereNobodyIsToBeTold) {
  testing::internal::CaptureStderr();
  auto thread = start_quiet_thread([] { throw std::bad_alloc(); });
  ASSERT_TRUE(thread.ok());
  thread->join();
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "tutti warn: the thread tutti ended: std::bad_alloc\n");
}

TEST(QuietThread, SurvivesWhatTheOneToldThrows) {
  auto thread = start_quiet_thread([] { throw 1; }, "tutti-test", [](const std::string&) { throw 2; });
  ASSERT_TRUE(thread.ok());
  thread->join();
}

}  // namespace
}  // namespace tutti
