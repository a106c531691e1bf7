#include "device_bytes.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <optional>

#include "device_memory.h"
#include "stream.h"

namespace tutti::test {
namespace {

template <class T>
T must(Result<T> result) {
  if (result.ok()) return std::move(*result);
  std::fprintf(stderr, "the tests' own use of a device failed: %s\n", result.status().message().c_str());
  std::abort();
}
void must(const Status& status) { (void)must(status.ok() ? Result<int>(0) : Result<int>(status)); }

const cuda::SharedContext& context() {
  static const cuda::SharedContext made = [] {
    const char* library = std::getenv("TUTTI_CUDA_LIBRARY");
    return must(cuda::Context::retain(*must(cuda::Driver::load(library ? library : cuda::kDriverLibrary)), 0));
  }();
  return made;
}

// A stream of this thread's while it lives, then another one's.  Streams that wait for one another must not share a
// queue of the device's, of which there are 32 at most (CUDA_DEVICE_MAX_CONNECTIONS), so there are few; and no two
// ranks' threads share one.
class ThreadStream {
 public:
  ThreadStream() {
    const std::lock_guard lock(of_process().mutex);
    auto& free = of_process().free;
    const cuda::CurrentContext current(*context());
    // One on which nothing waits any more.
    auto idle = std::find_if(free.begin(), free.end(), [](const auto& stream) {
      return context()->driver().template call<"cuStreamQuery">(stream->get()) == cuda::Error::success;
    });
    if (idle == free.end()) idle = free.insert(idle, std::make_unique<cuda::Stream>(must(cuda::Stream::create(context()))));
    stream_ = std::move(*idle);
    free.erase(idle);
  }
  ~ThreadStream() {
    const std::lock_guard lock(of_process().mutex);
    of_process().free.push_back(std::move(stream_));
  }
  ThreadStream(const ThreadStream&) = delete;
  ThreadStream& operator=(const ThreadStream&) = delete;
  static cuda::CUstream get() {
    thread_local const ThreadStream own;
    return own.stream_->get();
  }

 private:
  struct Process {
    std::mutex mutex;
    std::vector<std::unique_ptr<cuda::Stream>> free;
  };
  static Process& of_process() {
    static Process* const made = new Process;
    return *made;
  }
  std::unique_ptr<cuda::Stream> stream_;
};

}  // namespace

struct DeviceBytes::Held {
  cuda::DeviceMemory memory;
  cuda::PinnedMemory host;
  cuda::CUstream stream;
  size_t bytes;
  std::optional<cuda::Stream> own;
};

bool DeviceBytes::wanted() {
  static const bool asked = [] {
    const char* value = std::getenv("API_TEST_DEVICE");
    return value && std::string(value) == "1" && context();
  }();
  return asked;
}

// To free memory waits for the whole device, for the calls of other ranks of this process as well, which may wait for
// this one: so it is kept for others.
struct DeviceBytes::Kept {
  std::mutex mutex;
  std::vector<std::unique_ptr<Held>> all;

  static Kept& of_process() {
    static Kept* const made = new Kept;
    return *made;
  }
  std::unique_ptr<Held> take(size_t bytes) {
    const std::lock_guard lock(mutex);
    for (auto& held : all) {
      if (held->memory.size() < bytes) continue;
      std::swap(held, all.back());
      auto taken = std::move(all.back());
      all.pop_back();
      return taken;
    }
    return nullptr;
  }
};

DeviceBytes::DeviceBytes(const Bytes& content, StreamOf of) : held_(Kept::of_process().take(content.size())) {
  if (!held_) {
    const size_t bytes = std::max<size_t>(content.size(), 4096);
    held_.reset(new Held{must(cuda::DeviceMemory::allocate(context(), bytes)),
                         must(cuda::PinnedMemory::allocate(context(), bytes)),
                         nullptr,
                         0,
                         {}});
  }
  held_->bytes = content.size();
  if (of == StreamOf::itself && !held_->own) held_->own.emplace(must(cuda::Stream::create(context())));
  held_->stream = of == StreamOf::itself ? held_->own->get() : ThreadStream::get();
  std::copy(content.begin(), content.end(), held_->host.data());
  const cuda::CurrentContext current(*context());
  must(cuda::copy(*context(), held_->memory.address(), cuda::address_of(held_->host.data()), held_->bytes, held_->stream));
  must(context()->check(context()->driver().call<"cuStreamSynchronize">(held_->stream), "fill memory"));
}

DeviceBytes::~DeviceBytes() {
  const std::lock_guard lock(Kept::of_process().mutex);
  Kept::of_process().all.push_back(std::move(held_));
}

std::byte* DeviceBytes::data() const { return held_->memory.data(); }
void* DeviceBytes::stream() const { return held_->stream; }

Bytes DeviceBytes::content() const {
  const cuda::CurrentContext current(*context());
  must(cuda::copy(*context(), cuda::address_of(held_->host.data()), held_->memory.address(), held_->bytes, held_->stream));
  must(context()->check(context()->driver().call<"cuStreamSynchronize">(held_->stream), "read memory"));
  return Bytes(held_->host.data(), held_->host.data() + held_->bytes);
}

}  // namespace tutti::test
