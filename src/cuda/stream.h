// Streams, the orders in which a device works, and events, places in them.
//
// What is put on a stream returns at once; its errors may come from any later call.  The functions on streams take the
// driver's own handles, since most streams are the user's, and want the context to be current.
#pragma once

#include <cstdint>
#include <optional>

#include "device.h"

namespace tutti::cuda {

class Stream {
 public:
  // One that is not ordered with the legacy default stream.
  static Result<Stream> create(SharedContext context);
  CUstream get() const { return stream_.get(); }

 private:
  explicit Stream(Held<CUstream, "cuStreamDestroy"> stream) : stream_(std::move(stream)) {}
  Held<CUstream, "cuStreamDestroy"> stream_;
};

// The two streams that have no object.
inline CUstream legacy_stream() { return reinterpret_cast<CUstream>(kLegacyStream); }         // NOLINT: a number by contract
inline CUstream per_thread_stream() { return reinterpret_cast<CUstream>(kPerThreadStream); }  // NOLINT

class Event {
 public:
  enum class Timing : uint8_t { off, on };
  static Result<Event> create(SharedContext context, Timing timing = Timing::off);  // recording and asking are cheaper without
  CUevent get() const { return event_.get(); }
  Status record(CUstream stream) const;
  // All that was on the stream when it was last recorded has been done; also if it never was.
  Result<bool> is_done() const;

 private:
  explicit Event(Held<CUevent, "cuEventDestroy"> event) : event_(std::move(event)) {}
  Held<CUevent, "cuEventDestroy"> event_;
};

Status wait_for(const Context& context, CUstream stream, const Event& event);
// Between memory of any places.
Status copy(const Context& context, CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream);
Status fill(const Context& context, CUdeviceptr memory, unsigned char value, size_t bytes, CUstream stream);
// The stream waits until a word, read as a number that wraps around, has reached `value`.
Status wait_for_word(const Context& context, CUdeviceptr word, uint32_t value, CUstream stream);
Status write_word(const Context& context, CUdeviceptr word, uint32_t value, CUstream stream);
// `function` may call nothing of CUDA.
Status call_host(const Context& context, CUhostFn function, void* argument, CUstream stream);
// The device whose context a stream is in; of the legacy and the per-thread one the calling thread's.
Result<int> device_of(const Driver& driver, CUstream stream);
// The number of the capture that records what is put on the stream; none: it is carried out.
Result<std::optional<uint64_t>> capture_of(const Context& context, CUstream stream);

// While a thread of the program captures a graph, what allocates or loads is forbidden to all others; in this scope the
// thread says that its own calls have nothing to do with that.
class BesideCaptures {
 public:
  explicit BesideCaptures(const Driver& driver);
  BesideCaptures(const BesideCaptures&) = delete;
  BesideCaptures& operator=(const BesideCaptures&) = delete;
  ~BesideCaptures();

 private:
  const Driver& driver_;
  CaptureMode before_ = CaptureMode::relaxed;
};

}  // namespace tutti::cuda
