#include "device_side.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "clock.h"
#include "communicator_parts.h"
#include "device_shared.h"
#include "own_memory.h"
#include "page.h"

namespace tutti {
namespace {

constexpr uint64_t kMomentNs = 200 * kMillisecond;
constexpr uint64_t kPatienceNs = 10 * kSecond;  // for copies on our streams that nobody needs any more

}  // namespace

// All is on the streams; what is left is to read and write words.
class DeviceSide::CallCarrier final : public PieceCarrier {
 public:
  // Takes its places among the pieces of all calls, unless it throws.
  CallCarrier(std::shared_ptr<Shared> shared, size_t pieces, std::vector<cuda::PinnedMemory> own)
      : shared_(std::move(shared)), first_(shared_->pieces), pieces_(pieces), own_(std::move(own)) {
    shared_->add_pieces(pieces);
  }
  ~CallCarrier() override {
    finish();
    if (!own_.empty()) shared_->give_back(own_, delivered(pieces_ - 1));
  }
  bool fetched(size_t piece) override { return shared_->has_counted(Shared::fetched, number(piece)); }
  void deliver(size_t piece) override {
    for (; handled_ <= piece; ++handled_) shared_->handle(number(handled_));
  }
  bool delivered(size_t piece) override { return shared_->has_counted(Shared::delivered, number(piece)); }
  void finish() noexcept override {
    for (; handled_ < pieces_; ++handled_) shared_->handle(number(handled_));
  }
  std::string device() const override { return "device " + std::to_string(shared_->context->device()); }

 private:
  uint32_t number(size_t piece) const { return first_ + static_cast<uint32_t>(piece); }

  const std::shared_ptr<Shared> shared_;
  const uint32_t first_;  // among the pieces of all calls
  const size_t pieces_;
  size_t handled_ = 0;
  std::vector<cuda::PinnedMemory> own_;
};

// ---- devices ----

DeviceSide::DeviceSide(const CommunicatorParts& parts, const FamilyMemory::Member& member) : parts_(parts), member_(member) {
  if (parts_.settings.cuda == DeviceUse::off) return;
  const auto loaded = cuda::Driver::if_loaded(parts_.settings.cuda_library);
  if (loaded.ok()) driver_.store(*loaded, std::memory_order_release);
}

// Copies of calls that have failed wait for the user's streams.  Where these do not come to them, all that they may
// touch stays.
DeviceSide::~DeviceSide() {
  if (!shared_ || !shared_->context->is_ours()) return;
  if (!wait_for_copies()) {
    Shared::leave(std::move(shared_));
    return;
  }
  if (!shared_->family_ring) return;
  // To end the registration would wait for all kernels of the context.  After a failure others may still read there.
  const std::weak_ptr<const void> family = member_.failed() ? nullptr : parts_.domain->memory;
  shared_->pool->park(family, 2 * kRing * shared_->ring_bytes, std::move(shared_->family_ring));
}

Result<const cuda::Driver*> DeviceSide::driver() {
  if (const cuda::Driver* known = driver_.load(std::memory_order_acquire)) return known;
  if (parts_.settings.cuda == DeviceUse::off)
    return Status(Code::unsupported, "TUTTI_CUDA=off keeps this communicator from using devices");
  auto loaded = cuda::Driver::load(parts_.settings.cuda_library);
  if (loaded.ok()) driver_.store(*loaded, std::memory_order_release);
  return loaded;
}

Result<int> DeviceSide::device_of(std::span<const void* const> pointers, void* stream) {
  if (!stream && !sees_devices()) return -1;
  const auto loaded = driver();
  if (!loaded.ok()) return loaded.status();
  const auto whose = [](int device) { return device < 0 ? std::string("the host's") : "that of device " + std::to_string(device); };
  std::optional<int> all;
  const void* last = nullptr;
  for (const void* pointer : pointers) {
    if (!pointer || pointer == last) continue;  // in place: a look costs a tenth of a microsecond
    last = pointer;
    int device = -1;
    if (!is_on_stack_or_heap(pointer)) {
      const auto known = cuda::recognize(**loaded, pointer);
      if (!known.ok()) return known.status();
      const bool on_device = known->place == cuda::MemoryPlace::device || known->place == cuda::MemoryPlace::managed;
      if (on_device) device = known->device;
    }
    if (all && *all != device)
      return Status(Code::invalid_argument, "one buffer's memory is " + whose(*all) + " and another's is " + whose(device) +
                                                "; all buffers of a call are memory of one device, or all are the host's");
    all = device;
  }
  if (!stream) return all.value_or(-1);
  if (all && *all < 0)
    return Status(Code::invalid_argument,
                  "a stream was given, and the buffers are the host's memory; a stream goes with memory of "
                  "its device");
  if (all) return *all;
  if (is_open()) return shared_->context->device();
  return cuda::device_of(**loaded, stream_of(stream));
}

Result<int> DeviceSide::present() {
  if (is_open()) return shared_->context->device();
  const auto loaded = driver();
  if (!loaded.ok()) return loaded.status();
  cuda::CUcontext current = nullptr;  // a thread that has none yet is on the first device, as CUDA's runtime has it
  if ((*loaded)->call<"cuCtxGetCurrent">(&current) == cuda::Error::success && !current) return 0;
  return cuda::device_of(**loaded, cuda::legacy_stream());
}

const cuda::SharedContext& DeviceSide::context() const { return shared_->context; }

Status DeviceSide::health() const {
  if (!is_open()) return {};
  const cuda::Context& context = *shared_->context;
  const cuda::BesideCaptures beside(context.driver());
  const cuda::CurrentContext current(context);
  if (!current.status().ok()) return current.status();
  for (const auto* stream : {&shared_->fetching, &shared_->delivering}) {
    if (!*stream) continue;
    const cuda::Error error = context.driver().call<"cuStreamQuery">((*stream)->get());
    if (error != cuda::Error::success && error != cuda::Error::not_ready)
      return context.failure(error, "copy between device " + std::to_string(context.device()) + " and the host");
  }
  return shared_->event.is_done().status();  // there may be no streams
}

// The error may have come from a function that does not know our context, which is asked, too.
bool DeviceSide::is_lost() const {
  if (unusable_.load()) return true;
  return is_open() && !health().ok() && shared_->context->lost() != cuda::Error::success;
}

void DeviceSide::settle() const {
  Shared& shared = *shared_;
  uint32_t pieces = 0;
  {
    const std::lock_guard lock(shared.mutex);
    pieces = shared.pieces;
  }
  const uint64_t deadline = now_ns() + kMomentNs;
  while (pieces > 0 && !shared.has_counted(Shared::delivered, pieces - 1) && now_ns() < deadline &&
         shared.context->lost() == cuda::Error::success)
    std::this_thread::yield();
}

size_t DeviceSide::memory_bytes() const {
  if (!is_open()) return 0;
  const std::lock_guard lock(shared_->mutex);
  return 2 * kRing * shared_->ring_bytes + shared_->kept;
}

Status DeviceSide::open(int device) {
  if (shared_) {
    if (shared_->context->device() == device) return shared_->context->check(shared_->context->lost(), "use a device");
    return Status(Code::invalid_argument, "the buffers are memory of device " + std::to_string(device) +
                                              ", and earlier calls on this communicator used device " +
                                              std::to_string(shared_->context->device()) +
                                              "; a rank uses one device per communicator");
  }
  const cuda::Driver& driver = *driver_.load(std::memory_order_acquire);
  const cuda::BesideCaptures beside(driver);
  const auto context = cuda::Context::retain(driver, device);
  if (!context.ok()) return context.status();
  Status status = open_in(*context);
  if ((*context)->lost() != cuda::Error::success) unusable_.store(true);
  return status;
}

Status DeviceSide::open_in(const cuda::SharedContext& context) {
  auto event = cuda::Event::create(context);
  auto table = cuda::MemoryPool::of(context)->pinned(Shared::words * Shared::kWordBytes);
  if (Status status = first_failure({event.status(), table.status()}); !status.ok()) return status;
  const auto there = table->device_address();
  if (!there.ok()) return there.status();
  std::fill_n(table->data(), table->size(), std::byte{});
  shared_ = std::make_shared<Shared>(context, std::move(*event), std::move(*table), *there);
  opened_.store(true, std::memory_order_release);
  return {};
}

// In memory of the family if there is any left that CUDA takes: ranks of this host read it where it lies.
Status DeviceSide::open_ring(Shared& shared) {
  const size_t piece = parts_.settings.cuda_piece_bytes, bytes = 2 * kRing * piece;
  std::byte* begin = nullptr;
  const auto& family = parts_.domain->memory;
  if (const auto parked = shared.pool->unpark(family, bytes)) {
    shared.family_ring = std::static_pointer_cast<Shared::FamilyRing>(parked);
  } else {
    auto ring = std::make_shared<Shared::FamilyRing>();
    ring->memory = family->allocate(member_, {.bytes = bytes + memory::kPage, .zeroed = false, .kept = true});
    ring->begin = static_cast<std::byte*>(ring->memory) + (0 - reinterpret_cast<uintptr_t>(ring->memory)) % memory::kPage;
    auto registration = ring->memory ? cuda::HostRegistration::make(shared.context, ring->begin, bytes)
                                     : Result<cuda::HostRegistration>(Status(Code::out_of_memory, "the family has no more memory"));
    if (registration.ok()) {
      ring->registration = std::move(*registration);
      shared.family_ring = std::move(ring);
    } else {
      parts_.log.info("communicator " + parts_.name +
                      ": memory of the device is copied by way of private host memory: " + registration.status().message());
    }
  }
  if (shared.family_ring) {
    begin = shared.family_ring->begin;
  } else {
    auto pinned = shared.pool->pinned(bytes);
    if (!pinned.ok()) return pinned.status();
    shared.ring = std::move(*pinned);
    begin = shared.ring->data();
  }
  for (size_t i = 0; i < kRing; ++i) {
    shared.inputs[i] = begin + 2 * i * piece;
    shared.outputs[i] = shared.inputs[i] + piece;
  }
  shared.ring_bytes = piece;
  return {};
}

// ---- calls ----

Result<DeviceSide::Reserved> DeviceSide::reserve(const std::vector<DevicePiece>& pieces, void* stream) {
  const cuda::BesideCaptures beside(shared_->context->driver());
  const cuda::CurrentContext current(*shared_->context);
  if (!current.status().ok()) return current.status();
  if (stream) {
    const auto capturing = cuda::capture_of(*shared_->context, stream_of(stream));
    if (!capturing.ok()) return capturing.status();
    if (*capturing)
      return Status(Code::unsupported,
                    "the stream is being captured into a graph, and calls that go through the host's memory cannot "
                    "be captured; make this call outside of the capture");
  }
  for (auto* own : {&shared_->fetching, &shared_->delivering}) {
    if (*own) continue;
    auto made = cuda::Stream::create(shared_->context);
    if (!made.ok()) return made.status();
    *own = std::move(*made);
  }
  const auto has_bytes = [](const DevicePiece& piece) { return piece.in_bytes + piece.out_bytes > 0; };
  if (shared_->ring_bytes == 0 && std::ranges::any_of(pieces, has_bytes))
    if (Status status = open_ring(*shared_); !status.ok()) return status;
  Reserved reserved;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const size_t slot = (shared_->pieces + i) % kRing;
    std::byte *input = shared_->inputs[slot], *output = shared_->outputs[slot];
    for (auto [bytes, place] : {std::pair(pieces[i].in_bytes, &input), {pieces[i].out_bytes, &output}}) {
      if (bytes <= shared_->ring_bytes) continue;
      auto buffer = shared_->buffer(bytes);
      if (!buffer.ok()) return buffer.status();
      *place = buffer->data();
      reserved.own.push_back(std::move(*buffer));
    }
    reserved.inputs.push_back(input);
    reserved.outputs.push_back(output);
  }
  return reserved;
}

Result<std::unique_ptr<PieceCarrier>> DeviceSide::put(const std::vector<DevicePiece>& pieces, Reserved reserved, void* stream) {
  Shared& shared = *shared_;
  const cuda::BesideCaptures beside(shared.context->driver());
  const cuda::CurrentContext current(*shared.context);
  Status status = first_failure({current.status()});
  if (status.ok()) status = shared.event.record(stream_of(stream));
  if (status.ok()) status = cuda::wait_for(*shared.context, shared.fetching->get(), shared.event);
  if (!status.ok()) return status;
  const uint32_t first = shared.pieces;
  auto carrier = std::make_unique<CallCarrier>(shared_, pieces.size(), std::move(reserved.own));
  try {
    status = put_copies(pieces, reserved, first);
    if (stream) {  // even if only some have been put
      const Status recorded = shared.event.record(shared.delivering->get());
      const Status joined = recorded.ok() ? cuda::wait_for(*shared.context, stream_of(stream), shared.event) : recorded;
      if (status.ok() && !joined.ok()) unusable_.store(true);
      if (status.ok()) status = joined;
    }
  } catch (...) {
    unusable_.store(true);
    throw;
  }
  if (status.ok()) return std::unique_ptr<PieceCarrier>(std::move(carrier));
  carrier->finish();
  if (!stream && !is_lost()) (void)wait_for_copies();
  return status;
}

// If this fails, whether anything has changed, or will, says unusable_.  All pieces are counted even then, since later
// calls wait for their turn.
Status DeviceSide::put_copies(const std::vector<DevicePiece>& pieces, const Reserved& reserved, uint32_t first) {
  const Shared& shared = *shared_;
  const cuda::Context& context = *shared.context;
  Status status;
  const auto then = [&](auto step) {
    if (status.ok()) status = step();
  };
  const auto count = [&](const cuda::Stream& on, Shared::Word word, uint32_t number) {
    const Status written = shared.write(on, word, number);
    if (!written.ok()) unusable_.store(true);
    then([&] { return written; });
  };
  bool writes = false;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const uint32_t number = first + static_cast<uint32_t>(i);
    then([&] { return shared.wait(*shared.fetching, Shared::delivered, number + 1 - uint32_t{kRing}); });
    for (const DeviceRun& run : pieces[i].in)
      then([&] {
        return cuda::copy(context, cuda::address_of(reserved.inputs[i] + run.offset), cuda::address_of(run.device), run.bytes,
                          shared.fetching->get());
      });
    count(*shared.fetching, Shared::fetched, number + 1);
    // Its input first, also where the call has failed and all is let through: it may be the same memory.
    then([&] { return shared.wait(*shared.delivering, Shared::fetched, number + 1); });
    then([&] { return shared.wait(*shared.delivering, Shared::handled, number + 1); });
    for (const DeviceRun& run : pieces[i].out)
      then([&] {
        writes = true;
        return cuda::copy(context, cuda::address_of(run.device), cuda::address_of(reserved.outputs[i] + run.offset), run.bytes,
                          shared.delivering->get());
      });
    count(*shared.delivering, Shared::delivered, number + 1);
  }
  if (!status.ok() && writes) unusable_.store(true);
  return status;
}

// As long as that is likely to end.
bool DeviceSide::wait_for_copies() const {
  const uint64_t begin = now_ns();
  for (uint64_t asked = begin; shared_->pieces > 0 && !shared_->has_counted(Shared::delivered, shared_->pieces - 1);) {
    const uint64_t now = now_ns();
    if (now > begin + kPatienceNs || shared_->context->lost() != cuda::Error::success) return false;
    if (now > asked + kSecond / 10) {
      if (!health().ok()) return false;
      asked = now;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  return true;
}

}  // namespace tutti
