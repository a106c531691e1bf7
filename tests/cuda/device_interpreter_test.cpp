// The interpreter on a device: ranks that are streams, or rows of one launch.
#include <chrono>
#include <thread>

#include "device_rank.h"
#include "world.h"

namespace tutti::cuda::test {
namespace {

class CudaInterpreter : public CudaTest {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    if (!is_ready()) return;
    if (!has_kernels()) GTEST_SKIP() << "built without nvcc";
    module_ = std::make_unique<Module>(value_of(Module::load(context(), image(DataType::uint32))));
    kernel_ = std::make_unique<Function>(value_of(module_->function(interpreter_name(DataType::uint32, ReduceOp::sum))));
  }
  void TearDown() override {
    kernel_.reset();
    module_.reset();
    CudaTest::TearDown();
  }
  const Function& kernel() const { return *kernel_; }

  std::vector<DeviceRank> ranks(int size, size_t count, Protocol protocol = Protocol::flagged) const {
    std::vector<DeviceRank> all;
    for (int rank = 0; rank < size; ++rank) all.emplace_back(context(), rank, size, count, protocol);
    for (DeviceRank& rank : all)
      for (int peer = 0; peer < size; ++peer) rank.connect(peer, all[static_cast<size_t>(peer)].arena().data());
    return all;
  }
  static void expect_result(std::vector<DeviceRank>& ranks, size_t count, int reductions) {
    for (DeviceRank& rank : ranks)
      ASSERT_EQ(rank.result(), DeviceRank::expected(static_cast<int>(ranks.size()), count, reductions));
  }

 private:
  std::unique_ptr<Module> module_;
  std::unique_ptr<Function> kernel_;
};

TEST_F(CudaInterpreter, ReducesBetweenStreams) {
  const char* const moods[] = {"", "shuffled,late", "guarded"};
  for (const char* mood : moods) {
    (void)set_mood(mood);
    for (const size_t count : {1U, 255U, 3001U}) {
      for (const Protocol protocol : {Protocol::flagged, Protocol::stamped}) {
        SCOPED_TRACE(testing::Message() << count << " elements, mood " << mood
                                        << (protocol == Protocol::stamped ? ", stamped" : ""));
        std::vector<DeviceRank> all = ranks(2, count, protocol);
        for (int n = 0; n < 3; ++n)
          for (const DeviceRank& rank : all) rank.reduce(kernel());
        expect_result(all, count, 3);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Numbers of messages lie in the device's memory, so a graph can be launched again, before and after other launches.
TEST_F(CudaInterpreter, IsReplayed) {
  constexpr size_t kCount = 2000;
  std::vector<DeviceRank> all = ranks(2, kCount);
  std::vector<Recording> recordings;
  for (const DeviceRank& rank : all) {
    recordings.emplace_back(context(), rank.stream());
    rank.reduce(kernel());
    recordings.back().end();
  }
  for (const Recording& recording : recordings) recording.replay();
  for (const DeviceRank& rank : all) rank.reduce(kernel());
  for (int n = 0; n < 2; ++n)
    for (const Recording& recording : recordings) recording.replay();
  expect_result(all, kCount, 4);
}

TEST_F(CudaInterpreter, RunsAllRanksInOneLaunch) {
  constexpr int kSize = 5;
  constexpr size_t kCount = 1000;
  (void)set_mood("shuffled");
  for (const Protocol protocol : {Protocol::flagged, Protocol::stamped}) {
    std::vector<DeviceRank> all = ranks(kSize, kCount, protocol);
    std::vector<DeviceCall> calls;
    for (const DeviceRank& rank : all) calls.push_back(rank.call());
    const DeviceMemory world = device_memory(kSize * sizeof(DeviceCall));
    EXPECT_OK(copy(*context(), world.address(), address_of(calls.data()), world.size(), all[0].stream()));
    DeviceCall call = calls[0];  // which says how much of a block's memory is needed
    call.world = reinterpret_cast<const DeviceCall*>(world.data());
    for (int n = 0; n < 2; ++n) ASSERT_EQ(all[0].launch(kernel(), call, kSize), Error::success);
    all[0].finish();
    expect_result(all, kCount, 2);
    if (HasFatalFailure()) return;
  }
}

// A peer that does not come is named, and the stream goes on when the host says so.
TEST_F(CudaInterpreter, EndsWhenTheRanksGiveUp) {
  std::vector<DeviceRank> all = ranks(2, 100);
  all[0].reduce(kernel());
  while (all[0].report() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const auto report = DeviceReport::of(all[0].report());
  EXPECT_EQ(report.kind, DeviceReport::Kind::waits);
  EXPECT_EQ(report.peer, 1U);
  all[0].give_up();
  const std::vector<uint32_t> unchanged = all[0].result();
  for (uint32_t i = 0; i < 100; ++i) ASSERT_EQ(unchanged[i], i);
  EXPECT_EQ(context()->lost(), Error::success);
}

TEST_F(CudaInterpreter, IsLaunchedWithNoMoreThanItCanHave) {
  std::vector<DeviceRank> all = ranks(2, 100);
  const DeviceCall call = all[0].call();
  EXPECT_EQ(value_of(kernel().attribute(FunctionAttribute::max_threads_per_block)), static_cast<int>(kInterpreterThreads));
  EXPECT_EQ(all[0].launch(kernel(), call, 1, kInterpreterThreads + 32), Error::invalid_value);
  EXPECT_EQ(all[0].launch(kernel(), call, 0), Error::invalid_value);
  EXPECT_GE(value_of(kernel().resident_blocks(static_cast<int>(kInterpreterThreads), 4096)), 1);
  // More than 48 KiB of a block's memory must be asked for.
  constexpr unsigned kMore = 48 << 10;
  EXPECT_EQ(all[0].launch(kernel(), call, 1, DeviceRank::kThreads, kMore), Error::invalid_value);
  EXPECT_EQ(context()->lost(), Error::success);
  const int most = value_of(context()->attribute(DeviceAttribute::max_shared_memory_per_block_optin));
  EXPECT_GT(most, 48 << 10);
  const auto set = [&](int bytes) {
    return driver().call<"cuFuncSetAttribute">(kernel().get(), FunctionAttribute::max_dynamic_shared_size_bytes, bytes);
  };
  EXPECT_EQ(set(most + 1), Error::invalid_value);
  ASSERT_EQ(set(most), Error::success);
  for (const DeviceRank& rank : all) {
    ASSERT_EQ(rank.launch(kernel(), rank.call(), 1, DeviceRank::kThreads, kMore), Error::success);
  }
  expect_result(all, 100, 1);
}

}  // namespace
}  // namespace tutti::cuda::test
