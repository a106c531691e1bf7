#include <sys/mman.h>

#include <cstring>

#include "facts.h"
#include "fold_call.h"
#include "image.h"

namespace tutti::gpu {
namespace {

using cuda::CUdeviceptr;

// Gigabytes a second.
double rate(double bytes, double ns) { return bytes / ns; }

void copies(const Session& s, Findings& f, size_t bytes) {
  const cuda::Stream on = s.stream(), back = s.stream();
  const auto put = [&](CUdeviceptr to, CUdeviceptr from, const cuda::Stream& stream) {
    need(cuda::copy(*s.context(), to, from, bytes, stream.get()));
  };
  const std::string size = "_" + std::to_string(bytes >> 20) + "M";
  const cuda::DeviceMemory from = s.device_memory(bytes), to = s.device_memory(bytes);
  const double both = 2.0 * static_cast<double>(bytes), one = static_cast<double>(bytes);
  f.number("copy.device" + size, rate(both, s.device_ns(on, 11, [&] { put(to.address(), from.address(), on); })), "GB/s",
           "bytes read and written");
  const cuda::PinnedMemory host = s.pinned_memory(bytes), other = s.pinned_memory(bytes);
  std::memset(host.data(), 1, bytes);
  std::memset(other.data(), 1, bytes);
  const CUdeviceptr up = cuda::address_of(host.data()), down = cuda::address_of(other.data());
  f.number("copy.to_device_pinned" + size, rate(one, s.device_ns(on, 5, [&] { put(to.address(), up, on); })), "GB/s");
  f.number("copy.to_host_pinned" + size, rate(one, s.device_ns(on, 5, [&] { put(down, from.address(), on); })), "GB/s");
  // Both ways at once: the second stream's copy begins and ends between the first one's events.
  const cuda::Event begin = s.event(), end = s.event();
  f.number("copy.both_ways_pinned" + size,
           rate(both, s.device_ns(on, 5,
                                  [&] {
                                    need(begin.record(on.get()));
                                    need(cuda::wait_for(*s.context(), back.get(), begin));
                                    put(down, from.address(), back);
                                    need(end.record(back.get()));
                                    put(to.address(), up, on);
                                    need(cuda::wait_for(*s.context(), on.get(), end));
                                  })),
           "GB/s", "sum of both");
  void* mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::runtime_error("there is no shared memory");
  std::memset(mapped, 1, bytes);
  f.number("copy.to_device_pageable" + size,
           rate(one, s.device_ns(on, 3, [&] { put(to.address(), cuda::address_of(mapped), on); })), "GB/s");
  f.attempt("copy.to_device_registered" + size, [&] {
    const cuda::HostRegistration registration = taken(cuda::HostRegistration::make(s.context(), mapped, bytes));
    f.number("copy.to_device_registered" + size,
             rate(one, s.device_ns(on, 5, [&] { put(to.address(), cuda::address_of(mapped), on); })), "GB/s", "shared memory");
  });
  ::munmap(mapped, bytes);
}

// Folds of `sources` operands against copies of as many bytes, one after the other in turns.
void folds(const Session& s, Findings& f, DataType type, size_t bytes, uint32_t sources) {
  const std::string fact = "fold." + std::string(name(type)) + "_" + std::to_string(sources) + "_to_1";
  const cuda::Module module = taken(cuda::Module::load(s.context(), cuda::image(type)));
  const cuda::Function kernel = taken(module.function(cuda::fold_kernel_name(type, ReduceOp::sum)));
  const auto multiprocessors = static_cast<unsigned>(taken(s.context()->attribute(cuda::DeviceAttribute::multiprocessor_count)));
  const auto resident = static_cast<unsigned>(taken(kernel.resident_blocks(cuda::kFoldThreads, 0)));
  std::vector<cuda::DeviceMemory> memory;
  const cuda::Stream on = s.stream();
  for (uint32_t i = 0; i <= sources; ++i) {
    memory.push_back(s.device_memory(bytes));
    need(cuda::fill(*s.context(), memory.back().address(), static_cast<unsigned char>(0x11 * i), bytes, on.get()));
  }
  cuda::FoldCall call{};
  for (uint32_t i = 0; i < sources; ++i) call.source[call.sources++] = memory[i].data();
  call.target[call.targets++] = memory[sources].data();
  call.count = bytes / element_size(type);
  call.divisor = 1;
  double best = 0;
  for (const unsigned waves : {1U, 2U, 8U, 32U}) {
    const unsigned blocks = multiprocessors * resident * waves;
    std::vector<double> fold_ns, copy_ns;
    for (int turn = 0; turn < 7; ++turn) {
      fold_ns.push_back(s.device_ns(on, 3, [&] { need(kernel.launch(blocks, cuda::kFoldThreads, &call, on.get())); }));
      copy_ns.push_back(s.device_ns(
          on, 3, [&] { need(cuda::copy(*s.context(), memory[sources].address(), memory[0].address(), bytes, on.get())); }));
    }
    const double fold = rate(static_cast<double>(bytes) * (sources + 1), Session::median(fold_ns));
    const double copy = rate(static_cast<double>(bytes) * 2, Session::median(copy_ns));
    const std::string grid = fact + ".blocks_" + std::to_string(blocks);
    f.number(grid, fold, "GB/s", "copy beside it " + std::to_string(static_cast<int>(copy)) + " GB/s");
    best = std::max(best, fold / copy);
  }
  f.number(fact + ".of_copy", 100 * best, "%", "the best grid; the aim is 92");
}

}  // namespace

void find_rates(const Session& session, Findings& findings) {
  const size_t bytes = session.operand_bytes();
  findings.attempt("copy", [&] { copies(session, findings, bytes); });
  for (const DataType type : {DataType::float32, DataType::bfloat16})
    for (const uint32_t sources : {2U, 3U}) {
      const std::string of = "fold." + std::string(name(type));
      if (cuda::image(type).empty())
        findings.text(of, "built without nvcc");
      else
        findings.attempt(of, [&] { folds(session, findings, type, bytes, sources); });
    }
}

}  // namespace tutti::gpu
