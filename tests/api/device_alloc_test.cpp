// Memory of tutti_alloc_device: whose it is, and what of it kernels read where it lies.
#include <gmock/gmock.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <string_view>

#include "device_calls.h"
#include "lent_memory.h"
#include "local_world.h"

namespace tutti::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr size_t kLong = 300'000;  // floats

template <class T>
T made_by(Result<T> result) {
  EXPECT_TRUE(result.ok()) << result.status().message();
  return std::move(*result);
}

std::vector<float> sum_of(int ranks) {
  std::vector<float> sum(kLong);
  for (int rank = 0; rank < ranks; ++rank) {
    const std::vector<float> input = ramp(rank, kLong);
    for (size_t i = 0; i < kLong; ++i) sum[i] += input[i];
  }
  return sum;
}

tutti_status all_reduce(tutti_comm* comm, const void* input, void* output) {
  return tutti_all_reduce(comm, input, output, kLong, TUTTI_FLOAT32, TUTTI_SUM, nullptr);
}

class AllocDevice : public OnDevice {};

TEST_F(AllocDevice, ServesTheWholeFamilyAndIsFreedWhereItWasMade) {
  const LocalWorld world(2);
  world.run([](int rank, tutti_comm* comm) {
    const cuda::CurrentContext current(*device_of_tests());
    tutti_comm* part = nullptr;
    ASSERT_TRUE(succeeded(tutti_comm_split(comm, 0, 0, &part), comm));
    const LentFloats input(comm, ramp(rank, kLong)), output(part, ramp(rank, kLong));
    for (tutti_comm* const user : {comm, part}) {
      ASSERT_TRUE(succeeded(all_reduce(user, input.data(), output.data()), user));
      EXPECT_EQ(output.values(), sum_of(2));
    }
    EXPECT_EQ(tutti_free(part, input.data()), TUTTI_INVALID_ARGUMENT);
    EXPECT_THAT(tutti_last_error(part), HasSubstr("of tutti_alloc on another communicator, which alone can free it"));
    EXPECT_TRUE(succeeded(tutti_free(comm, input.data()), comm));
    EXPECT_EQ(tutti_free(comm, input.data()), TUTTI_INVALID_ARGUMENT);
    EXPECT_EQ(tutti_free(nullptr, output.data()), TUTTI_INVALID_ARGUMENT);
    void* again = nullptr;
    ASSERT_TRUE(succeeded(tutti_alloc_device(part, kLong * sizeof(float), &again), part));
    EXPECT_EQ(again, input.data());  // what was freed is kept
    ASSERT_TRUE(succeeded(tutti_alloc_device(part, kLong, &again), part));
    EXPECT_NE(again, output.data());
    ASSERT_TRUE(succeeded(tutti_comm_destroy(part), comm));
    EXPECT_EQ(tutti_free(comm, output.data()), TUTTI_INVALID_ARGUMENT);  // it has ended with its communicator
    ASSERT_TRUE(succeeded(tutti_alloc_device(comm, kLong * sizeof(float), &again), comm));
    EXPECT_TRUE(again == input.data() || again == output.data());
  });
}

TEST_F(AllocDevice, AThreadThatIsOnNoDeviceYetIsOnTheFirst) {
  const LocalWorld world(1);
  world.run([](int, tutti_comm* comm) {
    void* memory = nullptr;
    ASSERT_TRUE(succeeded(tutti_alloc_device(comm, 64, &memory), comm));
    const auto place = made_by(cuda::recognize(device_of_tests()->driver(), memory));
    EXPECT_EQ(place.place, cuda::MemoryPlace::device);
    EXPECT_EQ(place.device, 0);
  });
}

TEST_F(AllocDevice, WhatARequestUsesIsNotFreed) {
  const LocalWorld world(2);
  world.run([](int rank, tutti_comm* comm) {
    const LentFloats input(comm, ramp(rank, kLong)), output(comm, ramp(rank, kLong));
    ASSERT_TRUE(succeeded(all_reduce(comm, input.data(), output.data()), comm));
    if (rank == 0) {  // rank 1 does not come before this has been asked
      tutti_request* request = nullptr;
      ASSERT_TRUE(succeeded(
          tutti_all_reduce_start(comm, input.data(), output.data(), kLong, TUTTI_FLOAT32, TUTTI_SUM, nullptr, &request), comm));
      for (const LentFloats* used : {&input, &output}) {
        EXPECT_EQ(tutti_free(comm, used->data()), TUTTI_INVALID_ARGUMENT);
        EXPECT_THAT(tutti_last_error(comm), HasSubstr("the memory is in use by all_reduce #2"));
      }
      ASSERT_TRUE(succeeded(tutti_send(comm, &rank, 1, TUTTI_INT32, 1, 0, nullptr), comm));
      ASSERT_TRUE(succeeded(tutti_wait(request), comm));
    } else {
      int any = 0;
      ASSERT_TRUE(succeeded(tutti_recv(comm, &any, 1, TUTTI_INT32, 0, 0, nullptr), comm));
      ASSERT_TRUE(succeeded(all_reduce(comm, input.data(), output.data()), comm));
    }
    EXPECT_EQ(output.values(), sum_of(2));
    EXPECT_TRUE(succeeded(tutti_free(comm, input.data()), comm));
  });
}

TEST_F(AllocDevice, LiesOnTheDeviceOfItsCommunicator) {
  const cuda::Driver& driver = device_of_tests()->driver();
  if (driver.devices() < 2) GTEST_SKIP() << "for two devices";
  const cuda::SharedContext second = *cuda::Context::retain(driver, 1);
  const auto device_of = [&](const void* memory) { return (*cuda::recognize(driver, memory)).device; };
  const LocalWorld world(1);
  tutti_comm* const comm = world.comm(0);
  void* memory = nullptr;
  {
    const cuda::CurrentContext current(*second);
    ASSERT_TRUE(succeeded(tutti_alloc_device(comm, 100, &memory), comm));
    EXPECT_EQ(device_of(memory), 1);
  }
  const cuda::CurrentContext current(*device_of_tests());
  ASSERT_TRUE(succeeded(tutti_alloc_device(comm, 100, &memory), comm));
  EXPECT_EQ(device_of(memory), 1);
}

TEST_F(AllocDevice, Refusals) {
  const LocalWorld world(1);
  tutti_comm* const comm = world.comm(0);
  const cuda::CurrentContext current(*device_of_tests());
  void* memory = &memory;
  EXPECT_EQ(tutti_alloc_device(comm, 0, &memory), TUTTI_INVALID_ARGUMENT);
  EXPECT_EQ(tutti_alloc_device(comm, size_t{1} << 60, &memory), TUTTI_OUT_OF_MEMORY);
  EXPECT_EQ(memory, nullptr);
  EXPECT_THAT(tutti_last_error(comm), HasSubstr("tutti_alloc_device: CUDA cannot allocate "));
}

// ---- loans ----

class Loans : public OnDevice {
 protected:
  void SetUp() override {
    OnDevice::SetUp();
    const char* use = std::getenv("TUTTI_CUDA");
    if (use && std::string_view(use) == "staged") GTEST_SKIP() << "for kernels";
  }
  static std::string reason_of_last(tutti_comm* comm) {
    tutti_stats stats{};
    stats.struct_size = sizeof stats;
    EXPECT_EQ(tutti_comm_stats(comm, &stats), TUTTI_SUCCESS);
    return stats.last_reason;
  }
  // So often that all ranks know each other's memory.
  static void meet(tutti_comm* comm, const void* input, void* output) {
    for (int i = 0; i < 2; ++i) {
      ASSERT_TRUE(succeeded(all_reduce(comm, input, output), comm));
      ASSERT_TRUE(succeeded(tutti_barrier(comm, nullptr), comm));
    }
  }
};

TEST_F(Loans, AreReadWhereTheyLie) {
  const LocalWorld world(3);
  world.run([](int, tutti_comm* comm) { EXPECT_EQ(check_lent_memory(comm), ""); });
}

TEST_F(Loans, OfSomeRanksOnly) {
  const LocalWorld world(3);
  world.run([](int rank, tutti_comm* comm) {
    const cuda::CurrentContext current(*device_of_tests());
    const LentFloats lent(comm, ramp(rank, kLong));
    const DeviceBytes plain(bytes_of(ramp(rank, kLong)));
    const void* const input = rank == 1 ? lent.data() : plain.data();
    const DeviceBytes output(bytes_of(ramp(rank, kLong)));
    meet(comm, input, output.data());
    ASSERT_TRUE(succeeded(all_reduce(comm, input, output.data()), comm));
    EXPECT_EQ(reason_of_last(comm).find("lent") != std::string::npos, rank == 1);
    EXPECT_EQ(floats_in(output), sum_of(3));
  });
}

TEST_F(Loans, BetweenTwoDevices) {
  const cuda::Driver& driver = device_of_tests()->driver();
  if (driver.devices() < 2) GTEST_SKIP() << "for two devices";
  const cuda::SharedContext devices[] = {device_of_tests(), made_by(cuda::Context::retain(driver, 1))};
  const LocalWorld world(2);
  world.run([&](int rank, tutti_comm* comm) {
    const cuda::SharedContext& device = devices[rank];
    const cuda::CurrentContext current(*device);
    const LentFloats input(comm, ramp(rank, kLong), device), output(comm, ramp(rank, kLong), device);
    EXPECT_EQ((*cuda::recognize(driver, input.data())).device, rank);
    meet(comm, input.data(), output.data());
    output.write(ramp(rank, kLong));
    ASSERT_TRUE(succeeded(all_reduce(comm, input.data(), output.data()), comm));
    EXPECT_THAT(reason_of_last(comm), AllOf(StartsWith("by kernels, "), HasSubstr("lent")));
    EXPECT_EQ(output.values(), sum_of(2));
  });
}

TEST_F(Loans, SmallMessagesAreStamped) {
  const LocalWorld world(2);
  world.run([](int rank, tutti_comm* comm) {
    const LentFloats lent(comm, ramp(rank, kLong));
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(succeeded(tutti_all_reduce(comm, lent.data(), lent.data(), 10, TUTTI_FLOAT32, TUTTI_MAX, nullptr), comm));
      ASSERT_TRUE(succeeded(tutti_barrier(comm, nullptr), comm));
    }
    EXPECT_THAT(reason_of_last(comm), Not(HasSubstr("lent")));
    EXPECT_EQ(lent.values()[1], std::max(ramp(0, kLong)[1], ramp(1, kLong)[1]));
  });
}

// A board has room for 32 regions; what comes later is copied.
TEST_F(Loans, OnlySoManyRegions) {
  const LocalWorld world(2);
  world.run([](int rank, tutti_comm* comm) {
    void* memory = nullptr;
    const cuda::CurrentContext current(*device_of_tests());
    for (int i = 0; i < 31; ++i) ASSERT_TRUE(succeeded(tutti_alloc_device(comm, 4096, &memory), comm));
    const LentFloats last(comm, ramp(rank, kLong)), late(comm, ramp(rank, kLong));
    const DeviceBytes output(bytes_of(ramp(rank, kLong)));
    meet(comm, last.data(), output.data());
    ASSERT_TRUE(succeeded(all_reduce(comm, last.data(), output.data()), comm));
    EXPECT_THAT(reason_of_last(comm), HasSubstr("lent"));
    ASSERT_TRUE(succeeded(all_reduce(comm, late.data(), output.data()), comm));
    EXPECT_THAT(reason_of_last(comm), Not(HasSubstr("lent")));
    EXPECT_EQ(floats_in(output), sum_of(2));
  });
}

// Each launch of the graph lends what was lent when it was captured.
TEST_F(Loans, InAGraph) {
  const LocalWorld world(2);
  world.run([](int rank, tutti_comm* comm) {
    const cuda::SharedContext& device = device_of_tests();
    const cuda::CurrentContext current(*device);
    const cuda::Driver& driver = device->driver();
    const LentFloats input(comm, ramp(rank, kLong)), output(comm, ramp(rank, kLong));
    meet(comm, input.data(), output.data());
    const cuda::Stream stream = made_by(cuda::Stream::create(device));
    const tutti_call_options options = on_stream(stream.get());
    ASSERT_EQ(driver.call<"cuStreamBeginCapture">(stream.get(), cuda::CaptureMode::thread_local_), cuda::Error::success);
    ASSERT_TRUE(succeeded(tutti_all_reduce(comm, input.data(), output.data(), kLong, TUTTI_FLOAT32, TUTTI_SUM, &options), comm));
    EXPECT_THAT(reason_of_last(comm), HasSubstr("lent"));
    cuda::CUgraph graph = nullptr;
    cuda::CUgraphExec ready = nullptr;
    ASSERT_EQ(driver.call<"cuStreamEndCapture">(stream.get(), &graph), cuda::Error::success);
    ASSERT_EQ(driver.call<"cuGraphInstantiateWithFlags">(&ready, graph, 0ULL), cuda::Error::success);
    for (int i = 0; i < 3; ++i) {
      output.write(ramp(rank + 5, kLong));
      ASSERT_EQ(driver.call<"cuGraphLaunch">(ready, stream.get()), cuda::Error::success);
      ASSERT_EQ(driver.call<"cuStreamSynchronize">(stream.get()), cuda::Error::success);
      EXPECT_EQ(output.values(), sum_of(2));
    }
    EXPECT_EQ(driver.call<"cuGraphExecDestroy">(ready), cuda::Error::success);
    EXPECT_EQ(driver.call<"cuGraphDestroy">(graph), cuda::Error::success);
  });
}

}  // namespace
}  // namespace tutti::test
