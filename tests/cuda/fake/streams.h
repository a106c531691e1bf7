// Streams of the fake driver: each is a thread with a queue of work, and nothing but events orders two of them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "driver_abi.h"

namespace fake_cuda {

using namespace tutti::cuda;

struct Capture;

// Something that is done once; whoever waits for it sees what was written before.
class Marker {
 public:
  void complete();
  void wait();
  bool is_done();
  uint64_t completed_at();  // nanoseconds; of a marker that is done

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t completed_at_ = 0;
};
using SharedMarker = std::shared_ptr<Marker>;

struct Context {
  int device = 0;
  std::mutex mutex;  // of retained, streams and legacy
  int retained = 0;
  std::atomic<int> life = 0;  // counts how often it was made
  std::atomic<bool> active = false;
  std::atomic<Error> broken = Error::success;  // by the first sticky error
  std::vector<std::weak_ptr<struct Stream>> streams;
  std::shared_ptr<struct Stream> legacy;

  void synchronize();  // waits for all its streams
};

using Work = std::function<Error()>;

struct Stream : std::enable_shared_from_this<Stream> {
  static std::shared_ptr<Stream> make(Context& context, bool blocking);

  // Work of the user's.  It is ordered with the legacy stream, and becomes a node where the stream is being captured.
  Error put(Work work);
  SharedMarker mark();                        // done when everything so far is
  Error mark_in_order(SharedMarker& marker);  // and what the legacy stream wants done before
  bool is_idle();
  void stop();  // after what is in the queue

  Context& context;
  const bool blocking;
  std::mutex capture_mutex;
  std::shared_ptr<Capture> capture;  // it is being captured into

  Stream(Context& of, bool is_blocking) : context(of), blocking(is_blocking) {}

 private:
  friend struct Context;
  bool enqueue(Work work, bool always);  // `always`: in a broken context, too; false where its thread has ended
  void run();
  Error order_with_legacy();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<Work, bool>> queue_;
  size_t unfinished_ = 0;  // of the user's work
  bool stopping_ = false, ended_ = false;
};

struct Event {
  std::mutex mutex;
  SharedMarker marker;  // of the last record, or null
  bool timed = true;
  Context* context = nullptr;
  std::shared_ptr<Capture> capture;  // where the last record was captured
  std::set<size_t> nodes;            // which it then stands for
};

// A graph in the making, or one that is ready.
struct Node {
  Work run;
  std::set<size_t> after;
};
struct Graph {
  std::vector<Node> nodes;
};

struct Capture {
  inline static std::atomic<uint64_t> last_number = 0;
  const uint64_t number = ++last_number;
  std::mutex mutex;
  CaptureMode mode = CaptureMode::global;
  std::thread::id thread;
  Stream* origin = nullptr;
  bool invalidated = false;
  Graph graph;
  std::map<std::shared_ptr<Stream>, std::set<size_t>> frontier;  // by stream: the nodes that its next one comes after
};

// Objects that a program has handles of.
template <class T>
class Registry {
 public:
  template <class Handle>
  Handle add(std::shared_ptr<T> object) {
    const std::unique_lock lock(mutex_);
    void* const key = object.get();
    objects_[key] = std::move(object);
    return static_cast<Handle>(key);
  }
  std::shared_ptr<T> find(const void* handle) {
    const std::shared_lock lock(mutex_);
    const auto found = objects_.find(handle);
    return found == objects_.end() ? nullptr : found->second;
  }
  std::shared_ptr<T> remove(const void* handle) {
    const std::unique_lock lock(mutex_);
    const auto found = objects_.find(handle);
    if (found == objects_.end()) return nullptr;
    auto object = std::move(found->second);
    objects_.erase(found);
    return object;
  }

 private:
  std::shared_mutex mutex_;
  std::unordered_map<const void*, std::shared_ptr<T>> objects_;
};

Context* current_context();
Context& context_of(int device);
std::shared_ptr<Stream> stream_of(CUstream handle);  // NULL, 1 and 2 are of the current context; null if there is none
Registry<Stream>& streams();
Registry<Event>& events();

// Of a stream that is being captured: work becomes a node.
Error capture_work(Stream& stream, const std::shared_ptr<Capture>& capture, Work work);
// A call that may wait for the device, or allocate, and so must not happen while somebody captures.
Error unsafe_call();

}  // namespace fake_cuda
