// The bootstrap of ranks that are threads: blobs go round, the first cause of a failure reaches all, nobody waits for
// ever.
#include "thread_bootstrap.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "clock.h"

namespace tutti {
namespace {

using testing::ElementsAre;

constexpr uint64_t kLong = 60 * kSecond;

class ThreadBootstrapTest : public testing::Test {
 protected:
  ThreadBootstrap bootstrap(int rank, uint64_t timeout_ns = kLong) { return {rendezvous_, rank, now_ns() + timeout_ns}; }
  const std::shared_ptr<ThreadRendezvous> rendezvous_ = *ThreadRendezvous::open(3);
  const Status first_{Code::out_of_memory, "the first cause"}, second_{Code::system, "a consequence"};
};

TEST_F(ThreadBootstrapTest, BlobsGoRoundByRank) {
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 3; ++rank)
    threads.emplace_back([&, rank] {
      ThreadBootstrap mine = bootstrap(rank);
      for (int round = 0; round < 100; ++round) {
        const auto blob = [round](int from) { return std::to_string(from) + " in " + std::to_string(round); };
        const auto all = mine.exchange(blob(rank));
        ASSERT_TRUE(all.ok()) << all.status().message();
        EXPECT_THAT(*all, ElementsAre(blob(0), blob(1), blob(2)));
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(rendezvous_->failure().ok());
}

TEST_F(ThreadBootstrapTest, AllAreGivenTheFirstCause) {
  std::thread waits([&] { EXPECT_EQ(bootstrap(0).exchange("").status().message(), first_.message()); });
  ThreadBootstrap fails = bootstrap(1), follows = bootstrap(2);
  EXPECT_TRUE(fails.heard().ok());
  EXPECT_EQ(fails.fail(first_).message(), first_.message());
  waits.join();
  EXPECT_EQ(follows.fail(second_).message(), first_.message());
  EXPECT_EQ(follows.heard().code(), Code::out_of_memory);
  EXPECT_EQ(follows.exchange("").status().message(), first_.message());
}

TEST_F(ThreadBootstrapTest, WhoWaitsForSomethingElseHears) {
  ThreadBootstrap waits = bootstrap(0);
  EXPECT_FALSE(*await(waits, {}, now_ns()));
  std::thread fails([&] { (void)bootstrap(1).fail(first_); });
  for (int i = 0; i < 2; ++i) {  // and for good
    const auto heard = await(waits, {});
    ASSERT_FALSE(heard.ok());
    EXPECT_EQ(heard.status().message(), first_.message());
  }
  fails.join();
}

TEST_F(ThreadBootstrapTest, WhoDoesNotComeIsNamed) {
  std::thread other([&] { EXPECT_FALSE(bootstrap(0).exchange("").ok()); });
  const auto blobs = bootstrap(2, 10 * kMillisecond).exchange("");
  other.join();
  ASSERT_FALSE(blobs.ok());
  EXPECT_EQ(blobs.status().code(), Code::unreachable);
  EXPECT_THAT(blobs.status().message(), testing::HasSubstr("of this process did not come in time"));
}

}  // namespace
}  // namespace tutti
