// Capture of streams into graphs, and what runs a graph.
#include "graphs.h"

#include <algorithm>
#include <utility>

#include "moods.h"

namespace fake_cuda {
namespace {

struct Captures {
  std::mutex mutex;
  std::vector<std::shared_ptr<Capture>> active;
};

Captures& captures() {
  static Captures* const made = new Captures;  // never destroyed
  return *made;
}

thread_local CaptureMode thread_mode = CaptureMode::global;

}  // namespace

Error capture_work(Stream& stream, const std::shared_ptr<Capture>& capture, Work work) {
  const std::lock_guard lock(capture->mutex);
  if (capture->invalidated) return Error::stream_capture_invalidated;
  std::set<size_t>& frontier = capture->frontier[stream.shared_from_this()];
  capture->graph.nodes.push_back({std::move(work), frontier});
  frontier = {capture->graph.nodes.size() - 1};
  return Error::success;
}

Error unsafe_call() {
  if (thread_mode == CaptureMode::relaxed) return Error::success;
  Captures& all = captures();
  const std::lock_guard lock(all.mutex);
  Error error = Error::success;
  for (const auto& capture : all.active) {
    const bool own = capture->thread == std::this_thread::get_id();
    const bool hit = capture->mode == CaptureMode::global ? own || thread_mode == CaptureMode::global
                                                          : own && capture->mode == CaptureMode::thread_local_;
    if (!hit) continue;
    const std::lock_guard inner(capture->mutex);
    capture->invalidated = true;
    error = Error::stream_capture_unsupported;
  }
  return error;
}

CaptureMode exchange_mode(CaptureMode mode) { return std::exchange(thread_mode, mode); }

Error begin_capture(const std::shared_ptr<Stream>& stream, CaptureMode mode) {
  auto capture = std::make_shared<Capture>();
  capture->mode = mode;
  capture->thread = std::this_thread::get_id();
  capture->origin = stream.get();
  capture->frontier[stream] = {};
  {
    const std::lock_guard lock(stream->capture_mutex);
    if (stream->capture) return Error::invalid_value;
    stream->capture = capture;
  }
  Captures& all = captures();
  const std::lock_guard lock(all.mutex);
  all.active.push_back(std::move(capture));
  return Error::success;
}

Error end_capture(Stream& stream, std::shared_ptr<Graph>& graph) {
  std::shared_ptr<Capture> capture;
  {
    const std::lock_guard lock(stream.capture_mutex);
    capture = stream.capture;
  }
  if (!capture) return Error::invalid_value;
  if (capture->origin != &stream) return Error::stream_capture_unmatched;
  if (capture->mode != CaptureMode::relaxed && capture->thread != std::this_thread::get_id())
    return Error::stream_capture_wrong_thread;
  {
    Captures& all = captures();
    const std::lock_guard lock(all.mutex);
    std::erase(all.active, capture);
  }
  std::unique_lock lock(capture->mutex);
  // What other streams have done must come before the end of this one.
  std::set<size_t> joined, open = capture->frontier[stream.shared_from_this()];
  while (!open.empty()) {
    const size_t node = *open.begin();
    open.erase(open.begin());
    if (!joined.insert(node).second) continue;
    open.insert(capture->graph.nodes[node].after.begin(), capture->graph.nodes[node].after.end());
  }
  bool all_joined = true;
  for (const auto& [other, nodes] : capture->frontier)
    all_joined &= std::all_of(nodes.begin(), nodes.end(), [&](size_t node) { return joined.contains(node); });
  const auto streams = std::exchange(capture->frontier, {});
  const bool invalidated = capture->invalidated;
  if (!invalidated && all_joined) graph = std::make_shared<Graph>(std::move(capture->graph));
  lock.unlock();
  for (const auto& [captured, nodes] : streams) {
    const std::lock_guard inner(captured->capture_mutex);
    captured->capture = nullptr;
  }
  return invalidated ? Error::stream_capture_invalidated : all_joined ? Error::success : Error::stream_capture_unjoined;
}

CaptureStatus capture_status(Stream& stream, uint64_t* number) {
  std::shared_ptr<Capture> capture;
  {
    const std::lock_guard lock(stream.capture_mutex);
    capture = stream.capture;
  }
  if (!capture) return CaptureStatus::none;
  if (number) *number = capture->number;
  const std::lock_guard lock(capture->mutex);
  return capture->invalidated ? CaptureStatus::invalidated : CaptureStatus::active;
}

void invalidate(Stream& stream) {
  const std::lock_guard lock(stream.capture_mutex);
  if (!stream.capture) return;
  const std::lock_guard inner(stream.capture->mutex);
  stream.capture->invalidated = true;
}

bool record_captured(Stream& stream, Event& event) {
  const std::lock_guard lock(stream.capture_mutex);
  event.capture = stream.capture;
  event.nodes.clear();
  if (!stream.capture) return false;
  const std::lock_guard inner(stream.capture->mutex);
  event.nodes = stream.capture->frontier[stream.shared_from_this()];
  return true;
}

Error wait_captured(Stream& stream, const Event& event) {
  const std::lock_guard lock(stream.capture_mutex);
  if (stream.capture && stream.capture != event.capture) {  // what may not be in a capture spoils it
    const std::lock_guard inner(stream.capture->mutex);
    stream.capture->invalidated = true;
    return event.capture ? Error::stream_capture_merge : Error::stream_capture_isolation;
  }
  if (!event.capture) return Error::success;
  const std::lock_guard inner(event.capture->mutex);
  if (event.capture->invalidated) return Error::stream_capture_invalidated;
  stream.capture = event.capture;
  event.capture->frontier[stream.shared_from_this()].insert(event.nodes.begin(), event.nodes.end());
  return Error::success;
}

// One order that the graph allows; in the mood "shuffled" any.
Error run_graph(const Graph& graph) {
  std::vector<size_t> left(graph.nodes.size());
  for (size_t i = 0; i < left.size(); ++i) left[i] = i;
  std::set<size_t> done;
  while (!left.empty()) {
    if (moods().shuffled) std::swap(left.front(), left[any_number() % left.size()]);
    const auto ready = std::find_if(left.begin(), left.end(), [&](size_t node) {
      const auto& after = graph.nodes[node].after;
      return std::all_of(after.begin(), after.end(), [&](size_t before) { return done.contains(before); });
    });
    const size_t node = *ready;  // there always is one, since a node comes after earlier ones only
    left.erase(ready);
    if (const Error error = graph.nodes[node].run(); error != Error::success) return error;
    done.insert(node);
  }
  return Error::success;
}

}  // namespace fake_cuda
