// A TensorCodec stands behind a tutti_codec: a codec and what it must remember of one tensor at this rank.
//
// The residual, one float32 per element in units of the sum (for avg too), is what encodings have left out so far.  One
// buffer serves the errors of this rank as a sender of its own gradient and as the owner of sums alike, since in the
// plans that may carry a codec each rank encodes each element once (the checker's mass proof).
//
// One call at a time.  After a call that failed midway some chunks have been encoded and others not, so the residual
// fits neither before nor after: the codec is spoiled until reset() or restore().
#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "codec.h"
#include "large_pages.h"
#include "spec.h"
#include "status.h"
#include "vocabulary.h"

namespace tutti {

class TensorCodec {
 public:
  // `count` elements of `type`, which is float32, float16 or bfloat16.  Allocates and clears what is to be remembered.
  static Result<std::shared_ptr<TensorCodec>> create(const CodecSpec& spec, size_t count, DataType type);

  const CodecSpec& spec() const { return spec_; }
  const Codec& codec() const { return *codec_; }
  const std::string& text() const { return text_; }  // describe(spec())
  size_t count() const { return count_; }
  DataType type() const { return type_; }
  uint32_t step() const { return step_; }  // calls carried out; equal on all ranks
  uint16_t identity() const;               // of the codec and its step, never 0: travels in signatures

  float* residual() { return residual_.empty() ? nullptr : residual_.data(); }
  float* velocity() { return velocity_.empty() ? nullptr : velocity_.data(); }

  // Taking it for a call, and giving it back; `well`: the call was carried out to its end.
  Status begin();
  void end(bool well);
  void give_back() { state_.store(State::idle); }  // of a call that was not started: nothing has been encoded
  bool in_use() const { return state_.load() == State::in_use; }

  // Between calls; a status if it is in use.
  Status reset();               // as after create
  Status scale(double factor);  // of the residual, when the learning rate that multiplies it changes
  Status norm(double& l2) const;

  // A checkpoint: residual, velocity and step, of fixed length.
  size_t saved_bytes() const;
  Status save(std::span<std::byte> to) const;
  // Refuses what is not a checkpoint of such a codec, and then changes nothing.
  Status restore(std::span<const std::byte> from);

 private:
  enum class State : uint8_t { idle, in_use, spoiled };
  TensorCodec(const CodecSpec& spec, size_t count, DataType type);
  Status idle(const char* doing) const;

  CodecSpec spec_;
  std::unique_ptr<const Codec> codec_;
  std::string text_;
  size_t count_;
  DataType type_;
  uint32_t step_ = 0;
  using Numbers = std::vector<float, LargePages<float>>;
  static bool finite(const Numbers& numbers);
  Numbers residual_, velocity_;
  std::atomic<State> state_{State::idle};
};

}  // namespace tutti
