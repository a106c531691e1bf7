// Operations on a device's memory whose device does not come: whom the engine names when their time is over.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bounced_operation.h"
#include "engine_world.h"

namespace tutti::test {
namespace {

using testing::HasSubstr;

constexpr uint64_t kTimeoutNs = 100'000'000, kLong = 1'000'000'000'000;

Signature signature_of(Collective collective, uint32_t sequence) {
  Signature signature;
  signature.collective = static_cast<uint8_t>(collective);
  signature.sequence = sequence;
  signature.count = 100;
  return signature;
}

// Ends once the peer has come.
struct Piece final : Operation {
  Piece(const Signature& signature, bool peer_comes) : Operation(signature, "stub"), comes(peer_comes) {}
  void enter() noexcept override {}
  bool advance(bool) override { return std::exchange(moves, false); }
  bool started() const override { return true; }
  bool finished() const override { return comes; }
  int waits_for() const override { return 3; }
  uint32_t step() const override { return 0; }
  uint32_t steps() const override { return 1; }
  const bool comes;
  bool moves = true;
};

// A device that does no more than so much.
struct Device final : PieceCarrier {
  Device(size_t inputs, size_t results) : to_fetch(inputs), to_deliver(results) {}
  bool fetched(size_t piece) override { return piece < to_fetch; }
  void deliver(size_t) override {}
  bool delivered(size_t piece) override { return piece < to_deliver; }
  void finish() noexcept override {}
  std::string device() const override { return "device 7"; }
  const size_t to_fetch, to_deliver;
};

struct Watcher final : Supervisor {
  bool failed() const override { return !cause.ok(); }
  Status failure() const override { return cause; }
  void fail(int, const Status& status) override {
    if (cause.ok()) cause = status;
  }
  void stalled(const Operation& operation, uint64_t) override { reported.push_back(operation.signature().sequence); }
  void timed_out(const Operation& operation, uint64_t) override {
    cause = Status(Code::timeout, "call " + std::to_string(operation.signature().sequence) + " waits for rank " +
                                      std::to_string(operation.waits_for()));
  }
  void break_down() noexcept override { cause = Status(Code::system, "broken"); }
  std::string peer_name(int) const override { return "rank 1 (host b)"; }
  Status cause;
  std::vector<uint32_t> reported;  // calls
};

class BouncedTest : public testing::Test {
 protected:
  BouncedTest() : engine_({}, std::make_unique<LinkTable>(), watcher_) {
    engine_.link_table().executor = std::make_shared<HostExecutor>(nullptr);
  }
  std::shared_ptr<Operation> start(const Signature& signature, size_t inputs, size_t results, bool peer_comes,
                                   uint64_t timeout_ns = kTimeoutNs) {
    return *engine_.start(
        [&](LinkTable&) {
          std::vector<std::shared_ptr<Operation>> pieces;
          for (int i = 0; i < 3; ++i) pieces.push_back(std::make_shared<Piece>(signature, peer_comes));
          auto operation = std::make_shared<BouncedOperation>(std::make_unique<Device>(inputs, results), std::move(pieces));
          operation->timeout_ns = timeout_ns;
          return operation;
        },
        false);
  }
  Watcher watcher_;
  Engine engine_;
};

TEST_F(BouncedTest, ItsOwnDeviceFetchesNothing) {
  const auto call = start(signature_of(Collective::all_reduce, 9), 1, 1, true);
  const Status status = engine_.drive(*call);
  EXPECT_EQ(status.code(), Code::timeout);
  EXPECT_THAT(status.message(),
              testing::MatchesRegex("rank 1 \\(host b\\) waited [0-9]\\.[0-9] s for its own device in all_reduce #9 .*"));
  EXPECT_THAT(status.message(), HasSubstr(": device 7 has not fetched the input of piece 2 of 3; look for work before the call on "
                                          "its stream that does not end"));
  EXPECT_TRUE(watcher_.reported.empty());  // nobody else is to blame
}

TEST_F(BouncedTest, ItsOwnDeviceDeliversNothing) {
  const auto call = start(signature_of(Collective::all_reduce, 9), 3, 2, true);
  EXPECT_THAT(engine_.drive(*call).message(), HasSubstr(": device 7 has not delivered the result of piece 3 of 3; "));
}

TEST_F(BouncedTest, ItsOwnDeviceDoesNotComeToAReceive) {
  const auto call = start(signature_of(Collective::point_to_point, 0), 0, 0, true);
  EXPECT_THAT(engine_.drive(*call).message(), HasSubstr(": device 7 has not come to the receive; "));
}

TEST_F(BouncedTest, APeerIsWaitedForAsEver) {
  const auto call = start(signature_of(Collective::all_reduce, 9), 3, 0, false);
  EXPECT_EQ(engine_.drive(*call).code(), Code::timeout);
  EXPECT_EQ(watcher_.cause.message(), "call 9 waits for rank 3");
}

// The device works in order: what comes later waits for the rank that the first one waits for.
TEST_F(BouncedTest, WhatIsBehindInTheQueueBlamesNoDevice) {
  (void)start(signature_of(Collective::all_reduce, 8), 3, 0, false, kLong);
  const auto call = start(signature_of(Collective::all_reduce, 9), 0, 0, true, 1'500'000'000);
  (void)engine_.drive(*call);
  EXPECT_EQ(watcher_.cause.message(), "call 8 waits for rank 3");
  EXPECT_THAT(watcher_.reported, testing::Each(8U));
  EXPECT_FALSE(watcher_.reported.empty());
}

// A receive is nobody's predecessor.
TEST_F(BouncedTest, AReceiveThatWaitsKeepsNoCollective) {
  (void)start(signature_of(Collective::point_to_point, 0), 3, 0, false, kLong);
  const auto call = start(signature_of(Collective::all_reduce, 9), 0, 0, true);
  EXPECT_THAT(engine_.drive(*call).message(), HasSubstr("its own device in all_reduce #9"));
}

}  // namespace
}  // namespace tutti::test
