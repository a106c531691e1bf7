// Capture of streams into graphs, and what is forbidden meanwhile.
#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "world.h"

namespace tutti::cuda::test {
namespace {

class CudaGraph : public CudaTest {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    if (!is_ready()) return;
    module_ = std::make_unique<Module>(value_of(Module::load(context(), probes())));
    add_ = std::make_unique<Function>(value_of(module_->function("probe_add")));
  }
  void TearDown() override {
    add_.reset();
    module_.reset();
    CudaTest::TearDown();
  }
  void add(CUdeviceptr from, CUdeviceptr to, uint32_t number, CUstream on) const {
    const probes::Add call{words_at(from), words_at(to), 1, number};
    EXPECT_OK(add_->launch(1, 32, &call, on));
  }
  void begin(CUstream on, CaptureMode mode = CaptureMode::global) const {
    ASSERT_EQ(driver().call<"cuStreamBeginCapture">(on, mode), Error::success);
  }
  // The capture's graph, ready to be launched; null where it failed, and then why.
  CUgraphExec end(CUstream on, Error expected = Error::success) const {
    CUgraph graph = nullptr;
    EXPECT_EQ(driver().call<"cuStreamEndCapture">(on, &graph), expected);
    if (expected != Error::success) {
      EXPECT_EQ(graph, nullptr);
      return nullptr;
    }
    CUgraphExec ready = nullptr;
    EXPECT_EQ(driver().call<"cuGraphInstantiateWithFlags">(&ready, graph, 0ULL), Error::success);
    EXPECT_EQ(driver().call<"cuGraphDestroy">(graph), Error::success);
    return ready;
  }
  void replay(CUgraphExec graph, CUstream on) const { EXPECT_EQ(driver().call<"cuGraphLaunch">(graph, on), Error::success); }
  void destroy(CUgraphExec graph) const { EXPECT_EQ(driver().call<"cuGraphExecDestroy">(graph), Error::success); }

 private:
  std::unique_ptr<Module> module_;
  std::unique_ptr<Function> add_;
};

TEST_F(CudaGraph, DoesNothingUntilItIsLaunched) {
  const DeviceMemory memory = device_memory(8);
  write(memory.address(), {1, 0});
  const Stream on = stream();
  EXPECT_FALSE(value_of(capture_of(*context(), on.get())).has_value());
  begin(on.get());
  EXPECT_TRUE(value_of(capture_of(*context(), on.get())).has_value());
  add(memory.address(), memory.address(), 1, on.get());
  EXPECT_OK(copy(*context(), memory.address() + 4, memory.address(), 4, on.get()));
  CUgraphExec graph = end(on.get());
  EXPECT_FALSE(value_of(capture_of(*context(), on.get())).has_value());
  finish(on.get());
  EXPECT_EQ(read(memory.address(), 2), (std::vector<uint32_t>{1, 0}));
  for (int i = 0; i < 3; ++i) replay(graph, on.get());
  finish(on.get());
  EXPECT_EQ(read(memory.address(), 2), (std::vector<uint32_t>{4, 4}));
  destroy(graph);
}

// Parameters are the graph's from the moment of their capture.
TEST_F(CudaGraph, KeepsParametersByValue) {
  const DeviceMemory memory = device_memory(4);
  write(memory.address(), {0});
  const Stream on = stream();
  begin(on.get());
  for (uint32_t number = 1; number <= 4; ++number) add(memory.address(), memory.address(), number, on.get());
  CUgraphExec graph = end(on.get());
  replay(graph, on.get());
  replay(graph, on.get());
  finish(on.get());
  EXPECT_EQ(read(memory.address(), 1)[0], 20U);
  destroy(graph);
}

TEST_F(CudaGraph, ForksAndJoinsByEvents) {
  (void)set_mood("shuffled,late");
  const DeviceMemory memory = device_memory(16);
  const Stream first = stream(), second = stream();
  const Event fork = value_of(Event::create(context())), join = value_of(Event::create(context()));
  begin(first.get());
  EXPECT_OK(fill(*context(), memory.address(), 0, 16, first.get()));
  add(memory.address(), memory.address(), 5, first.get());
  EXPECT_OK(fork.record(first.get()));
  EXPECT_OK(wait_for(*context(), second.get(), fork));
  EXPECT_TRUE(value_of(capture_of(*context(), second.get())).has_value());
  add(memory.address(), memory.address() + 4, 10, second.get());  // either of these may be first
  add(memory.address(), memory.address() + 8, 20, first.get());
  EXPECT_OK(join.record(second.get()));
  EXPECT_OK(wait_for(*context(), first.get(), join));
  add(memory.address() + 4, memory.address() + 12, 100, first.get());
  CUgraphExec graph = end(first.get());
  EXPECT_FALSE(value_of(capture_of(*context(), second.get())).has_value());
  for (int i = 0; i < 5; ++i) {
    replay(graph, second.get());
    finish(second.get());
    EXPECT_EQ(read(memory.address(), 4), (std::vector<uint32_t>{5, 15, 25, 115}));
  }
  destroy(graph);
}

TEST_F(CudaGraph, IsNotMadeOfWorkThatIsNotJoined) {
  const DeviceMemory memory = device_memory(8);
  const Stream first = stream(), second = stream();
  const Event fork = value_of(Event::create(context()));
  begin(first.get());
  EXPECT_OK(fork.record(first.get()));
  EXPECT_OK(wait_for(*context(), second.get(), fork));
  add(memory.address(), memory.address(), 1, second.get());
  EXPECT_EQ(end(first.get(), Error::stream_capture_unjoined), nullptr);
  finish(second.get());
}

TEST_F(CudaGraph, DoesNotDependOnWorkOutside) {
  const Stream first = stream(), second = stream();
  const Event outside = value_of(Event::create(context()));
  EXPECT_OK(outside.record(second.get()));
  finish(second.get());
  begin(first.get());
  const Status isolated = wait_for(*context(), first.get(), outside);
  EXPECT_THAT(isolated.message(), testing::HasSubstr("CUDA_ERROR_STREAM_CAPTURE_ISOLATION"));
  CUgraph graph = nullptr;
  EXPECT_EQ(driver().call<"cuStreamEndCapture">(first.get(), &graph), Error::stream_capture_invalidated);
}

TEST_F(CudaGraph, IsSpoiltByAWaitForTheStream) {
  const Stream on = stream();
  begin(on.get());
  EXPECT_EQ(driver().call<"cuStreamSynchronize">(on.get()), Error::stream_capture_unsupported);
  EXPECT_EQ(end(on.get(), Error::stream_capture_invalidated), nullptr);
}

// Nobody may allocate while a thread captures, but who says that it has nothing to do with that.
TEST_F(CudaGraph, LetsOthersAllocateOnlyBesideIt) {
  const Stream on = stream();
  begin(on.get());
  {
    const BesideCaptures beside(driver());
    const DeviceMemory memory = device_memory(4096);
    EXPECT_NE(memory.address(), 0U);
  }
  std::thread([&] {
    const CurrentContext current(*context());
    const BesideCaptures beside(driver());
    EXPECT_TRUE(DeviceMemory::allocate(context(), 4096).ok());
  }).join();
  destroy(end(on.get()));

  begin(on.get());
  const auto refused = DeviceMemory::allocate(context(), 4096);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().code(), Code::unsupported);
  EXPECT_THAT(refused.status().message(), testing::HasSubstr("a stream is being captured into a graph"));
  EXPECT_EQ(end(on.get(), Error::stream_capture_invalidated), nullptr);
}

TEST_F(CudaGraph, IsNotHeardOfThroughItsEvents) {
  const Stream on = stream();
  const Event event = value_of(Event::create(context()));
  begin(on.get());
  EXPECT_OK(event.record(on.get()));
  const auto done = event.is_done();
  ASSERT_FALSE(done.ok());
  EXPECT_THAT(done.status().message(), testing::HasSubstr("CUDA_ERROR_CAPTURED_EVENT"));
  CUgraph graph = nullptr;
  (void)driver().call<"cuStreamEndCapture">(on.get(), &graph);
  if (graph) (void)driver().call<"cuGraphDestroy">(graph);
}

TEST_F(CudaGraph, IsNotMadeOfTheLegacyStream) {
  EXPECT_EQ(driver().call<"cuStreamBeginCapture">(legacy_stream(), CaptureMode::relaxed), Error::stream_capture_unsupported);
}

}  // namespace
}  // namespace tutti::cuda::test
