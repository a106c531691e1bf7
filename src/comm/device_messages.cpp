// Sends and receives of device memory.
//
// How long a message is the device cannot know before it has come, so its copy is put on a stream then, and not before
// as those of collectives are: by whoever drives the engine, which calls CUDA for it.
#include <algorithm>
#include <functional>
#include <memory>
#include <new>
#include <thread>
#include <utility>

#include "device_shared.h"

namespace tutti {

// Of one receive, whose length is known only when it has come.
class DeviceSide::MessageCarrier final : public PieceCarrier {
 public:
  MessageCarrier(std::shared_ptr<Shared> shared, cuda::Event start, cuda::PinnedMemory buffer, std::byte* device,
                 std::function<size_t()> got)
      : shared_(std::move(shared)), event_(std::move(start)), device_(device), got_(std::move(got)) {
    buffer_.push_back(std::move(buffer));
  }
  ~MessageCarrier() override {
    bool free = !copying_;
    try {
      free = free || has_come();
    } catch (const std::bad_alloc&) {  // then nobody knows
    }
    shared_->give_back(buffer_, free);
    shared_->give_back(std::move(event_));
  }
  bool fetched(size_t) override { return has_come(); }  // what the memory was used for before has ended
  void deliver(size_t) override {
    const size_t bytes = got_();
    if (bytes == 0) return;
    const cuda::BesideCaptures beside(shared_->context->driver());
    const cuda::CurrentContext current(*shared_->context);
    const auto stream = shared_->message_stream();
    status_ = first_failure({current.status(), stream.status()});
    if (status_.ok())
      status_ = cuda::copy(*shared_->context, cuda::address_of(device_), cuda::address_of(buffer_.front().data()), bytes, *stream);
    if (status_.ok()) status_ = event_.record(*stream);
    copying_ = true;
  }
  bool delivered(size_t) override { return !copying_ || has_come(); }
  void finish() noexcept override {}
  Status status() const override { return status_; }
  std::string device() const override { return "device " + std::to_string(shared_->context->device()); }

 private:
  bool has_come() {
    if (!status_.ok()) return false;
    const cuda::BesideCaptures beside(shared_->context->driver());
    const cuda::CurrentContext current(*shared_->context);
    const auto done = event_.is_done();
    status_ = done.status();
    return done.ok() && *done;
  }

  const std::shared_ptr<Shared> shared_;
  cuda::Event event_;
  std::vector<cuda::PinnedMemory> buffer_;
  std::byte* const device_;
  const std::function<size_t()> got_;
  bool copying_ = false;
  Status status_;
};

Status DeviceSide::record(const cuda::Event& event, void* stream) const {
  const auto waited_for = stream_of(stream);
  const auto capturing = stream ? cuda::capture_of(*shared_->context, waited_for) : Result<std::optional<uint64_t>>(std::nullopt);
  if (!capturing.ok()) return capturing.status();
  if (*capturing)
    return Status(Code::unsupported,
                  "the stream is being captured into a graph, and a message cannot be; send and receive outside of "
                  "the capture");
  return event.record(waited_for);
}

Result<DeviceSide::CarriedMessage> DeviceSide::receive(std::byte* device, size_t bytes, void* stream, std::function<size_t()> got) {
  const cuda::BesideCaptures beside(shared_->context->driver());
  const cuda::CurrentContext current(*shared_->context);
  if (!current.status().ok()) return current.status();
  auto buffer = shared_->buffer(std::max<size_t>(bytes, 1));
  if (!buffer.ok()) return buffer.status();
  auto start = shared_->spare_event();
  if (!start.ok()) return start.status();
  if (Status status = record(*start, stream); !status.ok()) return status;
  CarriedMessage carried{buffer->data(), nullptr};
  carried.carrier = std::make_unique<MessageCarrier>(shared_, std::move(*start), std::move(*buffer), device, std::move(got));
  return carried;
}

Result<std::shared_ptr<std::byte>> DeviceSide::fetch_now(const std::byte* device, size_t bytes, void* stream) {
  const cuda::BesideCaptures beside(shared_->context->driver());
  const cuda::CurrentContext current(*shared_->context);
  if (!current.status().ok()) return current.status();
  auto buffer = shared_->buffer(std::max<size_t>(bytes, 1));
  if (!buffer.ok()) return buffer.status();
  auto event = shared_->spare_event();
  if (!event.ok()) return event.status();
  const auto copies = shared_->message_stream();
  if (!copies.ok()) return copies.status();
  Status status = record(*event, stream);
  if (status.ok()) status = cuda::wait_for(*shared_->context, *copies, *event);
  if (status.ok() && bytes > 0)
    status = cuda::copy(*shared_->context, cuda::address_of(buffer->data()), cuda::address_of(device), bytes, *copies);
  if (status.ok()) status = event->record(*copies);
  for (; status.ok(); std::this_thread::yield()) {
    const auto done = event->is_done();
    status = done.status();
    if (done.ok() && *done) break;
  }
  if (!status.ok()) return status;
  shared_->give_back(std::move(*event));
  const auto kept = std::make_shared<std::vector<cuda::PinnedMemory>>();
  kept->push_back(std::move(*buffer));
  std::byte* const data = kept->front().data();
  return std::shared_ptr<std::byte>(data, [kept, shared = shared_](std::byte*) { shared->give_back(*kept, true); });
}

}  // namespace tutti
