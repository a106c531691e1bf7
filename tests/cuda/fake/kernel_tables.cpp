// Which kernels the fake driver has.
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "kernels.h"
#include "probes.h"

namespace fake_cuda {
namespace {

using tutti::cuda::Cpu;

// The Machine of probes.h.
struct ProbeMachine : Cpu {
  static void pause() { std::this_thread::yield(); }
  static uint64_t nanoseconds() { return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()); }
  static uint32_t load_acquire(const uint32_t* p) {
    return std::atomic_ref(const_cast<uint32_t&>(*p)).load(std::memory_order_acquire);
  }
  static void store_release(uint32_t* p, uint32_t v) { std::atomic_ref(*p).store(v, std::memory_order_release); }
};

template <class Parameter, void (*kKernel)(const ProbeMachine&, const Parameter&)>
CpuKernel probe(std::string_view name, bool waits_for_blocks = false) {
  return {name,
          sizeof(Parameter),
          [](const void* bytes, const Cpu& cpu) {
            Parameter parameter;
            std::memcpy(&parameter, bytes, sizeof(parameter));
            kKernel(ProbeMachine{cpu}, parameter);
          },
          kMostThreadsOfBlock,
          32,
          waits_for_blocks};
}

}  // namespace

const CpuKernel* find_kernel(std::string_view name) {
  using namespace tutti::probes;
  static const CpuKernel probes[] = {probe<Empty, empty>("probe_empty"),
                                     probe<Large, large>("probe_large"),
                                     probe<Write, write>("probe_write"),
                                     probe<Add, add>("probe_add"),
                                     probe<Poll, poll>("probe_poll"),
                                     probe<Ping, ping>("probe_ping"),
                                     probe<OneShot, one_shot>("probe_one_shot", true)};
  for (const CpuKernel& kernel : probes)
    if (kernel.name == name) return &kernel;
  return tutti::cuda::find_cpu_kernel(name);
}

}  // namespace fake_cuda
