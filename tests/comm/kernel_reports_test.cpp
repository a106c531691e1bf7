// What becomes of the words that a rank's kernels write: whom it waits for, what is amiss, and what is not believed.
#include "kernel_reports.h"

#include <gmock/gmock.h>

#include "clock.h"
#include "device_call.h"

namespace tutti {
namespace {

using cuda::DeviceReport;

constexpr uint32_t kHash = 0xABCD;
constexpr uint64_t kNow = 1000 * kSecond;

// Rank 1 of three, whose kernels are in all_reduce #7.
class Reports : public testing::Test {
 protected:
  Reports() {
    parts_.rank = 1;
    parts_.size = 3;
    parts_.rank_names = {"rank 0", "rank 1", "rank 2"};
    parts_.timeout_ns = 100 * kSecond;
    parts_.given_up = &others_gave_up_;
    signature_.data_type = static_cast<uint8_t>(DataType::float32) | kOnDevice;
    signature_.sequence = 7;
    signature_.count = 100;
    reports_.listen(words_, &given_up_);
    reports_.note(kHash, {signature_, 5, 0}, false);
  }
  ControlWatch::Look look(uint64_t now = kNow) { return reports_.look(now); }
  // Of kHash, by peer 2 in step 3.
  static uint64_t said(DeviceReport::Kind kind, uint32_t seconds = 1) { return DeviceReport{kind, seconds, 2, 3, kHash}.word(); }
  void waits(uint64_t word) { words_[0] = word; }
  void worse(uint64_t word) { words_[1] = word; }
  static bool is_nothing(const ControlWatch::Look& look) { return !look.stall && !look.over_time && !look.failure; }

  CommunicatorParts parts_;
  std::atomic<uint32_t> others_gave_up_ = 0;
  uint64_t words_[2] = {};
  uint32_t given_up_ = 0;
  Signature signature_;
  KernelReports reports_{parts_, "device 0"};
};

TEST_F(Reports, SayWhomAKernelWaitsFor) {
  EXPECT_TRUE(is_nothing(look()));
  EXPECT_EQ(reports_.hearsay()->waiting_ns, 0);
  waits(said(DeviceReport::Kind::waits, 2));
  const auto heard = look();
  ASSERT_TRUE(heard.stall);
  EXPECT_EQ(heard.stall->signature, signature_);
  EXPECT_EQ(heard.stall->waits_for, 2);
  EXPECT_EQ(heard.stall->step, 3);
  EXPECT_EQ(heard.stall->steps, 5);
  EXPECT_EQ(heard.stall->waited_ns, 2 * kSecond);
  EXPECT_FALSE(heard.over_time);
  EXPECT_FALSE(heard.failure);
  EXPECT_EQ(reports_.hearsay()->waiting_ns, kNow);
  EXPECT_TRUE(is_nothing(look()));  // a word is looked at once
}

// A word counts no further than 63 seconds, the host does.
TEST_F(Reports, AreOverTime) {
  uint64_t now = kNow;
  for (uint32_t second = 62; second < 100; ++second, now += kSecond) {
    waits(said(DeviceReport::Kind::waits, second));
    EXPECT_FALSE(look(now).over_time) << second;
  }
  waits(said(DeviceReport::Kind::waits, 100));
  const auto heard = look(now);
  EXPECT_TRUE(heard.over_time);
  EXPECT_EQ(heard.stall->waited_ns, 100 * kSecond);
  reports_.note(kHash, {signature_, 5, 3 * kSecond}, false);  // a call of a shorter timeout
  waits(said(DeviceReport::Kind::waits, 2));
  EXPECT_FALSE(look(now).over_time);
  waits(said(DeviceReport::Kind::waits, 3));
  EXPECT_TRUE(look(now).over_time);
}

TEST_F(Reports, OfMemoryThatWasNotPublished) {
  worse(said(DeviceReport::Kind::stray));
  const auto heard = look();
  ASSERT_TRUE(heard.failure);
  EXPECT_EQ(heard.failure->code(), Code::internal);
  EXPECT_EQ(heard.failure->message(),
            "rank 2 has lent rank 1 memory that it has not published, in " + describe(signature_) + "; the two do not work alike");
}

// The other ranks are given two seconds to tell what they have called.
TEST_F(Reports, OfAMismatchBesideAWait) {
  waits(DeviceReport{DeviceReport::Kind::waits, 1, 0, 1, kHash}.word());
  worse(said(DeviceReport::Kind::mismatch));
  const auto first = look();
  ASSERT_TRUE(first.stall);
  EXPECT_EQ(first.stall->waits_for, 2);
  EXPECT_FALSE(first.failure);
  worse(said(DeviceReport::Kind::mismatch, 2));
  EXPECT_FALSE(look(kNow + kSecond).failure);
  worse(said(DeviceReport::Kind::mismatch, 3));
  const auto last = look(kNow + 2 * kSecond);
  ASSERT_TRUE(last.failure);
  EXPECT_EQ(last.failure->code(), Code::mismatch);
  EXPECT_EQ(last.failure->message(), "ranks called different things: rank 1 is in " + describe(signature_) +
                                         ", and a message of rank 2 is of another call, or of another length");
}

// After 2.5 seconds of silence what a kernel says is of another wait.
TEST_F(Reports, AMismatchIsForgotten) {
  worse(said(DeviceReport::Kind::mismatch));
  EXPECT_FALSE(look().failure);
  worse(said(DeviceReport::Kind::mismatch));
  EXPECT_FALSE(look(kNow + 3 * kSecond).failure);
  worse(said(DeviceReport::Kind::mismatch));
  EXPECT_TRUE(look(kNow + 5 * kSecond).failure);
}

TEST_F(Reports, OfUnknownCallsAndRanksAreNotBelieved) {
  for (const auto kind : {DeviceReport::Kind::waits, DeviceReport::Kind::mismatch, DeviceReport::Kind::stray}) {
    worse(DeviceReport{kind, 1, 2, 3, kHash + 1}.word());
    EXPECT_TRUE(is_nothing(look()));
    worse(DeviceReport{kind, 1, 3, 3, kHash}.word());
    EXPECT_TRUE(is_nothing(look()));
  }
}

// Of other calls only the last ones are remembered.
TEST_F(Reports, CallsOfGraphsAreRemembered) {
  Signature captured = signature_;
  captured.count = 8;
  reports_.note(kHash + 1, {captured, 5, 0}, true);
  for (uint32_t i = 2; i < 3000; ++i) reports_.note(kHash + i, {}, false);
  waits(said(DeviceReport::Kind::waits));
  EXPECT_TRUE(is_nothing(look()));
  waits(DeviceReport{DeviceReport::Kind::waits, 1, 0, 3, kHash + 1}.word());
  const auto heard = look();
  ASSERT_TRUE(heard.stall);
  EXPECT_EQ(heard.stall->signature, captured);
}

TEST_F(Reports, KernelsAreToldOfAFailure) {
  look();
  EXPECT_EQ(given_up_, 0);
  others_gave_up_ = 1;
  look();
  EXPECT_EQ(given_up_, 1);
  given_up_ = 0;
  others_gave_up_ = 0;
  reports_.failed();
  EXPECT_EQ(given_up_, 1);
  EXPECT_EQ(others_gave_up_, 1);
}

}  // namespace
}  // namespace tutti
