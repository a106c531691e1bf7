// Memory of a CUDA device for the buffers of test calls: with API_TEST_DEVICE=1, over the driver that
// TUTTI_CUDA_LIBRARY names.
#pragma once

#include <memory>

#include "test_call.h"

namespace tutti::test {

class DeviceBytes {
 public:
  static bool wanted();                              // loads the driver, so that communicators that are created later know of it
  enum class StreamOf : uint8_t { itself, thread };  // stream() is its own, or that of all that the thread makes
  explicit DeviceBytes(const Bytes& content, StreamOf of = StreamOf::itself);
  ~DeviceBytes();
  DeviceBytes(const DeviceBytes&) = delete;
  DeviceBytes& operator=(const DeviceBytes&) = delete;
  std::byte* data() const;
  Bytes content() const;  // once all that is on stream() has ended
  void* stream() const;   // for calls that are put there

 private:
  struct Held;
  struct Kept;
  std::unique_ptr<Held> held_;
};

}  // namespace tutti::test
