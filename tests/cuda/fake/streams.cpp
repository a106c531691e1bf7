#include "streams.h"

#include <atomic>
#include <chrono>

#include "memory.h"
#include "moods.h"

namespace fake_cuda {

void Marker::complete() {
  const std::lock_guard lock(mutex_);
  completed_at_ = static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  changed_.notify_all();
}

void Marker::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return completed_at_ != 0; });
}

bool Marker::is_done() {
  const std::lock_guard lock(mutex_);
  return completed_at_ != 0;
}

uint64_t Marker::completed_at() {
  const std::lock_guard lock(mutex_);
  return completed_at_;
}

void Context::synchronize() {
  std::vector<std::shared_ptr<Stream>> all;
  {
    const std::lock_guard lock(mutex);
    for (const auto& known : streams)
      if (auto stream = known.lock()) all.push_back(std::move(stream));
  }
  for (const auto& stream : all) stream->mark()->wait();
}

std::shared_ptr<Stream> Stream::make(Context& context, bool blocking) {
  auto stream = std::make_shared<Stream>(context, blocking);
  {
    const std::lock_guard lock(context.mutex);
    std::erase_if(context.streams, [](const auto& known) { return known.expired(); });
    context.streams.push_back(stream);
  }
  std::thread([stream] { stream->run(); }).detach();  // it ends after stop(), or with the process
  return stream;
}

Error Stream::put(Work work) {
  std::shared_ptr<Capture> into;
  {
    const std::lock_guard lock(capture_mutex);
    into = capture;
  }
  if (into) return capture_work(*this, into, std::move(work));
  if (const Error error = order_with_legacy(); error != Error::success) return error;
  return enqueue(std::move(work), false) ? Error::success : Error::invalid_handle;
}

// The legacy stream begins nothing before what was put on blocking streams is done, and they wait for it likewise.
Error Stream::order_with_legacy() {
  std::vector<std::shared_ptr<Stream>> others;
  {
    const std::lock_guard lock(context.mutex);
    const bool is_legacy = context.legacy.get() == this;
    if (!is_legacy && blocking && context.legacy) others.push_back(context.legacy);
    if (is_legacy)
      for (const auto& known : context.streams)
        if (auto stream = known.lock(); stream && stream.get() != this && stream->blocking) others.push_back(std::move(stream));
  }
  for (const auto& other : others) {
    {
      const std::lock_guard lock(other->capture_mutex);
      if (other->capture) return Error::stream_capture_implicit;
    }
    enqueue(
        [marker = other->mark()] {
          marker->wait();
          return Error::success;
        },
        true);
  }
  return Error::success;
}

SharedMarker Stream::mark() {
  auto marker = std::make_shared<Marker>();
  const Work complete = [marker] {
    marker->complete();
    return Error::success;
  };
  if (!enqueue(complete, true)) (void)complete();
  return marker;
}

Error Stream::mark_in_order(SharedMarker& marker) {
  if (const Error error = order_with_legacy(); error != Error::success) return error;
  marker = mark();
  return Error::success;
}

bool Stream::is_idle() {
  const std::lock_guard lock(mutex_);
  return unfinished_ == 0;
}

void Stream::stop() {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  changed_.notify_all();
}

bool Stream::enqueue(Work work, bool always) {
  const std::lock_guard lock(mutex_);
  if (ended_) return false;
  queue_.emplace_back(std::move(work), always);
  if (!always) ++unfinished_;
  changed_.notify_all();
  return true;
}

void Stream::run() {
  for (std::unique_lock lock(mutex_);;) {
    changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (queue_.empty()) {
      ended_ = true;
      return;
    }
    auto [work, always] = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    if (moods().late && any_number() % 2 == 0) std::this_thread::sleep_for(std::chrono::microseconds(any_number() % 500));
    if (always || context.broken.load() == Error::success) {
      const Error error = work();
      Error none = Error::success;
      if (error != Error::success) context.broken.compare_exchange_strong(none, error);
    }
    work = {};  // with what it holds
    lock.lock();
    if (!always) --unfinished_;
  }
}

}  // namespace fake_cuda
