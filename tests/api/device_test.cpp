// Calls on memory of a device, between threads over a driver of our own (tests/cuda/fake) or a real one: streams, what
// goes together, failures.  The collectives themselves are tried by the other tests, with API_TEST_DEVICE=1.
#include <gmock/gmock.h>

#include <algorithm>
#include <barrier>
#include <cstdlib>
#include <functional>
#include <numeric>

#include "codecs.h"
#include "device_calls.h"
#include "device_memory.h"
#include "lent_memory.h"
#include "local_world.h"
#include "stream.h"

namespace tutti::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

const cuda::Driver* loaded_driver() {
  const char* library = std::getenv("TUTTI_CUDA_LIBRARY");
  return *cuda::Driver::load(library ? library : cuda::kDriverLibrary);
}

// Each call's input is the output of the one before, and nobody waits in between.
TEST_F(OnDevice, CallsOnAStreamFollowEachOther) {
  constexpr int kRanks = 3, kCalls = 5;
  const LocalWorld world(kRanks);
  world.run([&](int rank, tutti_comm* comm) {
    const DeviceBytes memory(bytes_of(ramp(rank)));
    const tutti_call_options options = on_stream(memory.stream());
    for (int i = 0; i < kCalls; ++i)
      ASSERT_TRUE(succeeded(
          tutti_all_reduce(comm, memory.data(), memory.data(), kCount, TUTTI_FLOAT32, i % 2 ? TUTTI_MAX : TUTTI_SUM, &options),
          comm));
    ASSERT_TRUE(succeeded(tutti_barrier(comm, &options), comm));
    const std::vector<float> got = floats_in(memory);
    std::vector<float> expected(kCount);
    for (int r = 0; r < kRanks; ++r) {
      const std::vector<float> input = ramp(r);
      for (size_t i = 0; i < kCount; ++i) expected[i] += input[i] * kRanks * kRanks;  // of the three sums
    }
    EXPECT_EQ(got, expected);
    EXPECT_EQ(tutti_comm_status(comm), TUTTI_SUCCESS);
  });
}

// A stream that has not come to its call keeps no other stream's call from anything but its turn.
TEST_F(OnDevice, EachCallMayHaveAnotherStream) {
  const LocalWorld world(2);
  world.run([&](int rank, tutti_comm* comm) {
    const DeviceBytes first(bytes_of(ramp(rank))), second(bytes_of(ramp(rank + 2)));
    const tutti_call_options one = on_stream(first.stream()), two = on_stream(second.stream());
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(succeeded(tutti_broadcast(comm, first.data(), first.data(), kCount, TUTTI_FLOAT32, 0, rank ? &two : &one), comm));
      ASSERT_TRUE(
          succeeded(tutti_broadcast(comm, second.data(), second.data(), kCount, TUTTI_FLOAT32, 1, rank ? &one : &two), comm));
    }
    ASSERT_TRUE(succeeded(tutti_barrier(comm, &one), comm));
    ASSERT_TRUE(succeeded(tutti_barrier(comm, &two), comm));
    (void)first.content();
    (void)second.content();
    EXPECT_EQ(floats_in(first), ramp(0));
    EXPECT_EQ(floats_in(second), ramp(3));
  });
}

TEST_F(OnDevice, ARequestEndsWithItsOutput) {
  const LocalWorld world(2);
  world.run([&](int rank, tutti_comm* comm) {
    const DeviceBytes input(bytes_of(ramp(rank))), output(bytes_of(std::vector<float>(kCount)));
    const tutti_call_options options = on_stream(input.stream());
    tutti_request* request = nullptr;
    ASSERT_TRUE(succeeded(tutti_all_reduce_start(comm, input.data(), output.data(), kCount, TUTTI_FLOAT32, TUTTI_SUM,
                                                 rank == 0 ? &options : nullptr, &request),
                          comm));
    ASSERT_TRUE(succeeded(tutti_wait(request), comm));
    EXPECT_EQ(floats_in(output)[5], ramp(0)[5] + ramp(1)[5]);
  });
}

// Calls count alike, whichever way they are made; those of the library's own, by which ranks meet, do not count.
TEST_F(OnDevice, StatisticsCountCallsOnDevices) {
  constexpr uint64_t kBytes = kCount * sizeof(float), kPieceBytes = 64 << 10;
  const LocalWorld world(2);
  world.run([&](int rank, tutti_comm* comm) {
    const DeviceBytes memory(bytes_of(ramp(rank)));
    const tutti_call_options options = on_stream(memory.stream());
    const auto stats = [&] {
      tutti_stats now{};
      now.struct_size = sizeof now;
      EXPECT_EQ(tutti_comm_stats(comm, &now), TUTTI_SUCCESS);
      return now;
    };
    const uint64_t held = stats().memory_bytes;
    EXPECT_STREQ(stats().transports, "memory 1");
    const auto sum = [&](const tutti_call_options* how, tutti_request** request) {
      const auto status =
          request ? tutti_all_reduce_start(comm, memory.data(), memory.data(), kCount, TUTTI_FLOAT32, TUTTI_MAX, how, request)
                  : tutti_all_reduce(comm, memory.data(), memory.data(), kCount, TUTTI_FLOAT32, TUTTI_MAX, how);
      ASSERT_TRUE(succeeded(status, comm));
    };
    sum(nullptr, nullptr);
    EXPECT_EQ(stats().operations, 1U);
    EXPECT_EQ(stats().input_bytes, kBytes);
    EXPECT_GT(stats().nanoseconds, 0U);
    tutti_request* request = nullptr;
    sum(nullptr, &request);
    ASSERT_TRUE(succeeded(tutti_wait(request), comm));
    EXPECT_EQ(stats().operations, 2U);
    EXPECT_EQ(stats().input_bytes, 2 * kBytes);
    sum(&options, nullptr);
    sum(&options, &request);
    ASSERT_TRUE(succeeded(tutti_wait(request), comm));
    const tutti_stats last = stats();
    EXPECT_EQ(last.operations, 4U);
    EXPECT_EQ(last.input_bytes, 4 * kBytes);
    if (is_staged()) {
      EXPECT_STREQ(last.transports, "memory 1");
      EXPECT_THAT(last.last_reason, StartsWith("staged in 7 pieces, since TUTTI_CUDA=staged; "));
      EXPECT_GE(last.sent_bytes, 4 * kBytes);
      EXPECT_GE(last.memory_bytes, held + 6 * kPieceBytes);
    } else {
      EXPECT_STREQ(last.transports, "memory 1, cuda 1");
      EXPECT_STREQ(last.last_algorithm, "direct");
      EXPECT_THAT(last.last_reason, StartsWith("by kernels, "));
      EXPECT_EQ(last.sent_bytes, 0U);
      EXPECT_GE(last.memory_bytes, held + (1 << 20));  // slots in the device's memory
    }
  });
}

// Ranks meet by way of the queue where something is in it.
TEST_F(OnDevice, StatisticsCountNoMeetingBesideARequest) {
  const LocalWorld world(2);
  world.run([&](int rank, tutti_comm* comm) {
    const DeviceBytes memory(bytes_of(ramp(rank)));
    float mine = 0, theirs = 0;
    tutti_request* request = nullptr;
    ASSERT_TRUE(succeeded(tutti_recv_start(comm, &theirs, 1, TUTTI_FLOAT32, 1 - rank, 0, nullptr, &request), comm));
    ASSERT_TRUE(succeeded(tutti_all_reduce(comm, memory.data(), memory.data(), kCount, TUTTI_FLOAT32, TUTTI_SUM, nullptr), comm));
    ASSERT_TRUE(succeeded(tutti_send(comm, &mine, 1, TUTTI_FLOAT32, 1 - rank, 0, nullptr), comm));
    ASSERT_TRUE(succeeded(tutti_wait(request), comm));
    tutti_stats stats{};
    stats.struct_size = sizeof stats;
    ASSERT_EQ(tutti_comm_stats(comm, &stats), TUTTI_SUCCESS);
    EXPECT_EQ(stats.operations, 3U);
    EXPECT_EQ(stats.input_bytes, (kCount + 2) * sizeof(float));
  });
}

TEST_F(OnDevice, DestroyWaitsForWhatIsOnStreams) {
  DeviceBytes first(bytes_of(ramp(0))), second(bytes_of(ramp(1)));
  {
    const LocalWorld world(2);
    world.run([&](int rank, tutti_comm* comm) {
      const DeviceBytes& memory = rank ? second : first;
      const tutti_call_options options = on_stream(memory.stream());
      ASSERT_TRUE(
          succeeded(tutti_all_reduce(comm, memory.data(), memory.data(), kCount, TUTTI_FLOAT32, TUTTI_SUM, &options), comm));
    });
  }
  EXPECT_EQ(floats_in(first)[3], ramp(0)[3] + ramp(1)[3]);
  EXPECT_EQ(floats_in(second)[3], ramp(0)[3] + ramp(1)[3]);
}

TEST_F(OnDevice, AStreamGoesOnAfterAFailure) {
  const LocalWorld world(2);
  const DeviceBytes memory(bytes_of(ramp(0)));
  const tutti_call_options options = on_stream(memory.stream());
  world.run([&](int, tutti_comm* comm) {  // the first call makes what is needed
    const DeviceBytes small(bytes_of(ramp(0, 10)));
    ASSERT_TRUE(succeeded(tutti_all_reduce(comm, small.data(), small.data(), 10, TUTTI_FLOAT32, TUTTI_SUM, nullptr), comm));
  });
  for (int i = 0; i < 3; ++i)
    ASSERT_TRUE(succeeded(tutti_all_reduce(world.comm(0), memory.data(), memory.data(), kCount, TUTTI_FLOAT32, TUTTI_SUM, &options),
                          world.comm(0)));
  ASSERT_EQ(tutti_comm_abort(world.comm(1), "a test"), TUTTI_SUCCESS);
  (void)memory.content();  // waits for the stream
  EXPECT_EQ(tutti_comm_status(world.comm(0)), TUTTI_ABORTED);
  EXPECT_THAT(tutti_last_error(world.comm(0)), HasSubstr("aborted the communicator: a test"));
  EXPECT_EQ(tutti_all_reduce(world.comm(0), memory.data(), memory.data(), 1, TUTTI_FLOAT32, TUTTI_SUM, &options), TUTTI_ABORTED);
}

cuda::CUgraphExec captured(const cuda::Driver& driver, cuda::CUstream stream, const std::function<void()>& calls,
                           cuda::CaptureMode mode = cuda::CaptureMode::thread_local_) {
  EXPECT_EQ(driver.call<"cuStreamBeginCapture">(stream, mode), cuda::Error::success);
  calls();
  cuda::CUgraph graph = nullptr;
  cuda::CUgraphExec ready = nullptr;
  EXPECT_EQ(driver.call<"cuStreamEndCapture">(stream, &graph), cuda::Error::success);
  EXPECT_EQ(driver.call<"cuGraphInstantiateWithFlags">(&ready, graph, 0ULL), cuda::Error::success);
  EXPECT_EQ(driver.call<"cuGraphDestroy">(graph), cuda::Error::success);
  return ready;
}

// Each launch of the graph is the calls again; other calls come between.
TEST_F(OnDevice, AGraphIsLaunchedAgainAndAgain) {
  if (is_staged()) GTEST_SKIP() << "for calls by kernels";
  constexpr size_t kFew = 3000;
  const LocalWorld world(2);
  world.run([&](int rank, tutti_comm* comm) {
    const cuda::Driver& driver = *loaded_driver();
    const auto context = cuda::Context::retain(driver, 0);
    const cuda::CurrentContext current(**context);
    const DeviceBytes memory(bytes_of(ramp(rank, kFew)));
    const auto stream = static_cast<cuda::CUstream>(memory.stream());
    const tutti_call_options options = on_stream(stream);
    const auto sum = [&] {
      ASSERT_TRUE(succeeded(tutti_all_reduce(comm, memory.data(), memory.data(), kFew, TUTTI_FLOAT32, TUTTI_SUM, &options), comm));
    };
    const cuda::CUgraphExec graph = captured(driver, stream, [&] {
      sum();
      tutti_request* request = nullptr;  // which nobody could end
      EXPECT_EQ(tutti_barrier_start(comm, &options, &request), TUTTI_UNSUPPORTED);
      EXPECT_EQ(tutti_all_reduce_start(comm, memory.data(), memory.data(), kFew, TUTTI_FLOAT32, TUTTI_SUM, &options, &request),
                TUTTI_UNSUPPORTED);
      EXPECT_THAT(tutti_last_error(comm), HasSubstr("a request cannot tell when a graph is launched"));
      ASSERT_TRUE(succeeded(tutti_broadcast(comm, memory.data(), memory.data(), kFew, TUTTI_FLOAT32, 1, &options), comm));
    });
    for (int i = 0; i < 3; ++i) ASSERT_EQ(driver.call<"cuGraphLaunch">(graph, stream), cuda::Error::success);
    sum();
    ASSERT_EQ(driver.call<"cuGraphLaunch">(graph, stream), cuda::Error::success);
    tutti_stats stats{};
    stats.struct_size = sizeof stats;
    ASSERT_EQ(tutti_comm_stats(comm, &stats), TUTTI_SUCCESS);
    EXPECT_EQ(stats.operations, 3U);  // two were captured; launches of graphs are not seen
    const std::vector<float> got = floats_in(memory);
    for (size_t i = 0; i < kFew; ++i) ASSERT_EQ(got[i], (ramp(0, kFew)[i] + ramp(1, kFew)[i]) * 16) << i;  // five sums
    EXPECT_EQ(driver.call<"cuGraphExecDestroy">(graph), cuda::Error::success);
  });
}

// As PyTorch captures: what may allocate is then forbidden to all threads of the process that have not said otherwise.
TEST_F(OnDevice, AFirstCallIsCapturedInGlobalMode) {
  if (is_staged()) GTEST_SKIP() << "for calls by kernels";
  constexpr int kRanks = 2, kLaunches = 3;
  const LocalWorld world(kRanks);
  std::barrier together(kRanks);
  world.run([&](int rank, tutti_comm* comm) {
    const cuda::Driver& driver = device_of_tests()->driver();
    const cuda::CurrentContext current(*device_of_tests());
    const DeviceBytes memory(bytes_of(ramp(rank)));
    const auto stream = static_cast<cuda::CUstream>(memory.stream());
    const tutti_call_options options = on_stream(stream);
    together.arrive_and_wait();
    const cuda::CUgraphExec graph = captured(
        driver, stream,
        [&] {
          EXPECT_TRUE(
              succeeded(tutti_all_reduce(comm, memory.data(), memory.data(), kCount, TUTTI_FLOAT32, TUTTI_SUM, &options), comm));
        },
        cuda::CaptureMode::global);
    together.arrive_and_wait();
    ASSERT_TRUE(graph);
    EXPECT_EQ(floats_in(memory), ramp(rank));  // nothing has run yet
    for (int i = 0; i < kLaunches; ++i) EXPECT_EQ(driver.call<"cuGraphLaunch">(graph, stream), cuda::Error::success);
    const std::vector<float> got = floats_in(memory), first = ramp(0), second = ramp(1);
    for (size_t i = 0; i < kCount; ++i) ASSERT_EQ(got[i], (first[i] + second[i]) * 4) << i;
    EXPECT_EQ(driver.call<"cuGraphExecDestroy">(graph), cuda::Error::success);
  });
}

// The messages of one rank are stamped, those of the other are not, so neither sees any of the other's.
TEST_F(OnDevice, RanksThatCallDifferentSizesAreTold) {
  const LocalWorld world(2);
  constexpr size_t kLarge = 200'000;
  world.run([&](int rank, tutti_comm* comm) {
    const DeviceBytes memory(bytes_of(ramp(rank, kLarge)));
    const auto sum = [&](size_t count) {
      return tutti_all_reduce(comm, memory.data(), memory.data(), count, TUTTI_FLOAT32, TUTTI_SUM, nullptr);
    };
    ASSERT_TRUE(succeeded(sum(100), comm));
    EXPECT_EQ(sum(rank == 0 ? 100 : kLarge), TUTTI_MISMATCH);
    EXPECT_THAT(tutti_last_error(comm), AllOf(HasSubstr("of 100 float32"), HasSubstr("of 200000 float32")));
  });
}

// After a first broadcast of 100 floats the ranks make these of their own; the first one's status goes to `look`.
template <class Look>
void broadcast_differently(const std::vector<size_t> (&counts)[2], Look look) {
  const LocalWorld world(2);
  world.run([&](int rank, tutti_comm* comm) {
    const DeviceBytes memory(bytes_of(ramp(rank, 200'000)));
    const auto broadcast = [&](size_t count) {
      return tutti_broadcast(comm, memory.data(), memory.data(), count, TUTTI_FLOAT32, 0, nullptr);
    };
    ASSERT_TRUE(succeeded(broadcast(100), comm));
    for (const size_t count : counts[rank]) {
      const tutti_status status = broadcast(count);  // of the root all may succeed: its kernel ends when it has sent
      if (count == counts[rank].front()) look(rank, comm, status);
    }
    EXPECT_EQ(tutti_barrier(comm, nullptr), TUTTI_MISMATCH);
  });
}

TEST_F(OnDevice, ARootThatHasSentSomethingElseIsTold) {
  broadcast_differently({{100}, {200'000}}, [](int rank, tutti_comm* comm, tutti_status status) {
    if (rank == 0) return;
    EXPECT_EQ(status, TUTTI_MISMATCH);
    EXPECT_THAT(tutti_last_error(comm), HasSubstr("broadcast #2 of 200000 float32"));
  });
}

// Each finds a message of the size that it waits for, but of the other call.
TEST_F(OnDevice, CallsInAnotherOrderAreTold) {
  broadcast_differently({{100, 200'000}, {200'000, 100}}, [](int, tutti_comm*, tutti_status) {});
}

TEST_F(OnDevice, AMessageOfAnotherLengthIsTold) {
  const LocalWorld world(2);
  world.run([&](int rank, tutti_comm* comm) {
    const DeviceBytes input(bytes_of(ramp(rank, 300))), output(bytes_of(ramp(rank, 300)));
    // Rank 0 sends 100 elements to rank 1, which wants 99.
    const size_t send_counts[] = {50, 100}, from_me[] = {0, 50};
    const size_t recv_counts[] = {rank == 0 ? size_t{50} : 99, rank == 0 ? size_t{50} : 100}, to_me[] = {0, 100};
    (void)tutti_all_to_all_v(comm, input.data(), send_counts, from_me, output.data(), recv_counts, to_me, TUTTI_FLOAT32, nullptr);
    EXPECT_EQ(tutti_barrier(comm, nullptr), TUTTI_MISMATCH);
    EXPECT_THAT(tutti_last_error(comm), HasSubstr("all_to_all #1"));
  });
}

// Kernels that wait for one another end with the communicator, and say why.
TEST_F(OnDevice, RanksThatCallDifferentThingsAreTold) {
  const LocalWorld world(2);
  world.run([&](int rank, tutti_comm* comm) {
    const DeviceBytes memory(bytes_of(ramp(rank, 100)));
    ASSERT_TRUE(succeeded(tutti_all_reduce(comm, memory.data(), memory.data(), 100, TUTTI_FLOAT32, TUTTI_SUM, nullptr), comm));
    EXPECT_EQ(tutti_all_reduce(comm, memory.data(), memory.data(), 100, TUTTI_FLOAT32, rank ? TUTTI_MAX : TUTTI_SUM, nullptr),
              TUTTI_MISMATCH);
    EXPECT_THAT(tutti_last_error(comm), HasSubstr("ranks called different things: rank 0"));
    EXPECT_THAT(tutti_last_error(comm), HasSubstr("all_reduce #2 of 100 float32 on devices, sum"));
    EXPECT_THAT(tutti_last_error(comm), HasSubstr("all_reduce #2 of 100 float32 on devices, max"));
    EXPECT_EQ(floats_in(memory).size(), 100U);  // the device goes on
  });
}

TEST_F(OnDevice, ARankThatDoesNotComeIsNamed) {
  const LocalWorld world(3);
  world.run([&](int rank, tutti_comm* comm) {
    const DeviceBytes memory(bytes_of(ramp(rank, 100)));
    ASSERT_TRUE(succeeded(tutti_all_reduce(comm, memory.data(), memory.data(), 100, TUTTI_FLOAT32, TUTTI_SUM, nullptr), comm));
    if (rank == 1) return;
    tutti_call_options options;
    tutti_call_options_init(&options);
    options.timeout_ms = 2000;
    EXPECT_EQ(tutti_all_reduce(comm, memory.data(), memory.data(), 100, TUTTI_FLOAT32, TUTTI_SUM, &options), TUTTI_TIMEOUT);
    EXPECT_THAT(tutti_last_error(comm), HasSubstr("rank 1"));
    EXPECT_THAT(tutti_last_error(comm), HasSubstr("is late"));
    EXPECT_EQ(floats_in(memory).size(), 100U);
  });
}

TEST_F(OnDevice, HostAndDeviceDoNotMeet) {
  const LocalWorld world(2);
  const DeviceBytes memory(bytes_of(ramp(0, 100)));
  std::vector<float> host(100);
  world.run([&](int rank, tutti_comm* comm) {
    void* const data = rank ? static_cast<void*>(host.data()) : memory.data();
    EXPECT_EQ(tutti_all_reduce(comm, data, data, 100, TUTTI_FLOAT32, TUTTI_SUM, nullptr), TUTTI_MISMATCH);
    EXPECT_THAT(tutti_last_error(comm), HasSubstr("all_reduce #1 of 100 float32 on devices, sum"));
  });
}

// A kernel waits for a message of rank 1's kernel, and rank 1's engine for one of rank 0's.
TEST_F(OnDevice, HostAndDeviceDoNotMeetLater) {
  const LocalWorld world(2);
  std::vector<float> host(100);
  world.run([&](int rank, tutti_comm* comm) {
    const DeviceBytes memory(bytes_of(ramp(rank, 100)));
    ASSERT_TRUE(succeeded(tutti_all_reduce(comm, memory.data(), memory.data(), 100, TUTTI_FLOAT32, TUTTI_SUM, nullptr), comm));
    void* const data = rank ? static_cast<void*>(host.data()) : memory.data();
    EXPECT_EQ(tutti_all_reduce(comm, data, data, 100, TUTTI_FLOAT32, TUTTI_SUM, nullptr), TUTTI_MISMATCH);
    EXPECT_THAT(tutti_last_error(comm),
                AllOf(HasSubstr("all_reduce #2 of 100 float32 on devices, sum"), HasSubstr("all_reduce #2 of 100 float32, sum")));
    EXPECT_EQ(floats_in(memory).size(), 100U);  // the device goes on
  });
}

TEST_F(OnDevice, BuffersOfACallAreOfOnePlace) {
  const LocalWorld world(1);
  tutti_comm* const comm = world.comm(0);
  const DeviceBytes memory(bytes_of(ramp(0)));
  std::vector<float> host(kCount);
  EXPECT_EQ(tutti_all_reduce(comm, host.data(), memory.data(), kCount, TUTTI_FLOAT32, TUTTI_SUM, nullptr), TUTTI_INVALID_ARGUMENT);
  EXPECT_STREQ(tutti_last_error(comm),
               "tutti_all_reduce: one buffer's memory is the host's and another's is that of device 0; all buffers "
               "of a call are memory of one device, or all are the host's");
  const tutti_call_options options = on_stream(memory.stream());
  EXPECT_EQ(tutti_all_reduce(comm, host.data(), host.data(), kCount, TUTTI_FLOAT32, TUTTI_SUM, &options), TUTTI_INVALID_ARGUMENT);
  EXPECT_THAT(tutti_last_error(comm), HasSubstr("tutti_all_reduce: a stream was given, and the buffers are the host's memory"));
  EXPECT_TRUE(succeeded(tutti_all_reduce(comm, memory.data(), memory.data(), kCount, TUTTI_FLOAT32, TUTTI_SUM, &options), comm));
  EXPECT_TRUE(succeeded(tutti_all_reduce(comm, host.data(), host.data(), kCount, TUTTI_FLOAT32, TUTTI_SUM, nullptr), comm));
  EXPECT_EQ(floats_in(memory), ramp(0));
}

TEST_F(OnDevice, NothingIsCapturedIntoAGraphThatGoesThroughTheHost) {
  if (!is_staged()) GTEST_SKIP() << "for TUTTI_CUDA=staged";
  const LocalWorld world(1);
  const DeviceBytes memory(bytes_of(ramp(0)));
  const cuda::Driver* const loaded = loaded_driver();
  const auto context = cuda::Context::retain(*loaded, 0);
  const cuda::CurrentContext current(**context);
  const auto stream = static_cast<cuda::CUstream>(memory.stream());
  ASSERT_EQ(loaded->call<"cuStreamBeginCapture">(stream, cuda::CaptureMode::relaxed), cuda::Error::success);
  const tutti_call_options options = on_stream(stream);
  EXPECT_EQ(tutti_all_reduce(world.comm(0), memory.data(), memory.data(), kCount, TUTTI_FLOAT32, TUTTI_SUM, &options),
            TUTTI_UNSUPPORTED);
  EXPECT_THAT(tutti_last_error(world.comm(0)), HasSubstr("tutti_all_reduce: the stream is being captured into a graph"));
  cuda::CUgraph graph = nullptr;
  ASSERT_EQ(loaded->call<"cuStreamEndCapture">(stream, &graph), cuda::Error::success);
  EXPECT_TRUE(succeeded(tutti_all_reduce(world.comm(0), memory.data(), memory.data(), kCount, TUTTI_FLOAT32, TUTTI_SUM, &options),
                        world.comm(0)));
}

// Either end's memory may be a device's; a receive changes only what has come.
TEST_F(OnDevice, Messages) {
  const LocalWorld world(2);
  world.run([&](int rank, tutti_comm* comm) {
    const DeviceBytes mine(bytes_of(ramp(rank))), theirs(bytes_of(std::vector<float>(kCount, -1)));
    tutti_received received{};
    tutti_message_options options;
    tutti_message_options_init(&options);
    options.received = &received;
    ASSERT_EQ(tutti_group_begin(comm), TUTTI_SUCCESS);
    ASSERT_TRUE(succeeded(tutti_send(comm, mine.data(), kCount / 2, TUTTI_FLOAT32, 1 - rank, 0, nullptr), comm));
    ASSERT_TRUE(succeeded(tutti_recv(comm, theirs.data(), kCount, TUTTI_FLOAT32, 1 - rank, 0, &options), comm));
    ASSERT_TRUE(succeeded(tutti_group_end(comm), comm));
    EXPECT_EQ(received.count, kCount / 2);
    std::vector<float> expected = ramp(1 - rank);
    std::fill(expected.begin() + kCount / 2, expected.end(), -1.0F);
    EXPECT_EQ(floats_in(theirs), expected);
    std::vector<float> host(10, -1);
    if (rank == 0) {
      ASSERT_TRUE(succeeded(tutti_send(comm, mine.data(), 10, TUTTI_FLOAT32, 1, 1, nullptr), comm));
    } else {
      ASSERT_TRUE(succeeded(tutti_recv(comm, host.data(), 10, TUTTI_FLOAT32, 0, 1, nullptr), comm));
      EXPECT_EQ(host, ramp(0, 10));
    }
    // To itself.
    tutti_request* request = nullptr;
    ASSERT_TRUE(succeeded(tutti_recv_start(comm, theirs.data(), 10, TUTTI_FLOAT32, rank, 2, nullptr, &request), comm));
    ASSERT_TRUE(succeeded(tutti_send(comm, mine.data(), 10, TUTTI_FLOAT32, rank, 2, nullptr), comm));
    ASSERT_TRUE(succeeded(tutti_wait(request), comm));
    EXPECT_EQ(floats_in(theirs)[9], ramp(rank)[9]);
  });
}

// What is sent is what the stream leaves, and what is received comes after that.
TEST_F(OnDevice, MessagesWaitForTheirStream) {
  const LocalWorld world(2);
  world.run([&](int rank, tutti_comm* comm) {
    const std::vector<float> zeros(kCount);
    for (int i = 0; i < 5; ++i) {
      const DeviceBytes memory(bytes_of(ramp(rank))), output(bytes_of(zeros));
      const tutti_call_options calls = on_stream(memory.stream());
      tutti_message_options messages;
      tutti_message_options_init(&messages);
      messages.stream = memory.stream();
      ASSERT_TRUE(succeeded(tutti_all_reduce(comm, memory.data(), output.data(), kCount, TUTTI_FLOAT32, TUTTI_SUM, &calls), comm));
      ASSERT_TRUE(succeeded(tutti_all_reduce(comm, output.data(), memory.data(), kCount, TUTTI_FLOAT32, TUTTI_SUM, &calls), comm));
      std::vector<float> expected = ramp(1);
      const std::vector<float> other = ramp(0);
      for (size_t k = 0; k < kCount; ++k) expected[k] = 2 * (expected[k] + other[k]);
      if (rank == 0) {
        ASSERT_TRUE(succeeded(tutti_send(comm, memory.data(), kCount, TUTTI_FLOAT32, 1, 0, &messages), comm));
        EXPECT_EQ(floats_in(memory), expected);
      } else {
        ASSERT_TRUE(succeeded(tutti_recv(comm, output.data(), kCount, TUTTI_FLOAT32, 0, 0, &messages), comm));
        EXPECT_EQ(floats_in(output), expected);
      }
      int host = 0;
      EXPECT_EQ(tutti_send(comm, &host, 1, TUTTI_INT32, 1 - rank, 1, &messages), TUTTI_INVALID_ARGUMENT);
      EXPECT_THAT(tutti_last_error(comm), HasSubstr("tutti_send: a stream was given, and the buffers are the host's memory"));
    }
  });
}

TEST_F(OnDevice, AMessageOfAStreamThatIsCaptured) {
  const LocalWorld world(1);
  const DeviceBytes memory(bytes_of(ramp(0)));
  auto* const stream = static_cast<cuda::CUstream>(memory.stream());
  tutti_message_options options;
  tutti_message_options_init(&options);
  options.stream = stream;
  const cuda::Driver* const loaded = loaded_driver();
  ASSERT_EQ(loaded->call<"cuStreamBeginCapture">(stream, cuda::CaptureMode::thread_local_), cuda::Error::success);
  EXPECT_EQ(tutti_send(world.comm(0), memory.data(), 1, TUTTI_FLOAT32, 0, 0, &options), TUTTI_UNSUPPORTED);
  EXPECT_THAT(tutti_last_error(world.comm(0)), HasSubstr("the stream is being captured into a graph, and a message cannot be"));
  cuda::CUgraph graph = nullptr;
  ASSERT_EQ(loaded->call<"cuStreamEndCapture">(stream, &graph), cuda::Error::success);
  ASSERT_EQ(loaded->call<"cuGraphDestroy">(graph), cuda::Error::success);
}

// Floats in memory that the driver's other allocators give.
class OtherMemory {
 public:
  OtherMemory(bool of_pool, const std::vector<float>& values)
      : of_pool_(of_pool), bytes_(values.size() * sizeof(float)), filled_(bytes_of(values)) {
    const cuda::Error error = of_pool ? driver().call<"cuMemAllocAsync">(&address_, bytes_, stream())
                                      : driver().call<"cuMemAllocManaged">(&address_, bytes_, cuda::kMemAttachGlobal);
    EXPECT_EQ(error, cuda::Error::success);
    copy(address_, cuda::address_of(filled_.data()));
    EXPECT_EQ(driver().call<"cuStreamSynchronize">(stream()), cuda::Error::success);
  }
  // Memory of a pool only: to free what is managed would wait for the whole device, and so for other ranks.
  ~OtherMemory() {
    if (!of_pool_) return;
    EXPECT_EQ(driver().call<"cuMemFreeAsync">(address_, stream()), cuda::Error::success);
  }
  OtherMemory(const OtherMemory&) = delete;
  OtherMemory& operator=(const OtherMemory&) = delete;
  void* data() const { return cuda::pointer_to(address_); }
  std::vector<float> values() const {
    copy(cuda::address_of(filled_.data()), address_);
    return floats_in(filled_);
  }

 private:
  static const cuda::Driver& driver() { return device_of_tests()->driver(); }
  cuda::CUstream stream() const { return static_cast<cuda::CUstream>(filled_.stream()); }
  void copy(cuda::CUdeviceptr to, cuda::CUdeviceptr from) const {
    EXPECT_TRUE(cuda::copy(*device_of_tests(), to, from, bytes_, stream()).ok());
  }
  const bool of_pool_;
  const size_t bytes_;
  const DeviceBytes filled_;
  cuda::CUdeviceptr address_ = 0;
};

// Managed memory, and memory of a pool, which no other process can open.
TEST_F(OnDevice, MemoryOfAnyAllocator) {
  for (const bool of_pool : {false, true}) {
    SCOPED_TRACE(of_pool ? "of a pool" : "managed");
    const LocalWorld world(2);
    world.run([&](int rank, tutti_comm* comm) {
      const cuda::CurrentContext current(*device_of_tests());
      const OtherMemory memory(of_pool, ramp(rank)), theirs(of_pool, std::vector<float>(kCount, -1));
      ASSERT_TRUE(succeeded(tutti_all_reduce(comm, memory.data(), memory.data(), kCount, TUTTI_FLOAT32, TUTTI_SUM, nullptr), comm));
      tutti_stats stats{};
      stats.struct_size = sizeof stats;
      ASSERT_EQ(tutti_comm_stats(comm, &stats), TUTTI_SUCCESS);
      EXPECT_THAT(stats.last_reason, StartsWith(is_staged() ? "staged in 7 pieces, " : "by kernels, "));
      std::vector<float> expected(kCount);
      std::ranges::transform(ramp(0), ramp(1), expected.begin(), std::plus<>());
      EXPECT_EQ(memory.values(), expected);
      const OtherMemory mine(of_pool, ramp(rank));
      ASSERT_EQ(tutti_group_begin(comm), TUTTI_SUCCESS);
      ASSERT_TRUE(succeeded(tutti_send(comm, mine.data(), kCount, TUTTI_FLOAT32, 1 - rank, 0, nullptr), comm));
      ASSERT_TRUE(succeeded(tutti_recv(comm, theirs.data(), kCount, TUTTI_FLOAT32, 1 - rank, 0, nullptr), comm));
      ASSERT_TRUE(succeeded(tutti_group_end(comm), comm));
      EXPECT_EQ(theirs.values(), ramp(1 - rank));
    });
  }
}

TEST_F(OnDevice, CodecsGiveTheBitsOfTheHost) {
  for (const char* spec : {"int8", "topk", "bf16"}) {
    const LocalWorld world(3);
    std::vector<std::vector<float>> host(3), device(3);
    world.run([&](int rank, tutti_comm* comm) {
      const CodecPointer of_host = made(spec, kCount), of_device = made(spec, kCount);
      for (int step = 0; step < 2; ++step) {
        std::vector<float> values = gradient(rank, kCount, step);
        const DeviceBytes memory(bytes_of(values));
        tutti_call_options options = with(of_host, "ring");
        ASSERT_TRUE(
            succeeded(tutti_all_reduce(comm, values.data(), values.data(), kCount, TUTTI_FLOAT32, TUTTI_AVG, &options), comm));
        options = with(of_device, "ring");
        options.stream = memory.stream();
        ASSERT_TRUE(
            succeeded(tutti_all_reduce(comm, memory.data(), memory.data(), kCount, TUTTI_FLOAT32, TUTTI_AVG, &options), comm));
        device[static_cast<size_t>(rank)] = floats_in(memory);
        host[static_cast<size_t>(rank)] = std::move(values);
      }
    });
    EXPECT_EQ(device, host) << spec;
  }
}

}  // namespace
}  // namespace tutti::test
