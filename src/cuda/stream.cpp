#include "stream.h"

#include "byte_units.h"

namespace tutti::cuda {

Result<Stream> Stream::create(SharedContext context) {
  const CurrentContext current(*context);
  if (!current.status().ok()) return current.status();
  CUstream stream = nullptr;
  Status status = context->check(context->driver().call<"cuStreamCreate">(&stream, kStreamNonBlocking), "create a stream");
  if (!status.ok()) return status;
  return Stream({std::move(context), stream});
}

Result<Event> Event::create(SharedContext context, Timing timing) {
  const CurrentContext current(*context);
  if (!current.status().ok()) return current.status();
  CUevent event = nullptr;
  const unsigned flags = timing == Timing::on ? 0U : kEventDisableTiming;
  Status status = context->check(context->driver().call<"cuEventCreate">(&event, flags), "create an event");
  if (!status.ok()) return status;
  return Event({std::move(context), event});
}

Status Event::record(CUstream stream) const {
  const Context& context = *event_.context();
  return context.check(context.driver().call<"cuEventRecord">(event_.get(), stream), "record an event");
}

Result<bool> Event::is_done() const {
  const Context& context = *event_.context();
  const Error error = context.driver().call<"cuEventQuery">(event_.get());
  if (error == Error::success) return true;
  if (error == Error::not_ready) return false;
  return context.failure(error, "carry out what an event waits for");
}

Status wait_for(const Context& context, CUstream stream, const Event& event) {
  return context.check(context.driver().call<"cuStreamWaitEvent">(stream, event.get(), 0U), "let a stream wait for an event");
}

Status copy(const Context& context, CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  const Error error = context.driver().call<"cuMemcpyAsync">(to, from, bytes, stream);
  return error == Error::success ? Status() : context.failure(error, "copy " + describe_bytes(bytes));
}

Status fill(const Context& context, CUdeviceptr memory, unsigned char value, size_t bytes, CUstream stream) {
  const Error error = context.driver().call<"cuMemsetD8Async">(memory, value, bytes, stream);
  return error == Error::success ? Status() : context.failure(error, "fill " + describe_bytes(bytes));
}

Status wait_for_word(const Context& context, CUdeviceptr word, uint32_t value, CUstream stream) {
  const Error error = context.driver().call<"cuStreamWaitValue32">(stream, word, value, kWaitValueGeq);
  return context.check(error, "let a stream wait for a word of memory");
}

Status write_word(const Context& context, CUdeviceptr word, uint32_t value, CUstream stream) {
  return context.check(context.driver().call<"cuStreamWriteValue32">(stream, word, value, 0U),
                       "let a stream write a word of memory");
}

Status call_host(const Context& context, CUhostFn function, void* argument, CUstream stream) {
  return context.check(context.driver().call<"cuLaunchHostFunc">(stream, function, argument), "let a stream call the host");
}

Result<int> device_of(const Driver& driver, CUstream stream) {
  CUcontext context = nullptr, popped = nullptr;
  CUdevice device = 0;
  Error error = driver.call<"cuStreamGetCtx">(stream, &context);
  if (error == Error::success) error = driver.call<"cuCtxPushCurrent">(context);
  if (error == Error::success) {
    error = driver.call<"cuCtxGetDevice">(&device);
    (void)driver.call<"cuCtxPopCurrent">(&popped);
  }
  if (error != Error::success) return driver.failure(error, "tell the device of a stream");
  return device;
}

Result<std::optional<uint64_t>> capture_of(const Context& context, CUstream stream) {
  CaptureStatus capture = CaptureStatus::none;
  uint64_t number = 0;
  Status status = context.check(context.driver().call<"cuStreamGetCaptureInfo">(stream, &capture, &number),
                                "tell whether a stream is captured");
  if (!status.ok()) return status;
  return capture == CaptureStatus::none ? std::nullopt : std::optional(number);
}

BesideCaptures::BesideCaptures(const Driver& driver) : driver_(driver) {
  (void)driver_.call<"cuThreadExchangeStreamCaptureMode">(&before_);  // a valid mode is never refused
}

BesideCaptures::~BesideCaptures() { (void)driver_.call<"cuThreadExchangeStreamCaptureMode">(&before_); }

}  // namespace tutti::cuda
