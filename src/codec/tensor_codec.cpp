#include "tensor_codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "bytes.h"
#include "standard_floats.h"

namespace tutti {
namespace {

// Head of a checkpoint, before the residual and the velocity.  Plain bytes of fixed layout (little endian).
struct Head {
  char magic[8] = {'t', 'u', 't', 't', 'i', 'E', 'F', '1'};
  uint64_t count = 0;
  uint32_t step = 0;
  uint32_t parts = 0;     // 1: residual, 2: velocity
  uint64_t checksum = 0;  // of all that follows
};
static_assert(sizeof(Head) == 32);

uint64_t checksum(const void* bytes, size_t n, uint64_t seed = Hash().value()) {  // over words; n is a multiple of 4
  Hash hash(seed);
  for (size_t i = 0; i < n; i += sizeof(uint32_t)) {
    uint32_t word;
    std::memcpy(&word, static_cast<const std::byte*>(bytes) + i, sizeof word);
    hash.add(uint64_t{word});
  }
  return hash.value();
}

}  // namespace

bool TensorCodec::finite(const Numbers& numbers) {
  return std::ranges::all_of(numbers, [](float x) { return std::isfinite(x); });
}

TensorCodec::TensorCodec(const CodecSpec& spec, size_t count, DataType type)
    : spec_(spec), codec_(make_codec(spec)), text_(describe(spec)), count_(count), type_(type) {
  if (uses_feedback(spec, *codec_)) residual_.resize(count);
  if (spec.momentum > 0) velocity_.resize(count);
}

Result<std::shared_ptr<TensorCodec>> TensorCodec::create(const CodecSpec& spec, size_t count, DataType type) {
  const kernels::StandardFloats mode;
  if (Status status = check(spec); !status.ok()) return status;
  if (type != DataType::float32 && type != DataType::float16 && type != DataType::bfloat16)
    return Status(Code::unsupported,
                  "codec " + describe(spec) + " takes tensors of float32, float16 or bfloat16, not of " + std::string(name(type)));
  if (count > SIZE_MAX / 64)
    return Status(Code::invalid_argument, "codec " + describe(spec) + ": count " + std::to_string(count) + " is too large");
  try {
    return std::shared_ptr<TensorCodec>(new TensorCodec(spec, count, type));
  } catch (const std::bad_alloc&) {
    return Status(Code::out_of_memory, "codec " + describe(spec) + ": no memory for the residual of " + std::to_string(count) +
                                           " elements (4 bytes each)");
  }
}

uint16_t TensorCodec::identity() const {
  const uint16_t folded = Hash(step_ + 1).add(text_).add(static_cast<uint64_t>(type_)).folded();
  return folded == 0 ? uint16_t{1} : folded;
}

Status TensorCodec::begin() {
  State expected = State::idle;
  if (state_.compare_exchange_strong(expected, State::in_use)) return {};
  if (expected == State::in_use)
    return Status(Code::invalid_argument,
                  "codec " + text_ + " is in use by a call that has not ended; a codec serves one tensor, one call at a time");
  return Status(Code::invalid_argument, "codec " + text_ +
                                            " was in use by a call that failed, and its residual fits neither before nor "
                                            "after that call; tutti_codec_reset or tutti_codec_import it first");
}

void TensorCodec::end(bool well) {
  if (well) ++step_;
  state_.store(well ? State::idle : State::spoiled);
}

Status TensorCodec::idle(const char* doing) const {
  if (!in_use()) return {};
  return Status(Code::invalid_argument,
                std::string(doing) + ": codec " + text_ + " is in use by a call that has not ended; wait for it first");
}

Status TensorCodec::reset() {
  if (Status status = idle("tutti_codec_reset"); !status.ok()) return status;
  std::ranges::fill(residual_, 0.0f);
  std::ranges::fill(velocity_, 0.0f);
  step_ = 0;
  state_ = State::idle;
  return {};
}

Status TensorCodec::scale(double factor) {
  if (Status status = idle("tutti_codec_scale"); !status.ok()) return status;
  if (!std::isfinite(factor) || std::abs(factor) > 1e30)
    return Status(Code::invalid_argument, "tutti_codec_scale: the factor must be a finite number of moderate size");
  const kernels::StandardFloats mode;
  for (float& x : residual_) x = static_cast<float>(x * factor);
  return {};
}

Status TensorCodec::norm(double& l2) const {
  if (Status status = idle("tutti_codec_norm"); !status.ok()) return status;
  const kernels::StandardFloats mode;
  double sum = 0;
  for (const float x : residual_) sum += static_cast<double>(x) * x;
  l2 = std::sqrt(sum);
  return {};
}

size_t TensorCodec::saved_bytes() const { return sizeof(Head) + (residual_.size() + velocity_.size()) * sizeof(float); }

Status TensorCodec::save(std::span<std::byte> to) const {
  if (Status status = idle("tutti_codec_export"); !status.ok()) return status;
  if (state_.load() == State::spoiled)
    return Status(Code::invalid_argument, "tutti_codec_export: a call with codec " + text_ +
                                              " failed, so there is nothing worth keeping; reset it or import an earlier state");
  if (to.size() < saved_bytes())
    return Status(Code::invalid_argument, "tutti_codec_export: " + std::to_string(to.size()) + " bytes of room, needed are " +
                                              std::to_string(saved_bytes()));
  Head head;
  head.count = count_;
  head.step = step_;
  head.parts = (residual_.empty() ? 0u : 1u) | (velocity_.empty() ? 0u : 2u);
  head.checksum =
      checksum(velocity_.data(), velocity_.size() * sizeof(float), checksum(residual_.data(), residual_.size() * sizeof(float)));
  std::byte* place = to.data();
  const auto put = [&](const void* from, size_t bytes) {
    if (bytes > 0) std::memcpy(place, from, bytes);
    place += bytes;
  };
  put(&head, sizeof head);
  put(residual_.data(), residual_.size() * sizeof(float));
  put(velocity_.data(), velocity_.size() * sizeof(float));
  return {};
}

Status TensorCodec::restore(std::span<const std::byte> from) {
  if (Status status = idle("tutti_codec_import"); !status.ok()) return status;
  const auto refused = [&](const std::string& why) {
    return Status(Code::invalid_argument, "tutti_codec_import: " + why + "; the codec is as it was");
  };
  Head head;
  const Head ours;
  if (from.size() < sizeof head) return refused("this is too short to be an exported codec");
  std::memcpy(&head, from.data(), sizeof head);
  if (std::memcmp(head.magic, ours.magic, sizeof head.magic) != 0) return refused("this is not an exported codec");
  if (head.count != count_)
    return refused("it was exported for " + std::to_string(head.count) + " elements, this codec has " + std::to_string(count_));
  const uint32_t parts = (residual_.empty() ? 0u : 1u) | (velocity_.empty() ? 0u : 2u);
  if (head.parts != parts || from.size() != saved_bytes())
    return refused("it holds other parts than a codec " + text_ + " has, which are " +
                   (parts == 0   ? "none"
                    : parts == 1 ? "a residual"
                    : parts == 2 ? "a velocity"
                                 : "a residual and a velocity"));
  Numbers residual(residual_.size()), velocity(velocity_.size());
  const std::byte* place = from.data() + sizeof head;
  if (!residual.empty()) std::memcpy(residual.data(), place, residual.size() * sizeof(float));
  place += residual.size() * sizeof(float);
  if (!velocity.empty()) std::memcpy(velocity.data(), place, velocity.size() * sizeof(float));
  if (checksum(velocity.data(), velocity.size() * sizeof(float), checksum(residual.data(), residual.size() * sizeof(float))) !=
      head.checksum)
    return refused("its content is damaged (checksum)");
  if (!finite(residual) || !finite(velocity)) return refused("it holds numbers that are not finite");
  residual_ = std::move(residual);
  velocity_ = std::move(velocity);
  step_ = head.step;
  state_ = State::idle;
  return {};
}

}  // namespace tutti
