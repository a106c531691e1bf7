// All-reduces on device memory, by ranks that are threads of this process, beside the same call on the host's memory.
#include <tutti/tutti.h>

#include <cmath>
#include <thread>

#include "facts.h"

namespace tutti::gpu {
namespace {

constexpr int kRanks = 2;

class Group {
 public:
  Group() {
    if (tutti_comm_create_local(comms_, kRanks) != TUTTI_SUCCESS) throw std::runtime_error(tutti_last_error(nullptr));
  }
  Group(const Group&) = delete;
  ~Group() {
    run([&](int rank) { tutti_comm_destroy(comms_[rank]); });
  }
  template <class Body>
  void run(Body body) const {
    std::vector<std::thread> threads;
    for (int rank = 0; rank < kRanks; ++rank) threads.emplace_back(body, rank);
    for (std::thread& thread : threads) thread.join();
  }
  tutti_comm* comm(int rank) const { return comms_[rank]; }

 private:
  tutti_comm* comms_[kRanks] = {};
};

void must(tutti_status status, const tutti_comm* comm) {
  if (status != TUTTI_SUCCESS) throw std::runtime_error(tutti_last_error(comm));
}

// The median of what rank 0's calls took.  `then` is part of a call.
template <class Memory, class Then>
double microseconds(const Group& group, const std::vector<Memory>& buffers, size_t bytes, int calls, Then then, bool on_stream,
                    const std::vector<cuda::Stream>& streams) {
  std::vector<double> took;
  std::string error;
  group.run([&](int rank) {
    try {
      tutti_call_options options;
      tutti_call_options_init(&options);
      if (on_stream) options.stream = streams[static_cast<size_t>(rank)].get();
      void* const data = buffers[static_cast<size_t>(rank)].data();
      for (int i = 0; i < calls + 2; ++i) {
        const uint64_t start = now_ns();
        must(tutti_all_reduce(group.comm(rank), data, data, bytes / sizeof(float), TUTTI_FLOAT32, TUTTI_MAX, &options),
             group.comm(rank));
        then(rank);
        if (rank == 0 && i >= 2) took.push_back(static_cast<double>(now_ns() - start) * 1e-3);
      }
    } catch (const std::exception& failure) {
      error = failure.what();
    }
  });
  if (!error.empty()) throw std::runtime_error(error);
  std::nth_element(took.begin(), took.begin() + static_cast<ptrdiff_t>(took.size() / 2), took.end());
  return took[took.size() / 2];
}

}  // namespace

void find_calls(const Session& session, Findings& findings) {
  const Group group;
  for (const size_t bytes : {size_t{1} << 10, size_t{64} << 10, size_t{1} << 20, size_t{4} << 20, size_t{64} << 20}) {
    const std::string size = bytes < 1 << 20 ? std::to_string(bytes >> 10) + " KiB" : std::to_string(bytes >> 20) + " MiB";
    findings.attempt("calls.all_reduce", [&] {
      std::vector<cuda::DeviceMemory> device;
      std::vector<cuda::PinnedMemory> host;
      std::vector<cuda::Stream> streams;
      for (int rank = 0; rank < kRanks; ++rank) {
        device.push_back(session.device_memory(bytes));
        host.push_back(session.pinned_memory(bytes));
        std::fill_n(host.back().data(), bytes, std::byte{});
        streams.push_back(session.stream());
        need(cuda::fill(*session.context(), device.back().address(), 0, bytes, streams.back().get()));
      }
      need(session.context()->check(session.driver().call<"cuCtxSynchronize">(), "wait"));
      const int calls = bytes > 4 << 20 ? 15 : 100;
      const auto nothing = [](int) {};
      const auto synchronize = [&](int rank) {
        const cuda::CurrentContext current(*session.context());
        need(session.context()->check(session.driver().call<"cuStreamSynchronize">(streams[static_cast<size_t>(rank)].get()),
                                      "wait"));
      };
      const std::string of = "2 ranks, " + size;
      findings.number("calls.all_reduce_of_host_memory", microseconds(group, host, bytes, calls, nothing, false, streams), "us",
                      of);
      findings.number("calls.all_reduce_of_device_memory", microseconds(group, device, bytes, calls, nothing, false, streams), "us",
                      of);
      findings.number("calls.all_reduce_on_stream_and_synchronize",
                      microseconds(group, device, bytes, calls, synchronize, true, streams), "us", of);
      findings.number("calls.all_reduce_on_stream_each_of_many", microseconds(group, device, bytes, calls, nothing, true, streams),
                      "us", of + ", till the call returns");
      group.run(synchronize);
    });
  }
}

}  // namespace tutti::gpu
