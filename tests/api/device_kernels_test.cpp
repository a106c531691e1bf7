// Which calls on device memory kernels carry out, and what becomes of those that they cannot: over a driver of our own,
// whose moods (tests/cuda/fake/moods.h) a real one has not.
#include <dlfcn.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <functional>
#include <string>

#include "device_calls.h"
#include "device_memory.h"
#include "local_world.h"
#include "stream.h"

namespace tutti::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr size_t kFew = 3000;

std::string library() {
  const char* named = std::getenv("TUTTI_CUDA_LIBRARY");
  return named ? named : cuda::kDriverLibrary;
}

bool set_mood(const char* moods) {
  void* const handle = ::dlopen(library().c_str(), RTLD_NOW | RTLD_NOLOAD);
  const auto set = handle ? reinterpret_cast<void (*)(const char*)>(::dlsym(handle, "fake_cuda_mood")) : nullptr;
  if (set) set(moods);
  return set != nullptr;
}

std::string reason_of(tutti_comm* comm) {
  tutti_stats stats{};
  stats.struct_size = sizeof stats;
  EXPECT_EQ(tutti_comm_stats(comm, &stats), TUTTI_SUCCESS);
  return stats.last_reason;
}

template <class T>
T taken(Result<T> result) {
  EXPECT_TRUE(result.ok()) << result.status().message();
  return std::move(*result);
}

// Floats on one of several devices.
class Floats {
 public:
  Floats(int device, const std::vector<float>& values)
      : context_(taken(cuda::Context::retain(*taken(cuda::Driver::load(library())), device))),
        stream_(taken(cuda::Stream::create(context_))),
        host_(taken(cuda::PinnedMemory::allocate(context_, values.size() * sizeof(float)))),
        memory_(taken(cuda::DeviceMemory::allocate(context_, values.size() * sizeof(float)))) {
    std::memcpy(host_.data(), values.data(), memory_.size());
    move(memory_.address(), cuda::address_of(host_.data()));
  }
  void* data() const { return memory_.data(); }
  std::vector<float> values() const {
    move(cuda::address_of(host_.data()), memory_.address());
    std::vector<float> values(memory_.size() / sizeof(float));
    std::memcpy(values.data(), host_.data(), memory_.size());
    return values;
  }

 private:
  void move(cuda::CUdeviceptr to, cuda::CUdeviceptr from) const {
    const cuda::CurrentContext current(*context_);
    EXPECT_TRUE(cuda::copy(*context_, to, from, memory_.size(), stream_.get()).ok());
    EXPECT_EQ(context_->driver().call<"cuStreamSynchronize">(stream_.get()), cuda::Error::success);
  }
  const cuda::SharedContext context_;
  const cuda::Stream stream_;
  const cuda::PinnedMemory host_;
  const cuda::DeviceMemory memory_;
};

class ByKernels : public OnDevice {
 protected:
  void TearDown() override { (void)set_mood(""); }

  static std::vector<float> sums() {
    std::vector<float> sums(kFew);
    std::ranges::transform(ramp(0, kFew), ramp(1, kFew), sums.begin(), std::plus<>());
    return sums;
  }

  // An all-reduce of two ranks, each on the device that `device_of` names; the reason that rank 0 gives.
  template <class DeviceOf>
  static std::string reduce(DeviceOf device_of) {
    const LocalWorld world(2);
    std::string reason;
    world.run([&](int rank, tutti_comm* comm) {
      const Floats memory(device_of(rank), ramp(rank, kFew));
      ASSERT_TRUE(succeeded(tutti_all_reduce(comm, memory.data(), memory.data(), kFew, TUTTI_FLOAT32, TUTTI_SUM, nullptr), comm));
      EXPECT_EQ(memory.values(), sums());
      if (rank == 0) reason = reason_of(comm);
    });
    return reason;
  }
  static bool has_two_devices() { return (*cuda::Driver::load(library()))->devices() > 1; }
};

TEST_F(ByKernels, RanksOnOneDeviceAndOnTwo) {
  EXPECT_THAT(reduce([](int) { return 0; }), StartsWith("by kernels, "));
  if (!has_two_devices()) GTEST_SKIP() << "for two devices";
  EXPECT_THAT(reduce([](int rank) { return rank; }), StartsWith("by kernels, "));
}

TEST_F(ByKernels, DevicesThatDoNotReachEachOther) {
  if (!has_two_devices() || !set_mood("no-p2p")) GTEST_SKIP() << "for two devices, and a driver that has moods";
  EXPECT_THAT(reduce([](int rank) { return rank; }),
              StartsWith("staged, since rank 1: device 0 cannot reach the memory of device 1; "));
}

// One rank's trouble is all ranks' reason.
TEST_F(ByKernels, KernelsThatCannotBeLoaded) {
  if (!set_mood("fail=cuModuleLoadData:209:1")) GTEST_SKIP() << "this driver has no moods";
  const auto on_one_device = [](int) { return 0; };
  EXPECT_THAT(reduce(on_one_device), AllOf(StartsWith("staged, since rank "),
                                           HasSubstr(": CUDA cannot load kernels on device 0: CUDA_ERROR_NO_BINARY_FOR_GPU")));
  ASSERT_TRUE(set_mood(""));
  EXPECT_THAT(reduce(on_one_device), StartsWith("by kernels, "));
}

// Nothing has changed, and the same call succeeds.
TEST_F(ByKernels, ALaunchThatIsRefused) {
  if (!set_mood("")) GTEST_SKIP() << "this driver has no moods";
  const LocalWorld world(2);
  world.run([&](int rank, tutti_comm* comm) {
    const Floats memory(0, ramp(rank, kFew)), other(0, ramp(rank, kFew));
    const auto sum = [&](const Floats& of) {
      return tutti_all_reduce(comm, of.data(), of.data(), kFew, TUTTI_FLOAT32, TUTTI_SUM, nullptr);
    };
    ASSERT_TRUE(succeeded(sum(other), comm));
    ASSERT_TRUE(succeeded(tutti_barrier(comm, nullptr), comm));
    if (rank == 0) {
      ASSERT_TRUE(set_mood("fail=cuLaunchKernel:701:1"));
      EXPECT_EQ(sum(memory), TUTTI_SYSTEM);
      EXPECT_THAT(tutti_last_error(comm), AllOf(HasSubstr("tutti_all_reduce: CUDA cannot launch a kernel"),
                                                HasSubstr("CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES")));
      EXPECT_EQ(memory.values(), ramp(0, kFew));
    }
    ASSERT_TRUE(succeeded(tutti_barrier(comm, nullptr), comm));
    ASSERT_TRUE(succeeded(sum(memory), comm));
    EXPECT_EQ(memory.values(), sums());
  });
}

TEST_F(ByKernels, ACommunicatorStaysOnItsDevice) {
  if (!has_two_devices()) GTEST_SKIP() << "for two devices";
  const LocalWorld world(2);
  world.run([&](int rank, tutti_comm* comm) {
    const Floats memory(0, ramp(rank, kFew)), elsewhere(1, ramp(rank, kFew));
    const auto sum = [&](const Floats& of) {
      return tutti_all_reduce(comm, of.data(), of.data(), kFew, TUTTI_FLOAT32, TUTTI_SUM, nullptr);
    };
    ASSERT_TRUE(succeeded(sum(memory), comm));
    EXPECT_EQ(sum(elsewhere), TUTTI_INVALID_ARGUMENT);
    EXPECT_STREQ(tutti_last_error(comm),
                 "tutti_all_reduce: the buffers are memory of device 1, and earlier calls on this communicator used device 0; a "
                 "rank uses one device per communicator");
    EXPECT_EQ(tutti_send(comm, elsewhere.data(), kFew, TUTTI_FLOAT32, 1 - rank, 0, nullptr), TUTTI_INVALID_ARGUMENT);
    EXPECT_EQ(tutti_comm_status(comm), TUTTI_SUCCESS);
    EXPECT_EQ(elsewhere.values(), ramp(rank, kFew));
    ASSERT_TRUE(succeeded(sum(memory), comm));
    std::vector<float> expected = sums();
    for (float& value : expected) value *= 2;
    EXPECT_EQ(memory.values(), expected);
  });
}

// It would cost the process its context.
TEST_F(ByKernels, ABufferThatIsNotAligned) {
  const LocalWorld world(1);
  tutti_comm* const comm = world.comm(0);
  const Floats memory(0, ramp(0, kFew));
  void* const odd = static_cast<std::byte*>(memory.data()) + 1;
  EXPECT_EQ(tutti_all_reduce(comm, odd, odd, 10, TUTTI_FLOAT32, TUTTI_SUM, nullptr), TUTTI_INVALID_ARGUMENT);
  EXPECT_STREQ(tutti_last_error(comm),
               "tutti_all_reduce: a buffer in a device's memory begins at an address that is no multiple of its element's 4 bytes");
  EXPECT_TRUE(succeeded(tutti_all_reduce(comm, odd, odd, 10, TUTTI_UINT8, TUTTI_SUM, nullptr), comm));
  EXPECT_EQ(memory.values(), ramp(0, kFew));
}

// What is passed where a function reads or writes nothing is not looked at.
TEST_F(ByKernels, ABufferThatIsNotUsedNeedNotBeAligned) {
  const LocalWorld world(2);
  world.run([&](int rank, tutti_comm* comm) {
    const Floats memory(0, ramp(rank, kFew));
    auto* const odd = static_cast<std::byte*>(memory.data()) + 1;
    ASSERT_TRUE(
        succeeded(tutti_broadcast(comm, rank == 0 ? memory.data() : odd, memory.data(), kFew, TUTTI_FLOAT32, 0, nullptr), comm));
    EXPECT_EQ(memory.values(), ramp(0, kFew));
    ASSERT_TRUE(succeeded(
        tutti_reduce(comm, memory.data(), rank == 0 ? memory.data() : odd, kFew, TUTTI_FLOAT32, TUTTI_MAX, 0, nullptr), comm));
    EXPECT_EQ(memory.values(), ramp(0, kFew));
  });
}

// Rank 0's device does not come to its call, whose deadline is over: nobody else is to blame.
TEST_F(ByKernels, AWaitForOnesOwnDeviceHasAnEnd) {
  const LocalWorld world(2);
  const cuda::SharedContext device = taken(cuda::Context::retain(*taken(cuda::Driver::load(library())), 0));
  const auto word = taken(cuda::PinnedMemory::allocate(device, 64));
  const std::atomic_ref<uint32_t> gate(*reinterpret_cast<uint32_t*>(word.data()));
  gate = 0;
  world.run([&](int rank, tutti_comm* comm) {
    const cuda::CurrentContext current(*device);
    const Floats memory(0, ramp(rank, kFew)), other(0, ramp(rank, kFew));
    ASSERT_TRUE(succeeded(tutti_all_reduce(comm, other.data(), other.data(), kFew, TUTTI_FLOAT32, TUTTI_SUM, nullptr), comm));
    tutti_call_options options;
    tutti_call_options_init(&options);
    if (rank == 0) {
      ASSERT_TRUE(cuda::wait_for_word(*device, *word.device_address(), 1, cuda::legacy_stream()).ok());
      options.timeout_ms = 500;
    }
    EXPECT_EQ(tutti_all_reduce(comm, memory.data(), memory.data(), kFew, TUTTI_FLOAT32, TUTTI_SUM, &options), TUTTI_TIMEOUT);
    EXPECT_THAT(tutti_last_error(comm), AllOf(HasSubstr("rank 0 ("), HasSubstr(" for its own device in all_reduce #2 of 3000"),
                                              HasSubstr("device 0 has not carried it out; look for")));
    gate = 1;
    EXPECT_EQ(memory.values().size(), kFew);  // streams go on
  });
}

}  // namespace
}  // namespace tutti::test
