// The device, its probes, and how to measure; an error is an exception with the library's own sentence.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "clock.h"
#include "device_memory.h"
#include "module.h"
#include "probes.h"
#include "stream.h"

namespace tutti::gpu {

template <class T>
T taken(Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.status().message());
  return std::move(*result);
}
inline void need(const Status& status) {
  if (!status.ok()) throw std::runtime_error(status.message());
}

inline uint32_t* device_word(cuda::CUdeviceptr at) { return static_cast<uint32_t*>(cuda::pointer_to(at)); }

class Session {
 public:
  // `library` and the file of probes.cu's kernels; the context is the thread's from now on.
  Session(const std::string& library, const std::string& probes);

  const cuda::Driver& driver() const { return driver_; }
  const cuda::SharedContext& context() const { return context_; }
  cuda::Stream stream() const { return taken(cuda::Stream::create(context_)); }
  cuda::Event event(cuda::Event::Timing timing = cuda::Event::Timing::off) const {
    return taken(cuda::Event::create(context_, timing));
  }
  cuda::DeviceMemory device_memory(size_t bytes) const { return taken(cuda::DeviceMemory::allocate(context_, bytes)); }
  cuda::PinnedMemory pinned_memory(size_t bytes) const { return taken(cuda::PinnedMemory::allocate(context_, bytes)); }
  cuda::Function probe(const std::string& name) const { return taken(probes_.function(name)); }
  const std::vector<std::byte>& image() const { return image_; }

  // Of data to be moved: more than caches hold, as far as the device has room.
  size_t operand_bytes() const;
  void finish(cuda::CUstream stream) const;

  // Of what do() puts on a stream: nanoseconds by events around it, the median of `times`.
  template <class Do>
  double device_ns(const cuda::Stream& on, int times, Do put) const {
    const cuda::Event begin = event(cuda::Event::Timing::on), end = event(cuda::Event::Timing::on);
    std::vector<double> all;
    for (int i = 0; i < times + 2; ++i) {  // the first two warm up
      need(begin.record(on.get()));
      put();
      need(end.record(on.get()));
      finish(on.get());
      float ms = 0;
      need(context_->check(driver_.call<"cuEventElapsedTime">(&ms, begin.get(), end.get()), "tell a time"));
      if (i >= 2) all.push_back(ms * 1e6);
    }
    return median(all);
  }

  static double median(std::vector<double> all) {
    std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2), all.end());
    return all[all.size() / 2];
  }
  // Of a call, on the host: nanoseconds each in rounds of `calls`, the median of 9.
  template <class Call>
  static double host_ns(int calls, Call call) {
    std::vector<double> all;
    for (int round = 0; round < 10; ++round) {
      const uint64_t begin = now_ns();
      for (int i = 0; i < calls; ++i) call();
      if (round > 0) all.push_back(static_cast<double>(now_ns() - begin) / calls);
    }
    return median(all);
  }

 private:
  const cuda::Driver& driver_;
  cuda::SharedContext context_;
  cuda::CurrentContext current_;
  std::vector<std::byte> image_;
  cuda::Module probes_;
};

}  // namespace tutti::gpu
