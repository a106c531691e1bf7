// Streams, events, and kernels on them.
#include <gmock/gmock.h>

#include <atomic>
#include <thread>

#include "world.h"

namespace tutti::cuda::test {
namespace {

using testing::HasSubstr;

// Kernels are loaded before a stream waits for anything, since loading may wait for the stream.
class CudaStream : public CudaTest {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    if (!is_ready()) return;
    module_ = std::make_unique<Module>(value_of(Module::load(context(), probes())));
    for (const char* kernel : {"probe_add", "probe_ping", "probe_write"}) (void)value_of(module_->function(kernel));
    word_ = std::make_unique<PinnedMemory>(pinned_memory(256));
    std::memset(word_->data(), 0, 256);
    address_ = value_of(word_->device_address());
  }
  void TearDown() override {
    module_.reset();
    word_.reset();
    CudaTest::TearDown();
  }
  const Module& module() const { return *module_; }
  // Words that the host and the device see.
  CUdeviceptr word(size_t i) const { return address_ + 4 * i; }
  std::atomic_ref<uint32_t> host_word(size_t i) const {
    return std::atomic_ref(reinterpret_cast<uint32_t*>(word_->data())[i]);  // NOLINT: made for words
  }
  void add(CUdeviceptr from, CUdeviceptr to, uint32_t number, CUstream on) const {
    launch(module(), "probe_add", probes::Add{words_at(from), words_at(to), 1, number}, on);
  }
  void wait_until_done(const Event& event) const {
    for (;;) {
      const auto done = event.is_done();
      ASSERT_TRUE(done.ok()) << done.status().message();
      if (*done) return;
      std::this_thread::yield();
    }
  }

 private:
  std::unique_ptr<Module> module_;
  std::unique_ptr<PinnedMemory> word_;
  CUdeviceptr address_ = 0;
};

TEST_F(CudaStream, RunsAKernelOverAllElements) {
  for (const uint32_t blocks : {1U, 7U, 100U})
    for (const uint32_t threads : {1U, 32U, 512U}) {
      const size_t count = 10'007;
      const DeviceMemory from = device_memory(count * 4), to = device_memory(count * 4);
      std::vector<uint32_t> values(count), expected(count);
      for (uint32_t i = 0; i < count; ++i) values[i] = i, expected[i] = i + 9;
      write(from.address(), values);
      const Stream on = stream();
      launch(module(), "probe_add", probes::Add{words_at(from.address()), words_at(to.address()), count, 9}, on.get(), blocks,
             threads);
      finish(on.get());
      EXPECT_EQ(read(to.address(), count), expected) << blocks << " blocks of " << threads;
    }
}

TEST_F(CudaStream, RunsKernelsInOrder) {
  const DeviceMemory memory = device_memory(4);
  const Stream on = stream();
  EXPECT_OK(fill(*context(), memory.address(), 0, 4, on.get()));
  for (uint32_t i = 0; i < 50; ++i) add(memory.address(), memory.address(), i, on.get());
  finish(on.get());
  EXPECT_EQ(read(memory.address(), 1)[0], 49U * 50 / 2);
}

// The parameter is copied when a kernel is launched, not when it runs.
TEST_F(CudaStream, KeepsParametersByValue) {
  const Stream on = stream();
  EXPECT_OK(wait_for_word(*context(), word(0), 1, on.get()));
  const Function function = value_of(module().function("probe_write"));
  auto parameter = std::make_unique<probes::Write>(probes::Write{words_at(word(1)), 5});
  EXPECT_OK(function.launch(1, 32, parameter.get(), on.get()));
  *parameter = {};
  parameter.reset();
  host_word(0).store(1, std::memory_order_release);
  finish(on.get());
  EXPECT_EQ(host_word(1).load(), 5U);
}

TEST_F(CudaStream, TellsWhetherItIsDone) {
  const Stream on = stream();
  const Event event = value_of(Event::create(context()));
  EXPECT_TRUE(value_of(event.is_done()));  // never recorded
  EXPECT_EQ(driver().call<"cuStreamQuery">(on.get()), Error::success);
  EXPECT_OK(wait_for_word(*context(), word(0), 1, on.get()));
  EXPECT_OK(event.record(on.get()));
  EXPECT_FALSE(value_of(event.is_done()));
  EXPECT_EQ(driver().call<"cuStreamQuery">(on.get()), Error::not_ready);
  host_word(0).store(1, std::memory_order_release);
  wait_until_done(event);
  finish(on.get());
  EXPECT_EQ(driver().call<"cuStreamQuery">(on.get()), Error::success);
}

TEST_F(CudaStream, WaitsForAnEventOfAnother) {
  const Stream first = stream(), second = stream();
  const Event event = value_of(Event::create(context()));
  const DeviceMemory memory = device_memory(8);
  write(memory.address(), {1, 1});
  EXPECT_OK(wait_for_word(*context(), word(0), 1, first.get()));
  add(memory.address(), memory.address(), 10, first.get());
  EXPECT_OK(event.record(first.get()));
  EXPECT_OK(wait_for(*context(), second.get(), event));
  add(memory.address(), memory.address() + 4, 100, second.get());
  EXPECT_EQ(driver().call<"cuStreamQuery">(second.get()), Error::not_ready);
  host_word(0).store(1, std::memory_order_release);
  finish(second.get());
  EXPECT_EQ(read(memory.address(), 2), (std::vector<uint32_t>{11, 111}));
}

// What was recorded when a stream began to wait counts, not what is recorded later.
TEST_F(CudaStream, WaitsForWhatWasRecordedThen) {
  const Stream first = stream(), second = stream();
  const Event event = value_of(Event::create(context()));
  EXPECT_OK(event.record(first.get()));
  EXPECT_OK(wait_for(*context(), second.get(), event));
  EXPECT_OK(wait_for_word(*context(), word(0), 1, first.get()));
  EXPECT_OK(event.record(first.get()));
  finish(second.get());
  EXPECT_FALSE(value_of(event.is_done()));
  host_word(0).store(1, std::memory_order_release);
  finish(first.get());
  EXPECT_TRUE(value_of(event.is_done()));
}

TEST_F(CudaStream, IsNotOrderedWithTheDefaultStream) {
  const Stream on = stream();
  EXPECT_OK(wait_for_word(*context(), word(0), 1, on.get()));
  add(word(1), word(1), 3, legacy_stream());
  finish(legacy_stream());
  EXPECT_EQ(host_word(1).load(), 3U);
  EXPECT_EQ(driver().call<"cuStreamQuery">(on.get()), Error::not_ready);
  host_word(0).store(1, std::memory_order_release);
  finish(on.get());
}

// Streams that are not made to differ wait for the default stream, and it for them.
TEST_F(CudaStream, OfTheUserMayBeOrderedWithTheDefaultStream) {
  CUstream blocking = nullptr;
  ASSERT_EQ(driver().call<"cuStreamCreate">(&blocking, 0U), Error::success);
  const DeviceMemory memory = device_memory(8);
  write(memory.address(), {0, 0});
  EXPECT_OK(wait_for_word(*context(), word(0), 1, blocking));
  add(memory.address(), memory.address(), 1, blocking);
  add(memory.address(), memory.address() + 4, 20, legacy_stream());
  add(memory.address() + 4, word(1), 0, blocking);
  const Event event = value_of(Event::create(context()));
  EXPECT_OK(event.record(legacy_stream()));
  const Stream apart = stream();
  add(word(2), word(2), 1, apart.get());  // what is out of order has some time to show itself
  finish(apart.get());
  EXPECT_FALSE(value_of(event.is_done()));
  host_word(0).store(1, std::memory_order_release);
  finish(blocking);
  EXPECT_EQ(host_word(1).load(), 21U);
  EXPECT_TRUE(value_of(event.is_done()));
  EXPECT_EQ(driver().call<"cuStreamDestroy">(blocking), Error::success);
}

TEST_F(CudaStream, OfAThreadIsItsOwn) {
  EXPECT_OK(wait_for_word(*context(), word(0), 1, per_thread_stream()));
  std::thread([&] {
    const CurrentContext current(*context());
    add(word(1), word(1), 6, per_thread_stream());
    finish(per_thread_stream());
  }).join();
  EXPECT_EQ(host_word(1).load(), 6U);
  EXPECT_EQ(driver().call<"cuStreamQuery">(per_thread_stream()), Error::not_ready);
  host_word(0).store(1, std::memory_order_release);
  finish(per_thread_stream());
}

TEST_F(CudaStream, MayBeDestroyedBeforeItIsDone) {
  const Event event = value_of(Event::create(context()));
  {
    const Stream on = stream();
    EXPECT_OK(wait_for_word(*context(), word(0), 1, on.get()));
    add(word(1), word(1), 8, on.get());
    EXPECT_OK(event.record(on.get()));
  }
  host_word(0).store(1, std::memory_order_release);
  wait_until_done(event);
  EXPECT_EQ(host_word(1).load(), 8U);
}

TEST_F(CudaStream, WaitsForAWordAsNumbersWrap) {
  const Stream on = stream();
  host_word(0).store(0xFFFFFFF0, std::memory_order_release);
  EXPECT_OK(wait_for_word(*context(), word(0), 2, on.get()));
  EXPECT_OK(write_word(*context(), word(1), 7, on.get()));
  EXPECT_EQ(driver().call<"cuStreamQuery">(on.get()), Error::not_ready);
  host_word(0).store(3, std::memory_order_release);
  finish(on.get());
  EXPECT_EQ(host_word(1).load(std::memory_order_acquire), 7U);
}

TEST_F(CudaStream, WaitsForAWordOfTheDevice) {
  const DeviceMemory memory = device_memory(8);
  write(memory.address(), {0, 0});
  const Stream first = stream(), second = stream();
  EXPECT_OK(wait_for_word(*context(), memory.address(), 1, first.get()));
  add(memory.address(), memory.address() + 4, 1, first.get());
  EXPECT_OK(write_word(*context(), memory.address(), 1, second.get()));
  finish(first.get());
  EXPECT_EQ(read(memory.address() + 4, 1)[0], 2U);
}

TEST_F(CudaStream, CallsTheHost) {
  const Stream on = stream();
  const DeviceMemory memory = device_memory(4);
  struct Seen {
    std::atomic_ref<uint32_t> word;
    std::atomic<uint32_t> value = 0;
  } seen{host_word(1)};
  write(memory.address(), {5});
  add(memory.address(), word(1), 1, on.get());
  EXPECT_OK(call_host(
      *context(),
      [](void* argument) {
        auto& told = *static_cast<Seen*>(argument);
        told.value = told.word.load();
      },
      &seen, on.get()));
  finish(on.get());
  EXPECT_EQ(seen.value, 6U);
}

// Kernels of two streams run at once: each waits for the other.
TEST_F(CudaStream, RunsBesideAnother) {
  const Stream first = stream(), second = stream();
  const DeviceMemory memory = device_memory(2 * sizeof(probes::Report) + 8);
  EXPECT_OK(fill(*context(), memory.address(), 0, memory.size(), first.get()));
  finish(first.get());
  auto* const reports = static_cast<probes::Report*>(pointer_to(memory.address()));
  const CUdeviceptr words = memory.address() + 2 * sizeof(probes::Report);
  const Function ping = value_of(module().function("probe_ping"));
  for (const uint32_t side : {0U, 1U}) {
    const probes::Ping call{
        words_at(words + 4 * side), words_at(words + 4 * (1 - side)), reports + side, probes::kLongestWait, 100, side};
    EXPECT_OK(ping.launch(1, 32, &call, side == 0 ? first.get() : second.get()));
  }
  finish(first.get());
  finish(second.get());
  std::vector<uint32_t> values = read(memory.address(), memory.size() / 4);
  probes::Report found[2];
  std::memcpy(found, values.data(), sizeof(found));
  EXPECT_EQ(found[0].reached, 1U);
  EXPECT_EQ(found[1].reached, 1U);
  EXPECT_EQ(values[12], 100U);
  EXPECT_EQ(values[13], 100U);
}

TEST_F(CudaStream, MeasuresTime) {
  const Stream on = stream();
  const Event begin = value_of(Event::create(context(), Event::Timing::on)),
              end = value_of(Event::create(context(), Event::Timing::on));
  EXPECT_OK(begin.record(on.get()));
  add(word(1), word(1), 1, on.get());
  EXPECT_OK(end.record(on.get()));
  finish(on.get());
  float milliseconds = -1;
  EXPECT_EQ(driver().call<"cuEventElapsedTime">(&milliseconds, begin.get(), end.get()), Error::success);
  EXPECT_GE(milliseconds, 0.0F);
}

TEST_F(CudaStream, TellsWhatAKernelNeeds) {
  const Function function = value_of(module().function("probe_add"));
  EXPECT_GT(value_of(function.attribute(FunctionAttribute::num_regs)), 0);
  EXPECT_GE(value_of(function.resident_blocks(512, 0)), 1);
  EXPECT_GE(value_of(function.resident_blocks(32, 0)), value_of(function.resident_blocks(1024, 0)));
  const auto none = module().function("no_such_kernel");
  ASSERT_FALSE(none.ok());
  EXPECT_THAT(none.status().message(), HasSubstr("CUDA cannot load the kernel no_such_kernel: CUDA_ERROR_NOT_FOUND"));
}

TEST_F(CudaStream, RefusesTooManyThreads) {
  const probes::Empty nothing{};
  const Status refused = value_of(module().function("probe_empty")).launch(1, 4096, &nothing, legacy_stream());
  EXPECT_EQ(refused.code(), Code::system);
  EXPECT_THAT(refused.message(), HasSubstr("CUDA cannot launch a kernel: CUDA_ERROR_INVALID_VALUE"));
  EXPECT_EQ(context()->lost(), Error::success);
}

// The order of blocks, of streams and of what rests is any.
TEST_F(CudaStream, MayBeLateAndShuffled) {
  NEEDS_MOOD("late,shuffled");
  const DeviceMemory memory = device_memory(4000);
  const Stream first = stream(), second = stream();
  const Event event = value_of(Event::create(context()));
  for (int i = 0; i < 5; ++i) {
    EXPECT_OK(fill(*context(), memory.address(), 0, 4000, first.get()));
    launch(module(), "probe_add", probes::Add{words_at(memory.address()), words_at(memory.address()), 1000, 1}, first.get(), 20,
           64);
    EXPECT_OK(event.record(first.get()));
    EXPECT_OK(wait_for(*context(), second.get(), event));
    launch(module(), "probe_add", probes::Add{words_at(memory.address()), words_at(memory.address()), 1000, 2}, second.get(), 20,
           64);
    EXPECT_OK(event.record(second.get()));
    EXPECT_OK(wait_for(*context(), first.get(), event));
  }
  finish(first.get());
  EXPECT_EQ(read(memory.address(), 1000), std::vector<uint32_t>(1000, 3));
}

TEST_F(CudaStream, LosesTheContextByAKernelThatFails) {
  const DeviceMemory memory = device_memory(4);
  const Event event = value_of(Event::create(context()));
  const Stream on = stream();
  NEEDS_MOOD("fail=kernel:700:2");
  add(word(1), word(1), 1, on.get());
  EXPECT_OK(event.record(on.get()));
  wait_until_done(event);
  EXPECT_EQ(context()->lost(), Error::success);
  add(word(1), word(1), 1, on.get());
  EXPECT_EQ(driver().call<"cuStreamSynchronize">(on.get()), Error::illegal_address);
  const auto done = event.is_done();
  ASSERT_FALSE(done.ok());
  EXPECT_EQ(done.status().code(), Code::system);
  EXPECT_THAT(done.status().message(), HasSubstr("CUDA cannot carry out what an event waits for: CUDA_ERROR_ILLEGAL_ADDRESS (an "
                                                 "illegal memory access was encountered); "));
  EXPECT_EQ(context()->lost(), Error::illegal_address);
  EXPECT_FALSE(DeviceMemory::allocate(context(), 4).ok());
  EXPECT_FALSE(Stream::create(context()).ok());
  EXPECT_EQ(host_word(1).load(), 1U);  // the second kernel wrote nothing
}

TEST_F(CudaStream, IsToldThatALaunchFailed) {
  const Stream on = stream();
  const probes::Write call{words_at(word(1)), 1};
  const Function function = value_of(module().function("probe_write"));
  NEEDS_MOOD("fail=cuLaunchKernel:701:1");
  const Status refused = function.launch(1, 32, &call, on.get());
  EXPECT_THAT(refused.message(), HasSubstr("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"));
  EXPECT_EQ(context()->lost(), Error::success);
  EXPECT_OK(function.launch(1, 32, &call, on.get()));
  finish(on.get());
  EXPECT_EQ(host_word(1).load(), 1U);
}

}  // namespace
}  // namespace tutti::cuda::test
