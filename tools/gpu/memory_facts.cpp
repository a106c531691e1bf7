#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <memory>

#include "facts.h"

namespace tutti::gpu {
namespace {

using cuda::CUdeviceptr;

std::atomic_ref<uint32_t> host_word(std::byte* at) {
  return std::atomic_ref(*reinterpret_cast<uint32_t*>(at));  // NOLINT: memory made for words
}
// What a kernel that has waited reports lies in pinned memory.
probes::Report report_in(const cuda::PinnedMemory& memory) {
  probes::Report report{};
  std::memcpy(&report, memory.data(), sizeof(report));
  return report;
}

// Shared memory of a file descriptor, as the arenas of hosts are.
class SharedMapping {
 public:
  explicit SharedMapping(size_t bytes) : bytes_(bytes), fd_(::memfd_create("gpu_facts", MFD_CLOEXEC)) {
    if (fd_ < 0 || ::ftruncate(fd_, static_cast<off_t>(bytes)) != 0) throw std::runtime_error("there is no memfd");
    memory_ = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
    if (memory_ == MAP_FAILED) throw std::runtime_error("a memfd cannot be mapped");
    std::memset(memory_, 0, bytes);
  }
  SharedMapping(const SharedMapping&) = delete;
  ~SharedMapping() {
    ::munmap(memory_, bytes_);
    ::close(fd_);
  }
  std::byte* data() const { return static_cast<std::byte*>(memory_); }

 private:
  size_t bytes_;
  int fd_;
  void* memory_ = nullptr;
};

// Of a word that never comes: how long a look at it takes.
double poll_ns(const Session& s, CUdeviceptr word) {
  const cuda::Stream on = s.stream();
  const cuda::PinnedMemory report = s.pinned_memory(4096);
  const probes::Poll call{device_word(word), nullptr,
                          static_cast<probes::Report*>(cuda::pointer_to(taken(report.device_address()))), 5'000'000, 1};
  need(s.probe("probe_poll").launch(1, 32, &call, on.get()));
  s.finish(on.get());
  const probes::Report found = report_in(report);
  if (found.reached != 2 || found.polls == 0) throw std::runtime_error("a word came that nobody wrote");
  return static_cast<double>(found.ns) / static_cast<double>(found.polls);
}

// A kernel and this thread take turns by two words of host memory.
void round_trip(const Session& s, Findings& f, const std::string& fact, std::byte* host, CUdeviceptr device) {
  constexpr uint32_t kRounds = 2'000;
  const cuda::Stream on = s.stream();
  const cuda::PinnedMemory report = s.pinned_memory(4096);
  host_word(host) = 0;
  host_word(host + 256) = 0;
  const probes::Ping call{device_word(device),
                          device_word(device + 256),
                          static_cast<probes::Report*>(cuda::pointer_to(taken(report.device_address()))),
                          probes::kLongestWait,
                          kRounds,
                          0};
  need(s.probe("probe_ping").launch(1, 32, &call, on.get()));
  const uint64_t begin = now_ns();
  for (uint32_t round = 1; round <= kRounds && now_ns() - begin < probes::kLongestWait; ++round) {
    host_word(host).store(round, std::memory_order_release);
    while (host_word(host + 256).load(std::memory_order_acquire) < round && now_ns() - begin < probes::kLongestWait) {
    }
  }
  s.finish(on.get());
  const probes::Report found = report_in(report);
  if (found.reached == 1)
    f.number(fact, static_cast<double>(found.ns) / (kRounds - 1), "ns", "there and back");
  else
    f.text(fact, "not done in two seconds");
}

// Kernels of this process, each on a stream of its own, take turns in a ring; false where they did not all run at once.
bool ring(const Session& s, uint32_t kernels, double& hop_ns) {
  constexpr uint32_t kRounds = 100;
  std::vector<cuda::Stream> streams;
  const cuda::DeviceMemory words = s.device_memory(size_t{256} * kernels);
  const cuda::PinnedMemory report = s.pinned_memory(sizeof(probes::Report) * kernels);
  for (uint32_t k = 0; k < kernels; ++k) streams.push_back(s.stream());
  need(cuda::fill(*s.context(), words.address(), 0, words.size(), streams[0].get()));
  s.finish(streams[0].get());
  const cuda::Function ping = s.probe("probe_ping");
  auto* const reports = static_cast<probes::Report*>(cuda::pointer_to(taken(report.device_address())));
  for (uint32_t k = 0; k < kernels; ++k) {
    const probes::Ping call{device_word(words.address() + 256 * k),
                            device_word(words.address() + 256 * ((k + 1) % kernels)),
                            reports + k,
                            probes::kLongestWait,
                            kRounds,
                            k == 0};
    need(ping.launch(1, 32, &call, streams[k].get()));
  }
  for (const cuda::Stream& stream : streams) s.finish(stream.get());
  const probes::Report found = report_in(report);
  hop_ns = static_cast<double>(found.ns) / (static_cast<double>(kernels) * (kRounds - 1));
  return found.reached == 1;
}

// From a store of the host to a word that a stream waits for, until what the stream then writes is seen.
double wait_value_ns(const Session& s, const cuda::PinnedMemory& word) {
  const cuda::Stream on = s.stream();
  const CUdeviceptr at = taken(word.device_address());
  host_word(word.data()) = 0;
  host_word(word.data() + 256) = 0;
  std::vector<double> all;
  for (uint32_t round = 1; round <= 105; ++round) {
    need(cuda::wait_for_word(*s.context(), at, round, on.get()));
    need(cuda::write_word(*s.context(), at + 256, round, on.get()));
    ::usleep(200);  // so that the stream waits by then
    const uint64_t begin = now_ns();
    host_word(word.data()).store(round, std::memory_order_release);
    while (host_word(word.data() + 256).load(std::memory_order_acquire) != round)
      if (now_ns() - begin > kSecond) throw std::runtime_error("a stream does not see a word of the host");
    if (round > 5) all.push_back(static_cast<double>(now_ns() - begin));
  }
  s.finish(on.get());
  return Session::median(all);
}

void host_memory(const Session& s, Findings& f) {
  const cuda::PinnedMemory pinned = s.pinned_memory(1 << 20);
  const cuda::DeviceMemory device = s.device_memory(4096);
  const cuda::Stream on = s.stream();
  std::memset(pinned.data(), 0, 4096);
  need(cuda::fill(*s.context(), device.address(), 0, 4096, on.get()));
  s.finish(on.get());
  const CUdeviceptr of_pinned = taken(pinned.device_address());
  f.attempt("poll.device", [&] { f.number("poll.device", poll_ns(s, device.address()), "ns", "a look of one thread"); });
  f.attempt("poll.pinned", [&] { f.number("poll.pinned", poll_ns(s, of_pinned), "ns"); });
  f.attempt("turns.kernel_and_host", [&] { round_trip(s, f, "turns.kernel_and_host", pinned.data(), of_pinned); });
  const int multiprocessors = taken(s.context()->attribute(cuda::DeviceAttribute::multiprocessor_count));
  for (const uint32_t kernels : {2U, 8U, 16U, 32U, 64U}) {
    if (static_cast<int>(kernels) > multiprocessors) break;
    const std::string fact = "turns.kernels_" + std::to_string(kernels);
    f.attempt(fact, [&] {
      double hop_ns = 0;
      if (ring(s, kernels, hop_ns))
        f.number(fact, hop_ns, "ns", "a hop in a ring of streams of this process");
      else
        f.text(fact, "did not all run at once");
    });
  }
  f.attempt("wait_value.pinned", [&] {
    f.number("wait_value.pinned", wait_value_ns(s, pinned), "ns", "host writes, stream sees and writes, host sees");
  });
  f.attempt("register.memfd", [&] {
    for (const size_t bytes : {size_t{4} << 10, size_t{4} << 20, size_t{64} << 20}) {
      const SharedMapping shared(bytes);
      const std::string of = "register.memfd_" + std::to_string(bytes >> 10) + "K";
      uint64_t begin = now_ns();
      auto registration =
          std::make_unique<cuda::HostRegistration>(taken(cuda::HostRegistration::make(s.context(), shared.data(), bytes)));
      f.number(of, static_cast<double>(now_ns() - begin) / 1e3, "us");
      const CUdeviceptr at = taken(registration->device_address());
      f.number(of + ".same_address", cuda::pointer_to(at) == shared.data(), "");
      if (bytes == size_t{4} << 10) {
        f.number("poll.memfd", poll_ns(s, at), "ns");
        round_trip(s, f, "turns.kernel_and_memfd", shared.data(), at);
      }
      begin = now_ns();
      registration.reset();
      f.number(of + ".unregister", static_cast<double>(now_ns() - begin) / 1e3, "us");
    }
  });
}

// How long a call takes while a kernel runs that goes on for 100 ms; one that waits for the device takes as long.
template <class Call>
void beside_kernel(const Session& s, Findings& f, const std::string& fact, Call call) {
  f.attempt("beside_kernel." + fact, [&] {
    const cuda::Stream on = s.stream();
    const cuda::PinnedMemory words = s.pinned_memory(4096);
    std::memset(words.data(), 0, 4096);
    const CUdeviceptr at = taken(words.device_address());
    const probes::Poll poll{device_word(at), device_word(at + 256), static_cast<probes::Report*>(cuda::pointer_to(at + 512)),
                            100'000'000, 1};
    const cuda::Function kernel = s.probe("probe_poll");
    need(kernel.launch(1, 32, &poll, on.get()));
    while (host_word(words.data() + 256).load(std::memory_order_acquire) == 0) {
    }
    const uint64_t begin = now_ns();
    call();
    const double ns = static_cast<double>(now_ns() - begin);
    s.finish(on.get());
    f.number("beside_kernel." + fact, ns / 1e3, "us", ns > 50e6 ? "WAITS for the kernel" : "does not wait");
  });
}

void what_waits(const Session& s, Findings& f) {
  CUdeviceptr address = 0;
  void* host = nullptr;
  const cuda::Driver& d = s.driver();
  const auto check = [&](cuda::Error error) { need(s.context()->check(error, "do it")); };
  beside_kernel(s, f, "cuMemAlloc", [&] { check(d.call<"cuMemAlloc">(&address, size_t{64} << 20)); });
  beside_kernel(s, f, "cuMemFree", [&] { check(d.call<"cuMemFree">(address)); });
  beside_kernel(s, f, "cuMemHostAlloc", [&] { check(d.call<"cuMemHostAlloc">(&host, size_t{4} << 20, cuda::kHostAllocPortable)); });
  beside_kernel(s, f, "cuMemFreeHost", [&] { check(d.call<"cuMemFreeHost">(host)); });
  const SharedMapping shared(4 << 20);
  beside_kernel(s, f, "cuMemHostRegister",
                [&] { check(d.call<"cuMemHostRegister">(static_cast<void*>(shared.data()), size_t{4} << 20, 1U)); });
  beside_kernel(s, f, "cuMemHostUnregister", [&] { check(d.call<"cuMemHostUnregister">(static_cast<void*>(shared.data()))); });
  cuda::CUmodule module = nullptr;
  cuda::CUfunction function = nullptr;
  const cuda::Stream other = s.stream();
  beside_kernel(s, f, "cuModuleLoadData",
                [&] { check(d.call<"cuModuleLoadData">(&module, static_cast<const void*>(s.image().data()))); });
  beside_kernel(s, f, "cuModuleGetFunction", [&] { check(d.call<"cuModuleGetFunction">(&function, module, "probe_empty")); });
  beside_kernel(s, f, "first_launch_of_function_not_loaded", [&] {
    const probes::Empty nothing{};
    need(cuda::Function(s.context(), function).launch(1, 32, &nothing, other.get()));
  });
  s.finish(other.get());
  beside_kernel(s, f, "cuFuncLoad", [&] {
    check(d.call<"cuModuleGetFunction">(&function, module, "probe_ping"));
    if (d.has<"cuFuncLoad">()) check(d.call<"cuFuncLoad">(function));
  });
  beside_kernel(s, f, "cuModuleUnload", [&] { check(d.call<"cuModuleUnload">(module)); });
  beside_kernel(s, f, "create_and_destroy_stream", [&] { (void)s.stream(); });
  beside_kernel(s, f, "create_and_destroy_event", [&] { (void)s.event(); });
  const cuda::Function empty = s.probe("probe_empty");
  beside_kernel(s, f, "launch_on_another_stream", [&] {
    const probes::Empty nothing{};
    need(empty.launch(1, 32, &nothing, other.get()));
    s.finish(other.get());
  });
}

void own_handle(const Session& s, Findings& f) {
  const cuda::DeviceMemory memory = s.device_memory(2 << 20);
  const cuda::CUipcMemHandle handle = taken(memory.shared());
  const auto own = cuda::OpenedMemory::open(s.context(), handle);
  f.text("ipc.own_handle", own.ok() ? "can be opened" : own.status().message());
  const cuda::Stream on = s.stream();
  CUdeviceptr pool = 0;
  need(s.context()->check(s.driver().call<"cuMemAllocAsync">(&pool, size_t{2} << 20, on.get()), "allocate from a pool"));
  f.number("ipc.pool_memory_says_it_can", taken(cuda::allocation_of(*s.context(), pool)).can_be_shared, "");
  const auto of_pool = cuda::share(*s.context(), pool);
  f.text("ipc.pool_memory", of_pool.ok() ? "can be shared" : of_pool.status().message());
  (void)s.driver().call<"cuMemFreeAsync">(pool, on.get());
  s.finish(on.get());
}

}  // namespace

void find_memory(const Session& session, Findings& findings) {
  findings.attempt("memory", [&] { host_memory(session, findings); });
  findings.attempt("ipc.own", [&] { own_handle(session, findings); });
  findings.attempt("beside_kernel", [&] { what_waits(session, findings); });
}

}  // namespace tutti::gpu
