#include <atomic>
#include <cstdio>

#include "facts.h"
#include "fold_call.h"
#include "image.h"

namespace tutti::gpu {
namespace {

using cuda::CUdeviceptr;
using cuda::DeviceAttribute;

void what_it_is(const Session& s, Findings& f) {
  const cuda::Context& context = *s.context();
  f.text("device.name", taken(context.name()));
  f.text("device.pci_bus_id", taken(context.pci_bus_id()));
  std::string uuid;
  for (const unsigned char byte : taken(context.uuid()).bytes) {
    char digits[3];
    std::snprintf(digits, sizeof(digits), "%02x", byte);
    uuid += digits;
  }
  f.text("device.uuid", uuid);
  f.number("device.count", s.driver().devices(), "");
  f.number("driver.version", s.driver().version(), "");
  const std::pair<const char*, DeviceAttribute> attributes[] = {
      {"compute_capability_major", DeviceAttribute::compute_capability_major},
      {"compute_capability_minor", DeviceAttribute::compute_capability_minor},
      {"multiprocessor_count", DeviceAttribute::multiprocessor_count},
      {"max_threads_per_multiprocessor", DeviceAttribute::max_threads_per_multiprocessor},
      {"l2_cache_size", DeviceAttribute::l2_cache_size},
      {"async_engine_count", DeviceAttribute::async_engine_count},
      {"integrated", DeviceAttribute::integrated},
      {"compute_mode", DeviceAttribute::compute_mode},
      {"unified_addressing", DeviceAttribute::unified_addressing},
      {"managed_memory", DeviceAttribute::managed_memory},
      {"concurrent_managed_access", DeviceAttribute::concurrent_managed_access},
      {"pageable_memory_access", DeviceAttribute::pageable_memory_access},
      {"compute_preemption_supported", DeviceAttribute::compute_preemption_supported},
      {"can_use_host_pointer_for_registered_mem", DeviceAttribute::can_use_host_pointer_for_registered_mem},
      {"host_register_supported", DeviceAttribute::host_register_supported},
      {"memory_pools_supported", DeviceAttribute::memory_pools_supported},
      {"ipc_event_supported", DeviceAttribute::ipc_event_supported},
      {"mps_enabled", DeviceAttribute::mps_enabled},
      {"host_numa_id", DeviceAttribute::host_numa_id},
  };
  for (const auto& row : attributes) {
    const std::string fact = std::string("attribute.") + row.first;
    f.attempt(fact, [&] { f.number(fact, taken(context.attribute(row.second)), ""); });
  }
}

void recognition(const Session& s, Findings& f) {
  const auto cost = [&](const char* what, const void* pointer, cuda::MemoryPlace expected) {
    const std::string fact = std::string("recognize.") + what;
    f.attempt(fact, [&] {
      if (taken(cuda::recognize(s.driver(), pointer)).place != expected) throw std::runtime_error("is taken for something else");
      f.number(fact, Session::host_ns(10'000, [&] { (void)cuda::recognize(s.driver(), pointer); }), "ns");
    });
  };
  std::vector<std::byte> heap(64 << 20);
  int of_stack = 0;
  const cuda::DeviceMemory device = s.device_memory(64 << 20);
  const cuda::PinnedMemory pinned = s.pinned_memory(1 << 20);
  cost("unknown_heap", heap.data(), cuda::MemoryPlace::host);
  cost("unknown_stack", &of_stack, cuda::MemoryPlace::host);
  cost("null", nullptr, cuda::MemoryPlace::host);
  cost("device", device.data(), cuda::MemoryPlace::device);
  cost("device_inside", device.data() + (33 << 20), cuda::MemoryPlace::device);
  cost("pinned", pinned.data(), cuda::MemoryPlace::registered_host);
  f.attempt("recognize.managed", [&] {
    CUdeviceptr managed = 0;
    need(s.context()->check(s.driver().call<"cuMemAllocManaged">(&managed, size_t{1} << 20, cuda::kMemAttachGlobal), "allocate"));
    cost("managed", cuda::pointer_to(managed), cuda::MemoryPlace::managed);
    (void)s.driver().call<"cuMemFree">(managed);
  });
}

void calls(const Session& s, Findings& f) {
  const cuda::Stream on = s.stream(), other = s.stream();
  const cuda::Event event = s.event();
  f.number("call.push_pop_context", Session::host_ns(10'000, [&] { const cuda::CurrentContext current(*s.context()); }), "ns");
  f.number("call.event_record", Session::host_ns(100, [&] { need(event.record(on.get())); }), "ns", "idle stream");
  s.finish(on.get());
  f.number("call.event_query_done", Session::host_ns(10'000, [&] { (void)taken(event.is_done()); }), "ns");
  f.number("call.wait_event_done", Session::host_ns(100, [&] { need(cuda::wait_for(*s.context(), other.get(), event)); }), "ns");
  s.finish(other.get());
  f.number("call.capture_of", Session::host_ns(10'000, [&] { (void)taken(cuda::capture_of(*s.context(), on.get())); }), "ns");

  // While a stream waits for a word of the host.
  const cuda::PinnedMemory word = s.pinned_memory(4096);
  std::atomic_ref<uint32_t> host(*reinterpret_cast<uint32_t*>(word.data()));  // NOLINT: made for words
  host = 0;
  need(cuda::wait_for_word(*s.context(), taken(word.device_address()), 1, on.get()));
  need(event.record(on.get()));
  f.number("call.event_query_not_ready", Session::host_ns(10'000, [&] { (void)taken(event.is_done()); }), "ns");
  host = 1;
  s.finish(on.get());
}

// From a call on an idle stream until the host sees, by polling an event, that it is done.
template <class Put>
double until_done_ns(const cuda::Stream& on, const cuda::Event& event, Put put) {
  std::vector<double> all;
  for (int i = 0; i < 205; ++i) {
    const uint64_t begin = now_ns();
    put();
    need(event.record(on.get()));
    while (!taken(event.is_done())) {
    }
    if (i >= 5) all.push_back(static_cast<double>(now_ns() - begin));
  }
  return Session::median(all);
}

void launches(const Session& s, Findings& f) {
  const cuda::Stream on = s.stream();
  const cuda::Event event = s.event();
  const cuda::Function empty = s.probe("probe_empty");
  const probes::Empty nothing{};
  const auto launch = [&] { need(empty.launch(1, 32, &nothing, on.get())); };
  launch();
  s.finish(on.get());
  f.number("launch.call", Session::host_ns(100, launch), "ns", "time of the call");
  s.finish(on.get());
  constexpr int kMany = 200;
  const auto many = [&] {
    for (int i = 0; i < kMany; ++i) launch();
  };
  f.number("launch.empty_in_stream", s.device_ns(on, 9, many) / kMany, "ns", "each of 200 in a row");
  f.number("launch.empty_until_seen", until_done_ns(on, event, launch), "ns", "launch, record, poll");
  f.number("launch.nothing_until_seen", until_done_ns(on, event, [] {}), "ns", "record, poll");

  const cuda::Function large = s.probe("probe_large");
  const probes::Large much{};
  const auto launch_large = [&] { need(large.launch(1, 32, &much, on.get())); };
  launch_large();
  s.finish(on.get());
  f.number("launch.call_4000_bytes", Session::host_ns(100, launch_large), "ns", "time of the call, parameters of 4000 bytes");
  s.finish(on.get());
  f.number("launch.4000_bytes_until_seen", until_done_ns(on, event, launch_large), "ns");

  // Graphs of one empty kernel and of many, one after another.
  for (const int nodes : {1, kMany}) {
    cuda::CUgraph graph = nullptr;
    cuda::CUgraphExec ready = nullptr;
    const auto check = [&](cuda::Error error) { need(s.context()->check(error, "make a graph")); };
    check(s.driver().call<"cuStreamBeginCapture">(on.get(), cuda::CaptureMode::relaxed));
    for (int i = 0; i < nodes; ++i) launch();
    check(s.driver().call<"cuStreamEndCapture">(on.get(), &graph));
    check(s.driver().call<"cuGraphInstantiateWithFlags">(&ready, graph, 0ULL));
    const auto replay = [&] { check(s.driver().call<"cuGraphLaunch">(ready, on.get())); };
    replay();
    s.finish(on.get());
    if (nodes == 1) {
      f.number("graph.call", Session::host_ns(100, replay), "ns", "time of the call, one empty node");
      s.finish(on.get());
      f.number("graph.empty_until_seen", until_done_ns(on, event, replay), "ns", "one empty node");
      const auto replay_many = [&] {
        for (int i = 0; i < kMany; ++i) replay();
      };
      f.number("graph.replays_in_stream", s.device_ns(on, 9, replay_many) / kMany, "ns", "each of 200 of one empty node");
    } else {
      f.number("graph.empty_node", s.device_ns(on, 9, replay) / nodes, "ns", "each of 200 in a row");
    }
    check(s.driver().call<"cuGraphExecDestroy">(ready));
    check(s.driver().call<"cuGraphDestroy">(graph));
  }
}

void host_functions(const Session& s, Findings& f) {
  const cuda::Stream on = s.stream();
  const cuda::Event event = s.event();
  std::atomic<uint64_t> called = 0;
  std::vector<double> all;
  for (int i = 0; i < 105; ++i) {
    called = 0;
    const uint64_t begin = now_ns();
    need(cuda::call_host(
        *s.context(), [](void* at) { static_cast<std::atomic<uint64_t>*>(at)->store(now_ns()); }, &called, on.get()));
    s.finish(on.get());
    if (i >= 5) all.push_back(static_cast<double>(called - begin));
  }
  f.number("host_function.until_called", Session::median(all), "ns");
  const auto put = [&] {
    need(cuda::call_host(
        *s.context(), [](void*) {}, nullptr, on.get()));
  };
  f.number("host_function.until_seen", until_done_ns(on, event, put), "ns", "call, record, poll");
}

void modules(const Session& s, Findings& f) {
  const DataType types[] = {DataType::float32, DataType::bfloat16, DataType::int64};
  for (const DataType type : types) {
    const std::string of = "module." + std::string(name(type));
    f.attempt(of, [&] {
      const auto image = cuda::image(type);
      if (image.empty()) {
        f.text(of, "built without nvcc");
        return;
      }
      f.number(of + ".bytes", static_cast<double>(image.size()), "B");
      uint64_t begin = now_ns();
      const cuda::Module module = taken(cuda::Module::load(s.context(), image));
      f.number(of + ".load", static_cast<double>(now_ns() - begin) / 1e6, "ms");
      begin = now_ns();
      const cuda::Function sum = taken(module.function(cuda::fold_kernel_name(type, ReduceOp::sum)));
      f.number(of + ".function_load", static_cast<double>(now_ns() - begin) / 1e3, "us");
      f.number(of + ".registers", taken(sum.attribute(cuda::FunctionAttribute::num_regs)), "");
      f.number(of + ".local_bytes", taken(sum.attribute(cuda::FunctionAttribute::local_size_bytes)), "B");
      f.number(of + ".binary_version", taken(sum.attribute(cuda::FunctionAttribute::binary_version)), "");
      f.number(of + ".resident_blocks", taken(sum.resident_blocks(cuda::kFoldThreads, 0)), "", "a multiprocessor, of 512 threads");
    });
  }
}

}  // namespace

void find_device(const Session& session, Findings& findings) {
  what_it_is(session, findings);
  findings.attempt("recognize", [&] { recognition(session, findings); });
  findings.attempt("call", [&] { calls(session, findings); });
  findings.attempt("launch", [&] { launches(session, findings); });
  findings.attempt("host_function", [&] { host_functions(session, findings); });
  modules(session, findings);
}

}  // namespace tutti::gpu
