// Streams and events.
#include <chrono>

#include "entries.h"
#include "graphs.h"
#include "memory.h"

namespace fake_cuda {
namespace {

Error stream_create(CUstream* handle, unsigned flags) {
  Context* context = nullptr;
  if (const Error error = in_context(context); error != Error::success) return error;
  *handle = streams().add<CUstream>(Stream::make(*context, (flags & kStreamNonBlocking) == 0));
  return Error::success;
}

Error stream_destroy(CUstream handle) {
  const auto stream = streams().remove(handle);
  if (!stream) return Error::invalid_handle;
  stream->stop();
  return Error::success;
}

// Asking a stream that is being captured spoils the capture.
Error ask(const std::shared_ptr<Stream>& stream) {
  if (!stream) return Error::invalid_handle;
  if (capture_status(*stream) == CaptureStatus::none) return unsafe_call();
  invalidate(*stream);
  return Error::stream_capture_unsupported;
}

Error stream_query(CUstream handle) {
  const auto stream = stream_of(handle);
  if (const Error error = ask(stream); error != Error::success) return error;
  const Error broken = stream->context.broken;
  if (broken != Error::success) return broken;
  return stream->is_idle() ? Error::success : Error::not_ready;
}

Error stream_context(CUstream handle, CUcontext* context) {
  const auto stream = stream_of(handle);
  if (!stream) return Error::invalid_handle;
  *context = reinterpret_cast<CUcontext>(&stream->context);
  return Error::success;
}

Error stream_synchronize(CUstream handle) {
  const auto stream = stream_of(handle);
  if (const Error error = ask(stream); error != Error::success) return error;
  SharedMarker marker;
  if (const Error error = stream->mark_in_order(marker); error != Error::success) return error;
  marker->wait();
  return stream->context.broken;
}

Error event_create(CUevent* handle, unsigned flags) {
  Context* context = nullptr;
  if (const Error error = in_context(context); error != Error::success) return error;
  auto event = std::make_shared<Event>();
  event->timed = (flags & kEventDisableTiming) == 0;
  event->context = context;
  *handle = events().add<CUevent>(std::move(event));
  return Error::success;
}

Error event_destroy(CUevent handle) { return events().remove(handle) ? Error::success : Error::invalid_handle; }

Error event_record(CUevent handle, CUstream on) {
  const auto event = events().find(handle);
  const auto stream = stream_of(on);
  if (!event || !stream) return Error::invalid_handle;
  if (const Error broken = stream->context.broken; broken != Error::success) return broken;
  const std::lock_guard lock(event->mutex);
  return record_captured(*stream, *event) ? Error::success : stream->mark_in_order(event->marker);
}

Error stream_wait_event(CUstream on, CUevent handle, unsigned) {
  const auto event = events().find(handle);
  const auto stream = stream_of(on);
  if (!event || !stream) return Error::invalid_handle;
  std::unique_lock lock(event->mutex);
  if (event->capture || capture_status(*stream) != CaptureStatus::none) return wait_captured(*stream, *event);
  const SharedMarker marker = event->marker;
  lock.unlock();
  if (!marker) return Error::success;
  return stream->put([marker] {
    marker->wait();
    return Error::success;
  });
}

Error event_state(CUevent handle, SharedMarker& marker, Context*& context) {
  const auto event = events().find(handle);
  if (!event) return Error::invalid_handle;
  const std::lock_guard lock(event->mutex);
  if (event->capture) return Error::captured_event;
  marker = event->marker;
  context = event->context;
  return unsafe_call();
}

Error event_query(CUevent handle) {
  SharedMarker marker;
  Context* context = nullptr;
  if (const Error error = event_state(handle, marker, context); error != Error::success) return error;
  if (context->broken != Error::success) return context->broken;
  return !marker || marker->is_done() ? Error::success : Error::not_ready;
}

Error event_synchronize(CUevent handle) {
  SharedMarker marker;
  Context* context = nullptr;
  if (const Error error = event_state(handle, marker, context); error != Error::success) return error;
  if (marker) marker->wait();
  return context->broken;
}

Error event_elapsed(float* milliseconds, CUevent from, CUevent to) {
  const auto begin = events().find(from), end = events().find(to);
  if (!begin || !end || !begin->timed || !end->timed || !begin->marker || !end->marker) return Error::invalid_handle;
  if (!begin->marker->is_done() || !end->marker->is_done()) return Error::not_ready;
  const auto ns = static_cast<double>(end->marker->completed_at()) - static_cast<double>(begin->marker->completed_at());
  *milliseconds = static_cast<float>(ns / 1e6);
  return Error::success;
}

// Polls as the device does, whoever writes the word; a context that ends lets it go.
Error wait_value(CUstream handle, CUdeviceptr address, uint32_t value, unsigned flags) {
  if (flags != kWaitValueGeq && flags != kWaitValueEq) return Error::not_supported;
  if (address % 4 != 0 || is_pageable(address)) return Error::invalid_value;
  Context* const context = current_context();
  return put_on(handle, [context, word = static_cast<uint32_t*>(pointer(address)), value, flags] {
    const Touching touching;
    for (;;) {
      const uint32_t now = std::atomic_ref(*word).load(std::memory_order_acquire);
      if (flags == kWaitValueEq ? now == value : static_cast<int32_t>(now - value) >= 0) return Error::success;
      if (!context->active || context->broken != Error::success) return Error::success;
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  });
}

Error write_value(CUstream handle, CUdeviceptr address, uint32_t value, unsigned flags) {
  if (flags != 0) return Error::not_supported;
  if (address % 4 != 0 || is_pageable(address)) return Error::invalid_value;
  return put_on(handle, [word = static_cast<uint32_t*>(pointer(address)), value] {
    const Touching touching;
    std::atomic_ref(*word).store(value, std::memory_order_release);
    return Error::success;
  });
}

Error host_func(CUstream handle, CUhostFn function, void* argument) {
  return put_on(handle, [function, argument] {
    function(argument);
    return Error::success;
  });
}

}  // namespace

Error put_on(CUstream handle, Work work) {
  Context* context = nullptr;
  if (const Error error = in_context(context); error != Error::success) return error;
  const auto stream = stream_of(handle);
  return stream ? stream->put(std::move(work)) : Error::invalid_handle;
}

Registry<Stream>& streams() { return registry<Stream>(); }
Registry<Event>& events() { return registry<Event>(); }

std::shared_ptr<Stream> stream_of(CUstream handle) {
  const auto number = reinterpret_cast<uintptr_t>(handle);
  if (number > kPerThreadStream) return streams().find(handle);
  Context* const context = current_context();
  if (!context) return nullptr;
  if (number == kPerThreadStream) {
    thread_local std::map<std::pair<Context*, int>, std::weak_ptr<Stream>> of_thread;
    std::weak_ptr<Stream>& known = of_thread[{context, context->life}];
    auto stream = known.lock();
    if (!stream) known = stream = Stream::make(*context, true);
    return stream;
  }
  std::unique_lock lock(context->mutex);
  if (context->legacy) return context->legacy;
  lock.unlock();
  auto fresh = Stream::make(*context, true);
  lock.lock();
  if (!context->legacy)
    context->legacy = fresh;
  else
    fresh->stop();
  return context->legacy;
}

std::vector<Row> stream_rows() {
  return {
      row<"cuStreamCreate", &stream_create>(),
      row<"cuStreamDestroy", &stream_destroy>(),
      row<"cuStreamGetCtx", &stream_context>(),
      row<"cuStreamQuery", &stream_query>(),
      row<"cuStreamSynchronize", &stream_synchronize>(),
      row<"cuStreamWaitEvent", &stream_wait_event>(),
      row<"cuStreamWaitValue32", &wait_value>(),
      row<"cuStreamWriteValue32", &write_value>(),
      row<"cuLaunchHostFunc", &host_func>(),
      row<"cuEventCreate", &event_create>(),
      row<"cuEventDestroy", &event_destroy>(),
      row<"cuEventRecord", &event_record>(),
      row<"cuEventQuery", &event_query>(),
      row<"cuEventSynchronize", &event_synchronize>(),
      row<"cuEventElapsedTime", &event_elapsed>(),
  };
}

}  // namespace fake_cuda
