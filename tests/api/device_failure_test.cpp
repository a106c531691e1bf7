// Devices that refuse something, that are lost, or that do not come, through the C API.  Whoever loses its context can
// use the device no more, so each such test has a process of its own (meson.build).
#include <dlfcn.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>

#include "device_calls.h"
#include "device_memory.h"
#include "local_world.h"
#include "stream.h"

namespace tutti::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string library() {
  const char* named = std::getenv("TUTTI_CUDA_LIBRARY");
  return named ? named : cuda::kDriverLibrary;
}

class OnBadDevice : public OnDevice {
 protected:
  void TearDown() override { (void)set_mood(""); }

  // Of the fake driver (tests/cuda/fake/moods.h); a real one has none.
  static bool set_mood(const char* moods) {
    void* const handle = ::dlopen(library().c_str(), RTLD_NOW | RTLD_NOLOAD);
    const auto set = handle ? reinterpret_cast<void (*)(const char*)>(::dlsym(handle, "fake_cuda_mood")) : nullptr;
    if (set) set(moods);
    return set != nullptr;
  }
  static cuda::SharedContext context() { return *cuda::Context::retain(**cuda::Driver::load(library()), 0); }

  static std::vector<float> sums() {
    std::vector<float> sums(kCount);
    std::ranges::transform(ramp(0), ramp(1), sums.begin(), std::plus<>());
    return sums;
  }
  // Of all ranks, in no more than a moment.
  static tutti_status status_of(tutti_comm* comm) {
    tutti_status status = TUTTI_SUCCESS;
    while ((status = tutti_comm_status(comm)) == TUTTI_SUCCESS) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return status;
  }

  // Streams go on after it.
  static void expect_end_by(const char* mood, const char* error) {
    if (!set_mood("")) GTEST_SKIP() << "this driver has no moods";
    const LocalWorld world(2);
    const DeviceBytes memory[] = {DeviceBytes(bytes_of(ramp(0))), DeviceBytes(bytes_of(ramp(1)))};
    (void)set_mood(mood);
    world.run([&](int rank, tutti_comm* comm) {
      const tutti_call_options options = on_stream(memory[rank].stream());
      (void)tutti_all_reduce(comm, memory[rank].data(), memory[rank].data(), kCount, TUTTI_FLOAT32, TUTTI_SUM, &options);
      EXPECT_EQ(status_of(comm), TUTTI_SYSTEM);
      EXPECT_THAT(tutti_last_error(comm), AllOf(HasSubstr(" cannot go on with its device: "), HasSubstr(error)));
      (void)floats_in(memory[rank]);
    });
  }

  // One refusal, of whichever rank it meets; the same call succeeds then.
  static void expect_one_refusal(const char* mood, tutti_status refusal, const char* sentence) {
    for (const bool waits : {false, true}) {
      SCOPED_TRACE(waits ? "a call that waits" : "a call on a stream");
      const LocalWorld world(2);
      std::atomic<int> refused = 0;
      const std::vector<float> expected = sums();
      const DeviceBytes inputs[] = {DeviceBytes(bytes_of(ramp(0))), DeviceBytes(bytes_of(ramp(1)))};
      const DeviceBytes outputs[] = {DeviceBytes(bytes_of(ramp(2))), DeviceBytes(bytes_of(ramp(2)))};
      ASSERT_TRUE(set_mood(mood));
      world.run([&](int rank, tutti_comm* comm) {
        const tutti_call_options options = on_stream(outputs[rank].stream());
        const auto call = [&] {
          return tutti_all_reduce(comm, inputs[rank].data(), outputs[rank].data(), kCount, TUTTI_FLOAT32, TUTTI_SUM,
                                  waits ? nullptr : &options);
        };
        for (int i = 0; i < 3; ++i) {
          tutti_status status = call();
          if (status != TUTTI_SUCCESS) {
            ++refused;
            EXPECT_EQ(status, refusal);
            EXPECT_THAT(tutti_last_error(comm), HasSubstr(sentence));
            status = call();
          }
          ASSERT_TRUE(succeeded(status, comm));
          ASSERT_EQ(floats_in(outputs[rank]), expected);
        }
        EXPECT_EQ(tutti_comm_status(comm), TUTTI_SUCCESS);
      });
      EXPECT_EQ(refused, 1);
      (void)set_mood("");
    }
  }
};

TEST_F(OnBadDevice, MemoryThatCannotBeRegistered) {
  if (!set_mood("no-register")) GTEST_SKIP() << "this driver has no moods";
  const LocalWorld world(2);
  world.run([&](int rank, tutti_comm* comm) {
    const DeviceBytes memory(bytes_of(ramp(rank)));
    const tutti_call_options options = on_stream(memory.stream());
    ASSERT_TRUE(succeeded(tutti_all_reduce(comm, memory.data(), memory.data(), kCount, TUTTI_FLOAT32, TUTTI_SUM, &options), comm));
    EXPECT_EQ(floats_in(memory), sums());
    ASSERT_TRUE(succeeded(tutti_all_reduce(comm, memory.data(), memory.data(), kCount, TUTTI_FLOAT32, TUTTI_MAX, nullptr), comm));
    EXPECT_EQ(floats_in(memory), sums());
  });
}

TEST_F(OnBadDevice, AWaitThatIsRefused) {
  if (!set_mood("")) GTEST_SKIP() << "this driver has no moods";
  expect_one_refusal("fail=cuStreamWaitValue32:801:1", TUTTI_UNSUPPORTED,
                     "tutti_all_reduce: CUDA cannot let a stream wait for a word of memory: CUDA_ERROR_NOT_SUPPORTED");
}

TEST_F(OnBadDevice, ACopyThatIsRefused) {
  if (!set_mood("")) GTEST_SKIP() << "this driver has no moods";
  expect_one_refusal("fail=cuMemcpyAsync:1:1", TUTTI_SYSTEM, "tutti_all_reduce: CUDA cannot copy 64 KiB: CUDA_ERROR_INVALID_VALUE");
}

// When some results are already to be delivered.
TEST_F(OnBadDevice, ALaterCopyThatIsRefusedEndsTheCommunicator) {
  expect_end_by("fail=cuMemcpyAsync:1:11", "CUDA_ERROR_INVALID_VALUE");
}

// Without it later calls would wait forever.
TEST_F(OnBadDevice, AWordThatIsNotWrittenEndsTheCommunicator) {
  expect_end_by("fail=cuStreamWriteValue32:801:5", "CUDA_ERROR_NOT_SUPPORTED");
}

// ---- a device that does not come ----

class OnLateDevice : public OnBadDevice {
 protected:
  // Rank 0's stream waits for a word; its call has half a second.
  static void expect_timeout(bool waits) {
    const LocalWorld world(2);
    const cuda::SharedContext device = context();
    const auto word = cuda::PinnedMemory::allocate(device, 64);
    const std::atomic_ref<uint32_t> gate(*reinterpret_cast<uint32_t*>(word->data()));
    gate = 0;
    const DeviceBytes memory[] = {DeviceBytes(bytes_of(ramp(0))), DeviceBytes(bytes_of(ramp(1)))};
    const cuda::CUstream late = waits ? cuda::legacy_stream() : static_cast<cuda::CUstream>(memory[0].stream());
    world.run([&](int rank, tutti_comm* comm) {
      const cuda::CurrentContext current(*device);
      tutti_call_options options = on_stream(rank == 0 && waits ? nullptr : memory[rank].stream());
      if (rank == 0) {
        ASSERT_TRUE(cuda::wait_for_word(*device, *word->device_address(), 1, late).ok());
        options.timeout_ms = 500;
      }
      EXPECT_EQ(tutti_all_reduce(comm, memory[rank].data(), memory[rank].data(), kCount, TUTTI_FLOAT32, TUTTI_SUM, &options),
                rank == 0 && waits ? TUTTI_TIMEOUT : TUTTI_SUCCESS);
      EXPECT_EQ(status_of(comm), TUTTI_TIMEOUT);
      EXPECT_THAT(tutti_last_error(comm),
                  AllOf(HasSubstr("rank 0 ("), HasSubstr(" for its own device in all_reduce #1 of 100000 float32 on devices, sum: "
                                                         "device 0 has not fetched the input of piece 1 of 7; ")));
    });
    gate = 1;
    const cuda::CurrentContext current(*device);
    EXPECT_EQ(device->driver().call<"cuStreamSynchronize">(late), cuda::Error::success);  // it goes on
  }
};

TEST_F(OnLateDevice, ACallOnAStreamIsGivenUp) { expect_timeout(false); }
TEST_F(OnLateDevice, ACallThatWaitsIsGivenUp) { expect_timeout(true); }

// ---- a device that is lost ----

class OnLostDevice : public OnBadDevice {
 protected:
  static void expect_end(tutti_comm* comm, const char* sentence) {
    EXPECT_EQ(status_of(comm), TUTTI_SYSTEM);
    EXPECT_THAT(tutti_last_error(comm), AllOf(HasSubstr(sentence), HasSubstr("CUDA_ERROR_ILLEGAL_ADDRESS")));
    std::vector<float> host(10);
    EXPECT_EQ(tutti_all_reduce(comm, host.data(), host.data(), host.size(), TUTTI_FLOAT32, TUTTI_SUM, nullptr), TUTTI_SYSTEM);
    EXPECT_THAT(tutti_last_error(comm), HasSubstr(sentence));
  }

  // As a kernel of the process does that fails.
  static void lose_device() {
    const cuda::SharedContext device = context();
    const cuda::CurrentContext current(*device);
    size_t free = 0, total = 0;
    (void)set_mood("fail=cuMemGetInfo:700:1");
    EXPECT_EQ(device->driver().call<"cuMemGetInfo">(&free, &total), cuda::Error::illegal_address);
  }

  // At the sixth copy of the ranks, which are threads and so lose the device together.
  static void expect_loss(bool waits) {
    if (!set_mood("")) GTEST_SKIP() << "this driver has no moods";
    const LocalWorld world(2);
    const DeviceBytes memory[] = {DeviceBytes(bytes_of(ramp(0))), DeviceBytes(bytes_of(ramp(1)))};
    (void)set_mood("fail=cuMemcpyAsync:700:6");
    std::atomic<int> failed = 0;
    world.run([&](int rank, tutti_comm* comm) {
      const tutti_call_options options = on_stream(memory[rank].stream());
      const tutti_status status = tutti_all_reduce(comm, memory[rank].data(), memory[rank].data(), kCount, TUTTI_FLOAT32, TUTTI_SUM,
                                                   waits ? nullptr : &options);
      EXPECT_TRUE(status == TUTTI_SYSTEM || (status == TUTTI_SUCCESS && !waits)) << tutti_last_error(comm);
      failed += status != TUTTI_SUCCESS;
      expect_end(comm, " cannot ");
    });
    EXPECT_GE(failed, 1);
  }
};

TEST_F(OnLostDevice, ByACallOnAStream) { expect_loss(false); }
TEST_F(OnLostDevice, ByACallThatWaits) { expect_loss(true); }

TEST_F(OnLostDevice, BeforeItsFirstCall) {
  if (!set_mood("")) GTEST_SKIP() << "this driver has no moods";
  const LocalWorld world(2);
  const DeviceBytes memory(bytes_of(ramp(0)));
  lose_device();
  const tutti_call_options options = on_stream(memory.stream());
  EXPECT_EQ(tutti_all_reduce(world.comm(0), memory.data(), memory.data(), kCount, TUTTI_FLOAT32, TUTTI_SUM, &options),
            TUTTI_SYSTEM);
  for (int rank = 0; rank < 2; ++rank) expect_end(world.comm(rank), " cannot go on with its device: CUDA cannot ");
}

TEST_F(OnLostDevice, BeforeACallOnAStream) {
  if (!set_mood("")) GTEST_SKIP() << "this driver has no moods";
  const LocalWorld world(2);
  const DeviceBytes memory[] = {DeviceBytes(bytes_of(ramp(0))), DeviceBytes(bytes_of(ramp(1)))};
  world.run([&](int rank, tutti_comm* comm) {
    const tutti_call_options options = on_stream(memory[rank].stream());
    ASSERT_TRUE(succeeded(tutti_barrier(comm, &options), comm));
    (void)floats_in(memory[rank]);
  });
  lose_device();
  world.run([&](int rank, tutti_comm* comm) {
    const tutti_call_options options = on_stream(memory[rank].stream());
    if (rank == 0) {
      EXPECT_EQ(tutti_all_reduce(comm, memory[0].data(), memory[0].data(), kCount, TUTTI_FLOAT32, TUTTI_SUM, &options),
                TUTTI_SYSTEM);
    }
    expect_end(comm, " cannot go on with its device: CUDA cannot ");
  });
}

// A call that waits for another rank hears of it within moments.
TEST_F(OnLostDevice, InTheMiddleOfACall) {
  if (!set_mood("")) GTEST_SKIP() << "this driver has no moods";
  const LocalWorld world(2);
  const DeviceBytes memory(bytes_of(ramp(0)));
  tutti_comm* const comm = world.comm(0);
  std::thread caller([&] {
    EXPECT_EQ(tutti_all_reduce(comm, memory.data(), memory.data(), kCount, TUTTI_FLOAT32, TUTTI_SUM, nullptr), TUTTI_SYSTEM);
  });
  tutti_stats stats{};
  stats.struct_size = sizeof stats;
  while (std::string(stats.last_algorithm).empty()) {  // until the call is under way
    ASSERT_EQ(tutti_comm_stats(comm, &stats), TUTTI_SUCCESS);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  lose_device();
  caller.join();
  for (int rank = 0; rank < 2; ++rank)
    expect_end(world.comm(rank), " cannot go on in the middle of a call: CUDA cannot copy between device 0 and the host: ");
}

// ---- by kernels ----

class OnLostDeviceByKernels : public OnLostDevice {
 protected:
  static tutti_status sum(tutti_comm* comm, const DeviceBytes& memory, const tutti_call_options* options) {
    return tutti_all_reduce(comm, memory.data(), memory.data(), kCount, TUTTI_FLOAT32, TUTTI_SUM, options);
  }
  // A first call, which makes what is needed.
  static void begin(const LocalWorld& world, const DeviceBytes (&memory)[2]) {
    world.run([&](int rank, tutti_comm* comm) {
      ASSERT_TRUE(succeeded(sum(comm, memory[rank], nullptr), comm));
      tutti_stats stats{};
      stats.struct_size = sizeof stats;
      ASSERT_EQ(tutti_comm_stats(comm, &stats), TUTTI_SUCCESS);
      EXPECT_THAT(stats.last_reason, testing::StartsWith("by kernels, "));
    });
  }

  // One rank's kernel fails, whichever comes first; both ranks' context is lost.
  static void expect_loss_by_kernel(bool waits) {
    if (!set_mood("")) GTEST_SKIP() << "this driver has no moods";
    const LocalWorld world(2);
    const DeviceBytes memory[] = {DeviceBytes(bytes_of(ramp(0))), DeviceBytes(bytes_of(ramp(1)))};
    begin(world, memory);
    (void)set_mood("fail=kernel:700:1");
    world.run([&](int rank, tutti_comm* comm) {
      const tutti_call_options options = on_stream(memory[rank].stream());
      const tutti_status status = sum(comm, memory[rank], waits ? nullptr : &options);
      EXPECT_TRUE(status == TUTTI_SYSTEM || (status == TUTTI_SUCCESS && !waits)) << tutti_last_error(comm);
      if (!waits) {  // the next call says why
        const cuda::SharedContext device = context();
        const cuda::CurrentContext current(*device);
        EXPECT_EQ(device->driver().call<"cuStreamSynchronize">(static_cast<cuda::CUstream>(options.stream)),
                  cuda::Error::illegal_address);
        EXPECT_EQ(sum(comm, memory[rank], &options), TUTTI_SYSTEM);
      }
      expect_end(comm, " cannot go on ");
      tutti_request* request = nullptr;
      EXPECT_EQ(tutti_barrier_start(comm, nullptr, &request), TUTTI_SYSTEM);
    });
  }
};

TEST_F(OnLostDeviceByKernels, ByACallOnAStream) { expect_loss_by_kernel(false); }
TEST_F(OnLostDeviceByKernels, ByACallThatWaits) { expect_loss_by_kernel(true); }

TEST_F(OnLostDeviceByKernels, BetweenCalls) {
  if (!set_mood("")) GTEST_SKIP() << "this driver has no moods";
  const LocalWorld world(2);
  const DeviceBytes memory[] = {DeviceBytes(bytes_of(ramp(0))), DeviceBytes(bytes_of(ramp(1)))};
  begin(world, memory);
  lose_device();
  const tutti_call_options options = on_stream(memory[0].stream());
  EXPECT_EQ(sum(world.comm(0), memory[0], &options), TUTTI_SYSTEM);
  for (int rank = 0; rank < 2; ++rank)
    expect_end(world.comm(rank), " cannot go on with its device: tutti_all_reduce: CUDA cannot ");
}

// Its peer has not come.
TEST_F(OnLostDeviceByKernels, WhileAKernelWaits) {
  if (!set_mood("")) GTEST_SKIP() << "this driver has no moods";
  const LocalWorld world(2);
  const DeviceBytes memory[] = {DeviceBytes(bytes_of(ramp(0))), DeviceBytes(bytes_of(ramp(1)))};
  begin(world, memory);
  tutti_comm* const comm = world.comm(0);
  std::thread caller([&] {
    EXPECT_EQ(tutti_all_reduce(comm, memory[0].data(), memory[0].data(), 10, TUTTI_FLOAT32, TUTTI_SUM, nullptr), TUTTI_SYSTEM);
  });
  tutti_stats stats{};
  stats.struct_size = sizeof stats;
  while (std::string(stats.last_algorithm) != "exchange") {  // until the call is under way; the first was by direct
    ASSERT_EQ(tutti_comm_stats(comm, &stats), TUTTI_SUCCESS);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  lose_device();
  caller.join();
  for (int rank = 0; rank < 2; ++rank) expect_end(world.comm(rank), " cannot go on in the middle of a call: ");
}

}  // namespace
}  // namespace tutti::test
