// Memory of tutti_alloc_device: whose it is, and what of it kernels read where it lies.
#include <gmock/gmock.h>

#include <cstdlib>
#include <string>

#include "device_calls.h"
#include "device_memory.h"
#include "local_world.h"
#include "stream.h"

namespace tutti::test {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr size_t kLong = 300'000;  // floats

const cuda::SharedContext& device_of_tests() {
  static const cuda::SharedContext made = [] {
    const char* library = std::getenv("TUTTI_CUDA_LIBRARY");
    return *cuda::Context::retain(**cuda::Driver::load(library ? library : cuda::kDriverLibrary), 0);
  }();
  return made;
}

template <class T>
T made_by(Result<T> result) {
  EXPECT_TRUE(result.ok()) << result.status().message();
  return std::move(*result);
}

// Floats in memory of tutti_alloc_device.
class Lent {
 public:
  Lent(tutti_comm* comm, const std::vector<float>& values)
      : host_(made_by(cuda::PinnedMemory::allocate(device_of_tests(), values.size() * sizeof(float)))),
        stream_(made_by(cuda::Stream::create(device_of_tests()))) {
    const cuda::CurrentContext current(*device_of_tests());
    EXPECT_TRUE(succeeded(tutti_alloc_device(comm, host_.size(), &memory_), comm));
    write(values);
  }
  void* data() const { return memory_; }
  void write(const std::vector<float>& values) const {
    std::memcpy(host_.data(), values.data(), host_.size());
    move(cuda::address_of(memory_), cuda::address_of(host_.data()));
  }
  std::vector<float> values() const {
    move(cuda::address_of(host_.data()), cuda::address_of(memory_));
    std::vector<float> values(host_.size() / sizeof(float));
    std::memcpy(values.data(), host_.data(), host_.size());
    return values;
  }

 private:
  void move(cuda::CUdeviceptr to, cuda::CUdeviceptr from) const {
    const cuda::CurrentContext current(*device_of_tests());
    EXPECT_TRUE(cuda::copy(*device_of_tests(), to, from, host_.size(), stream_.get()).ok());
    EXPECT_EQ(device_of_tests()->driver().call<"cuStreamSynchronize">(stream_.get()), cuda::Error::success);
  }
  void* memory_ = nullptr;
  cuda::PinnedMemory host_;
  cuda::Stream stream_;
};

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
    const Lent input(comm, ramp(rank, kLong)), output(part, ramp(rank, kLong));
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

TEST_F(AllocDevice, WhatARequestUsesIsNotFreed) {
  const LocalWorld world(2);
  world.run([](int rank, tutti_comm* comm) {
    const Lent input(comm, ramp(rank, kLong)), output(comm, ramp(rank, kLong));
    ASSERT_TRUE(succeeded(all_reduce(comm, input.data(), output.data()), comm));
    if (rank == 0) {  // rank 1 does not come before this has been asked
      tutti_request* request = nullptr;
      ASSERT_TRUE(succeeded(
          tutti_all_reduce_start(comm, input.data(), output.data(), kLong, TUTTI_FLOAT32, TUTTI_SUM, nullptr, &request), comm));
      for (const Lent* used : {&input, &output}) {
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

}  // namespace
}  // namespace tutti::test
