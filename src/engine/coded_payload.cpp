#include "coded_payload.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "momentum.h"
#include "standard_floats.h"

namespace tutti {

CodedPayload::CodedPayload(std::shared_ptr<TensorCodec> tensor, const Job& job, uint32_t lanes, uint32_t blocks)
    : tensor_(std::move(tensor)),
      codec_(tensor_->codec()),
      job_(job),
      blocks_(blocks),
      chunk_(codec_.chunk()),
      element_bytes_(element_size(tensor_->type())),
      values_(size_t{lanes} * blocks),
      work_(chunk_),
      mine_(chunk_),
      final_(chunk_) {
  const auto holds_floats = [&](const void* memory) {
    return tensor_->type() == DataType::float32 && reinterpret_cast<uintptr_t>(memory) % alignof(float) == 0;
  };
  reads_input_ = holds_floats(job_.input);
  writes_output_ = holds_floats(job_.output);
  streams_ = writes_output_ && job_.output_store == kernels::Store::streaming && codec_.streams() &&
             reinterpret_cast<uintptr_t>(job_.output) % kStreamingAlignment == 0;
  if (tensor_->velocity()) clip_ = clipping(tensor_->spec(), job.input, tensor_->type(), tensor_->count(), job.ranks);
}

CodedPayload::~CodedPayload() {
  if (!finished_) tensor_->end(false);
}

void CodedPayload::finish() {
  if (!finished_) tensor_->end(true);
  finished_ = true;
}

// ---- the cut ----

Binding CodedPayload::bind(const TensorCodec& tensor, const void* input, void* output, uint32_t blocks, size_t chunks_per_stripe) {
  const size_t chunk = tensor.codec().chunk(), element = element_size(tensor.type());
  std::vector<Binding::Block> places(blocks);
  const auto boundary = [&](uint64_t b) { return even_boundary(tensor.count(), chunk, b, blocks) * element; };
  for (uint32_t b = 0; b < blocks; ++b) {
    const uint64_t begin = boundary(b), end = boundary(b + 1);
    places[b] = {static_cast<const std::byte*>(input) + begin, static_cast<std::byte*>(output) + begin, end - begin};
  }
  return Binding::fixed(std::move(places), chunks_per_stripe * chunk * element);
}

uint64_t CodedPayload::packed_bytes(const TensorCodec& tensor) {
  const size_t chunk = tensor.codec().chunk(), rest = tensor.count() % chunk;
  return tensor.count() / chunk * packet_bytes(tensor) + (rest > 0 ? tensor.codec().packet_bytes(rest, tensor.step()) : 0);
}

// Calls fn(place) for each chunk in order; returns the message's bytes.
template <class Fn>
size_t CodedPayload::each_chunk(const Binding& binding, std::span<const Segment> segments, uint64_t stripe, Fn fn) const {
  const size_t whole = codec_.packet_bytes(chunk_, tensor_->step());
  size_t in_message = 0;
  for (const Segment& segment : segments)
    for (uint32_t k = 0; k < segment.count; ++k) {
      const Span span = binding.at(segment.block + k, stripe);
      const size_t n = span.bytes / element_bytes_;
      const auto first = static_cast<size_t>(span.output - static_cast<std::byte*>(job_.output)) / element_bytes_;
      for (size_t i = 0, packet = 0; i < n; i += chunk_) {
        const Place place{segment.block + k, first + i, std::min(chunk_, n - i), i, packet, in_message};
        fn(place);
        const size_t bytes = place.n == chunk_ ? whole : codec_.packet_bytes(place.n, tensor_->step());
        packet += bytes;
        in_message += bytes;
      }
    }
  return in_message;
}

void CodedPayload::begin_stripe(uint32_t lane) {
  for (uint32_t block = 0; block < blocks_; ++block) value(lane, block).state = State::input;
}

size_t CodedPayload::message_bytes(const Binding& binding, std::span<const Segment> segments, uint64_t stripe) const {
  return each_chunk(binding, segments, stripe, [](const Place&) {});
}

// ---- one chunk ----

EncodeContext CodedPayload::context(const Place& place) const {
  return {tensor_->spec().seed, tensor_->step(), job_.rank, place.element};
}

// This rank's value, in `room` if it is nowhere as aligned float32.
const float* CodedPayload::own(uint32_t lane, const Place& place, float* room) {
  const Value& v = value(lane, place.block);
  if (v.state == State::partial) return v.partial.data() + place.in_block;
  const void* from = static_cast<const std::byte*>(job_.input) + place.element * element_bytes_;
  if (!reads_input_) kernels::widen(tensor_->type(), from, room, place.n);
  const float* gradient = reads_input_ ? static_cast<const float*>(from) : room;
  if (!tensor_->velocity()) return gradient;
  add_momentum(tensor_->spec(), gradient, tensor_->velocity() + place.element, clip_, place.n, room);
  return room;
}

void CodedPayload::encode(const float* from, const Place& place, std::byte* packet, const Output& decoded) {
  Chunk chunk{from, nullptr, nullptr, place.n, decoded};
  if (tensor_->residual()) chunk.residual = tensor_->residual() + place.element;
  if (tensor_->velocity() && tensor_->spec().masking) chunk.momentum = tensor_->velocity() + place.element;
  codec_.encode(chunk, context(place), packet);
}

Status CodedPayload::decode(const std::byte* packet, const Place& place, const Output& output) const {
  return codec_.decode(packet, place.n, context(place), output);
}

// The place to decode final numbers: the user's output, if that can be, else a room here that deliver() copies from.
Output CodedPayload::delivery(const Place& place) {
  const bool straight = streams_ || (writes_output_ && job_.output_store == kernels::Store::cached);
  return {straight ? static_cast<float*>(job_.output) + place.element : final_.data(), nullptr, job_.divisor, streams_};
}

void CodedPayload::deliver(const Place& place, const Output& delivery) {
  if (delivery.out != final_.data()) return;
  std::byte* output = static_cast<std::byte*>(job_.output) + place.element * element_bytes_;
  if (tensor_->type() == DataType::float32)
    kernels::copy(output, nullptr, final_.data(), place.n * sizeof(float), job_.output_store);
  else
    kernels::narrow(tensor_->type(), final_.data(), output, place.n);
}

// Where the chunk's packet is kept.
std::byte* CodedPayload::kept_packet(uint32_t lane, const Place& place, const Binding& binding) {
  std::vector<std::byte>& packets = value(lane, place.block).packets;
  if (packets.empty())
    packets.resize(binding.stripe_bytes() / element_bytes_ / chunk_ * codec_.packet_bytes(chunk_, tensor_->step()));
  return packets.data() + place.packet;
}

// ---- work ----

void CodedPayload::carry_out(const CodedWork& work) {
  switch (work.kind) {
    case CodedWork::Kind::pack: return pack(work);
    case CodedWork::Kind::take: work.outcome->status = take(work); return;
    case CodedWork::Kind::reduce: work.outcome->status = reduce(work); return;
    case CodedWork::Kind::keep: return keep(work);
  }
}

void CodedPayload::pack(const CodedWork& work) {
  each_chunk(*work.binding, work.segments, work.stripe, [&](const Place& place) {
    std::byte* packet = work.result + place.in_message;
    if (value(work.lane, place.block).state == State::packet)
      std::memcpy(packet, kept_packet(work.lane, place, *work.binding), codec_.packet_bytes(place.n, tensor_->step()));
    else
      encode(own(work.lane, place, mine_.data()), place, packet);
  });
}

Status CodedPayload::take(const CodedWork& work) {
  Status status;
  each_chunk(*work.binding, work.segments, work.stripe, [&](const Place& place) {
    const std::byte* packet = work.messages[0] + place.in_message;
    const Output to = delivery(place);
    if (status.ok()) status = decode(packet, place, to);
    if (status.ok()) deliver(place, to);
    value(work.lane, place.block).state = State::packet;
    if (!work.last_touch)
      std::memcpy(kept_packet(work.lane, place, *work.binding), packet, codec_.packet_bytes(place.n, tensor_->step()));
  });
  if (streams_) kernels::flush_streams();
  return status;
}

Status CodedPayload::reduce(const CodedWork& work) {
  const bool leaves = work.result != nullptr || work.completes;
  Status status;
  each_chunk(*work.binding, work.segments, work.stripe, [&](const Place& place) {
    if (!status.ok()) return;
    Value& v = value(work.lane, place.block);
    const float* sum = own(work.lane, place, mine_.data());
    if (!leaves && v.partial.empty()) v.partial.resize(work.binding->stripe_bytes() / element_bytes_);
    float* out = leaves ? work_.data() : v.partial.data() + place.in_block;
    Output to{out, sum};
    if (leaves && tensor_->residual() != nullptr) to.prefetch[0] = tensor_->residual() + place.element;
    // The next chunk, or just behind the last one.
    if (sum != mine_.data() && place.n == chunk_) to.prefetch[1] = sum + chunk_;
    status = add_messages(work, place, to, sum);
    if (!status.ok() || !leaves) return;
    std::byte* packet = work.result ? work.result + place.in_message : kept_packet(work.lane, place, *work.binding);
    if (!work.completes) return encode(sum, place, packet);
    to = delivery(place);
    encode(sum, place, packet, to);
    deliver(place, to);
    if (work.result && !work.last_touch)
      std::memcpy(kept_packet(work.lane, place, *work.binding), packet, codec_.packet_bytes(place.n, tensor_->step()));
  });
  if (streams_) kernels::flush_streams();
  // Only now: the chunks of a block share its state.
  for (const Segment& segment : work.segments)
    for (uint32_t k = 0; k < segment.count; ++k)
      value(work.lane, segment.block + k).state = work.completes ? State::packet : State::partial;
  return status;
}

// Decodes the chunk of each message onto the sum, which then is where `first` says.
Status CodedPayload::add_messages(const CodedWork& work, const Place& place, const Output& first, const float*& sum) {
  Output to = first;
  for (size_t& i = work.outcome->damaged = 0; i < work.messages.size(); ++i) {
    if (Status status = decode(work.messages[i] + place.in_message, place, to); !status.ok()) return status;
    sum = to.out;
    to = {to.out, to.out};
  }
  return {};
}

void CodedPayload::keep(const CodedWork& work) {
  const kernels::StandardFloats mode;
  each_chunk(*work.binding, work.segments, work.stripe, [&](const Place& place) {
    const float* from = own(work.lane, place, mine_.data());
    float* residual = tensor_->residual() ? tensor_->residual() + place.element : nullptr;
    for (size_t i = 0; i < place.n; ++i)
      work_[i] = residual && std::isfinite(from[i]) ? from[i] + std::exchange(residual[i], 0.0f) : from[i];
    if (tensor_->velocity() && tensor_->spec().masking) std::fill_n(tensor_->velocity() + place.element, place.n, 0.0f);
    kernels::narrow(tensor_->type(), work_.data(), static_cast<std::byte*>(job_.output) + place.element * element_bytes_, place.n);
  });
}

}  // namespace tutti
