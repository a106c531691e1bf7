// What a call on device memory does not ask of the driver once a like one has been made: memory, modules, events,
// waits for the whole device.  Counted by the driver of our own.
#include <dlfcn.h>
#include <gmock/gmock.h>

#include <barrier>
#include <cstdlib>
#include <map>
#include <string>

#include "device_calls.h"
#include "driver.h"
#include "local_world.h"

namespace tutti::test {
namespace {

class OnSteadyDevice : public OnDevice {
 protected:
  using Counts = std::map<std::string, uint64_t>;
  using CallsOf = uint64_t (*)(const char*);

  static CallsOf counter() {
    const char* const named = std::getenv("TUTTI_CUDA_LIBRARY");
    void* const handle = ::dlopen(named ? named : cuda::kDriverLibrary, RTLD_NOW | RTLD_NOLOAD);
    return handle ? reinterpret_cast<CallsOf>(::dlsym(handle, "fake_cuda_calls")) : nullptr;
  }

  static Counts counts() {
    Counts counts;
    for (const char* entry : {"cuMemAlloc", "cuMemAllocAsync", "cuMemAllocManaged", "cuMemFree", "cuMemFreeAsync", "cuMemHostAlloc",
                              "cuMemFreeHost", "cuMemHostRegister", "cuMemHostUnregister", "cuIpcOpenMemHandle",
                              "cuIpcCloseMemHandle", "cuModuleLoadData", "cuModuleUnload", "cuModuleGetFunction", "cuEventCreate",
                              "cuEventDestroy", "cuStreamCreate", "cuStreamDestroy", "cuCtxSynchronize"})
      counts[entry] = counter()(entry);
    return counts;
  }

  // call(rank, comm, memory) ten times at two ranks.
  template <class Call>
  static void expect_steady(Call call) {
    if (!counter()) GTEST_SKIP() << "this driver does not count";
    const LocalWorld world(2);
    std::barrier together(2);
    Counts before;
    world.run([&](int rank, tutti_comm* comm) {
      const DeviceBytes memory(bytes_of(ramp(rank)));
      for (int i = 0; i < 10; ++i) {
        call(rank, comm, memory);
        (void)memory.content();  // waits for its stream
        if (i > 0) continue;
        together.arrive_and_wait();
        if (rank == 0) before = counts();
        together.arrive_and_wait();
      }
      together.arrive_and_wait();
      if (rank == 0) {
        EXPECT_EQ(counts(), before);
      }
      together.arrive_and_wait();
    });
    EXPECT_GT(before["cuMemHostAlloc"] + before["cuEventCreate"], 0U);
  }

  static tutti_status sum(tutti_comm* comm, const DeviceBytes& memory, const tutti_call_options* options) {
    return tutti_all_reduce(comm, memory.data(), memory.data(), kCount, TUTTI_FLOAT32, TUTTI_MAX, options);
  }
};

TEST_F(OnSteadyDevice, ACallThatWaits) {
  expect_steady([](int, tutti_comm* comm, const DeviceBytes& memory) { EXPECT_TRUE(succeeded(sum(comm, memory, nullptr), comm)); });
}

TEST_F(OnSteadyDevice, ACallOnAStream) {
  expect_steady([](int, tutti_comm* comm, const DeviceBytes& memory) {
    const tutti_call_options options = on_stream(memory.stream());
    EXPECT_TRUE(succeeded(sum(comm, memory, &options), comm));
  });
}

TEST_F(OnSteadyDevice, ARequest) {
  expect_steady([](int, tutti_comm* comm, const DeviceBytes& memory) {
    tutti_request* request = nullptr;
    ASSERT_TRUE(succeeded(
        tutti_all_reduce_start(comm, memory.data(), memory.data(), kCount, TUTTI_FLOAT32, TUTTI_MAX, nullptr, &request), comm));
    EXPECT_TRUE(succeeded(tutti_wait(request), comm));
  });
}

TEST_F(OnSteadyDevice, Messages) {
  expect_steady([](int rank, tutti_comm* comm, const DeviceBytes& memory) {
    const auto send = [&] { return tutti_send(comm, memory.data(), kCount, TUTTI_FLOAT32, 1 - rank, 0, nullptr); };
    const auto receive = [&] { return tutti_recv(comm, memory.data(), kCount, TUTTI_FLOAT32, 1 - rank, 0, nullptr); };
    EXPECT_TRUE(succeeded(rank == 0 ? send() : receive(), comm));
    EXPECT_TRUE(succeeded(rank == 0 ? receive() : send(), comm));
  });
}

}  // namespace
}  // namespace tutti::test
