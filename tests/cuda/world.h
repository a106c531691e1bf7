// The driver that a test runs against: the fake one (FAKE_CUDA and moods.h say how it misbehaves), or a real one where
// CUDA_TEST_LIBRARY says libcuda.so.1.  Tests that ask for a mood are skipped there.
#pragma once

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "device_memory.h"
#include "module.h"
#include "probes.h"
#include "stream.h"
#include "value_of.h"

namespace tutti::cuda::test {

inline std::string library() {
  const char* named = std::getenv("CUDA_TEST_LIBRARY");
  return named ? named : kDriverLibrary;
}

// Where the driver is the fake one; otherwise it has no moods.
inline bool set_mood(const char* moods) {
  void* handle = ::dlopen(library().c_str(), RTLD_NOW | RTLD_NODELETE);
  const auto set = handle ? reinterpret_cast<void (*)(const char*)>(::dlsym(handle, "fake_cuda_mood")) : nullptr;
  if (set) set(moods);
  return set != nullptr;
}

// The kernels of probes.cu; the fake driver takes any bytes for them.
inline std::vector<std::byte> probes() {
  std::vector<std::byte> image;
  if (const char* path = std::getenv("CUDA_TEST_PROBES")) {
    std::ifstream file(path, std::ios::binary);
    for (std::istreambuf_iterator<char> at(file), end; at != end; ++at) image.push_back(static_cast<std::byte>(*at));
  }
  if (image.empty()) image.resize(1);
  return image;
}

// Whether there is code of the library's kernels for the driver: the fake one has its own.
inline bool has_kernels() { return TUTTI_CUDA_KERNELS || set_mood(""); }

#define EXPECT_OK(status)                             \
  do {                                                \
    const ::tutti::Status expected = (status);        \
    EXPECT_TRUE(expected.ok()) << expected.message(); \
  } while (false)

// A test with the context of device 0.
class CudaTest : public testing::Test {
 protected:
  void SetUp() override {
    (void)set_mood("");
    auto loaded = Driver::load(library());
    if (!loaded.ok() && std::getenv("CUDA_TEST_LIBRARY")) FAIL() << loaded.status().message();  // which was asked for
    if (!loaded.ok()) GTEST_SKIP() << loaded.status().message();
    driver_ = *loaded;
    context_ = value_of(Context::retain(*driver_, 0));
    kept_ = context_;
    (void)driver_->call<"cuCtxPushCurrent">(context_->handle());
  }
  void TearDown() override {
    if (!driver_) return;
    (void)set_mood("");
    CUcontext popped = nullptr;
    (void)driver_->call<"cuCtxPopCurrent">(&popped);
    if (context_->lost() != Error::success) kept_.reset();
  }

  bool is_ready() const { return driver_ != nullptr; }
  const Driver& driver() const { return *driver_; }
  const SharedContext& context() const { return context_; }
  Stream stream() const { return value_of(Stream::create(context_)); }
  DeviceMemory device_memory(size_t bytes) const { return value_of(DeviceMemory::allocate(context_, bytes)); }
  PinnedMemory pinned_memory(size_t bytes) const { return value_of(PinnedMemory::allocate(context_, bytes)); }

  // All that is on the stream is done.
  void finish(CUstream on) const { EXPECT_EQ(driver_->call<"cuStreamSynchronize">(on), Error::success); }

  template <class Parameter>
  void launch(const Module& module, const char* kernel, const Parameter& parameter, CUstream on, unsigned blocks = 1,
              unsigned threads = 32) const {
    EXPECT_OK(value_of(module.function(kernel)).launch(blocks, threads, &parameter, on));
  }

  // Device memory and back, by a stream of its own.
  std::vector<uint32_t> read(CUdeviceptr from, size_t words) const {
    const PinnedMemory host = pinned_memory(words * 4);
    const Stream on = stream();
    EXPECT_OK(copy(*context_, address_of(host.data()), from, words * 4, on.get()));
    finish(on.get());
    std::vector<uint32_t> values(words);
    std::memcpy(values.data(), host.data(), words * 4);
    return values;
  }
  void write(CUdeviceptr to, const std::vector<uint32_t>& values) const {
    const PinnedMemory host = pinned_memory(values.size() * 4);
    std::memcpy(host.data(), values.data(), values.size() * 4);
    const Stream on = stream();
    EXPECT_OK(copy(*context_, to, address_of(host.data()), values.size() * 4, on.get()));
    finish(on.get());
  }

 private:
  const Driver* driver_ = nullptr;
  SharedContext context_;
  inline static SharedContext kept_;  // on a device it takes most of a second to make it anew
};

inline uint32_t* words_at(CUdeviceptr address) { return static_cast<uint32_t*>(pointer_to(address)); }

#define NEEDS_MOOD(moods) \
  if (!::tutti::cuda::test::set_mood(moods)) GTEST_SKIP() << "this driver has no moods"

}  // namespace tutti::cuda::test
