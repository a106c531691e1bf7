// Calls on streams of the caller's: the two that have no object, and those of several communicators.
#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <functional>
#include <thread>

#include "device_calls.h"
#include "device_memory.h"
#include "lent_memory.h"
#include "local_world.h"
#include "stream.h"

namespace tutti::test {
namespace {

class OnStreams : public OnDevice {
 protected:
  // A word that a stream waits for.
  struct Gate {
    Gate() : word(std::move(*cuda::PinnedMemory::allocate(device_of_tests(), 64))) { state() = 0; }
    std::atomic_ref<uint32_t> state() const { return std::atomic_ref(*reinterpret_cast<uint32_t*>(word.data())); }
    cuda::PinnedMemory word;
  };

  static std::vector<float> sums(int first, int second, float factor = 1) {
    std::vector<float> sums(kCount);
    std::ranges::transform(ramp(first), ramp(second), sums.begin(), [&](float a, float b) { return (a + b) * factor; });
    return sums;
  }

  // The input comes by a copy before the call, which waits until the call has been put; the output is copied and
  // overwritten after it.  A null stream: one of the rank's own.
  static void expect_order(const std::array<cuda::CUstream, 2>& given) {
    const LocalWorld world(2);
    const std::array<Gate, 2> gates;
    std::barrier together(2);
    world.run([&](int rank, tutti_comm* comm) {
      const cuda::Context& device = *device_of_tests();
      const cuda::CurrentContext current(device);
      const Gate& gate = gates[static_cast<size_t>(rank)];
      const DeviceBytes input(bytes_of(ramp(rank))), memory(bytes_of(ramp(rank + 5))), output(bytes_of(ramp(rank + 5)));
      const auto own = static_cast<cuda::CUstream>(memory.stream());
      const cuda::CUstream stream = given[static_cast<size_t>(rank)] ? given[static_cast<size_t>(rank)] : own;
      const tutti_call_options options = on_stream(stream);
      const auto sum = [&] {
        return tutti_all_reduce(comm, memory.data(), memory.data(), kCount, TUTTI_FLOAT32, TUTTI_SUM, &options);
      };
      const auto copy = [&](const DeviceBytes& to, const DeviceBytes& from) {
        return cuda::copy(device, cuda::address_of(to.data()), cuda::address_of(from.data()), kCount * sizeof(float), stream);
      };
      EXPECT_TRUE(succeeded(sum(), comm));
      together.arrive_and_wait();
      EXPECT_TRUE(cuda::wait_for_word(device, *gate.word.device_address(), 1, stream).ok());
      EXPECT_TRUE(copy(memory, input).ok());
      EXPECT_TRUE(succeeded(sum(), comm));
      EXPECT_TRUE(copy(output, memory).ok());
      EXPECT_TRUE(cuda::fill(device, cuda::address_of(memory.data()), 0, kCount * sizeof(float), stream).ok());
      std::this_thread::sleep_for(std::chrono::milliseconds(10));  // for what does not wait
      gate.state() = 1;
      EXPECT_EQ(device.driver().call<"cuStreamSynchronize">(stream), cuda::Error::success);
      EXPECT_EQ(floats_in(output), sums(0, 1));
      EXPECT_EQ(floats_in(memory), std::vector<float>(kCount));
      EXPECT_EQ(tutti_comm_status(comm), TUTTI_SUCCESS);
    });
  }
};

// Of one rank only: the ranks of a process have this stream in common.
TEST_F(OnStreams, TheLegacyStreamKeepsItsOrder) { expect_order({cuda::legacy_stream(), nullptr}); }

TEST_F(OnStreams, TheStreamOfAThreadKeepsItsOrder) { expect_order({cuda::per_thread_stream(), cuda::per_thread_stream()}); }

// Nothing runs before all calls have been put.
TEST_F(OnStreams, TwoCommunicatorsInOppositeOrders) {
  constexpr int kCalls = 5;
  const LocalWorld one(2), other(2);
  const std::array<Gate, 2> gates;
  on_all_ranks(2, [&](int rank) {
    const cuda::Context& device = *device_of_tests();
    const cuda::CurrentContext current(device);
    const Gate& gate = gates[static_cast<size_t>(rank)];
    const DeviceBytes first(bytes_of(ramp(rank))), second(bytes_of(ramp(rank + 2)));
    const auto sum = [&](const LocalWorld& world, const DeviceBytes& memory) {
      const tutti_call_options options = on_stream(memory.stream());
      EXPECT_TRUE(
          succeeded(tutti_all_reduce(world.comm(rank), memory.data(), memory.data(), kCount, TUTTI_FLOAT32, TUTTI_SUM, &options),
                    world.comm(rank)));
    };
    sum(one, first);
    sum(other, second);
    for (const DeviceBytes* memory : {&first, &second})
      EXPECT_TRUE(cuda::wait_for_word(device, *gate.word.device_address(), 1, static_cast<cuda::CUstream>(memory->stream())).ok());
    for (int call = 0; call < kCalls; ++call) {
      if (rank == 0) sum(one, first);
      sum(other, second);
      if (rank == 1) sum(one, first);
    }
    gate.state() = 1;
    EXPECT_EQ(floats_in(first), sums(0, 1, 1 << kCalls));
    EXPECT_EQ(floats_in(second), sums(2, 3, 1 << kCalls));
    for (const LocalWorld* world : {&one, &other}) EXPECT_EQ(tutti_comm_status(world->comm(rank)), TUTTI_SUCCESS);
  });
}

}  // namespace
}  // namespace tutti::test
