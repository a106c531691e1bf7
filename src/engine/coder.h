// What a PlanOperation does where a codec changes what travels: messages hold packets instead of elements.
//
// A block's value at this rank is in one of three states, per lane:
//   input    the caller's input, untouched yet
//   partial  a sum of contributions, in float32, kept here
//   packet   final, and decoded to the output; its packet is kept here as long as a later instruction sends it
// Encoding happens where the value of a block leaves this rank or becomes final; what arrives final is passed on verbatim, and everybody
// decodes the same packet (its owner while encoding it), so all ranks end with the same bits.  Everything is done chunk by chunk, in the caches.
//
// The plan must carry codecs (Proof::may_carry_codec): each rank then encodes each element at most once in an operation, which is what
// makes one residual per tensor enough, and each input is read once, which is what momentum correction needs.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "binding.h"
#include "kernels.h"
#include "large_pages.h"
#include "program.h"
#include "tensor_codec.h"

namespace tutti {

class Coder {
 public:
  struct Job {
    const void* input;  // at any address
    void* output;       // likewise; may be the input
    uint32_t rank = 0;
    uint32_t ranks = 1;
    uint32_t divisor = 1;  // of the final value
    kernels::Store output_store = kernels::Store::cached;
  };
  // Takes the tensor (TensorCodec::begin must have succeeded) and gives it back: well, if finish() was called.
  Coder(std::shared_ptr<TensorCodec> tensor, const Job& job, uint32_t lanes, uint32_t blocks);
  Coder(const Coder&) = delete;
  ~Coder();

  void finish();

  // How the tensor is cut: each block is a whole number of chunks but for the tensor's end, in places that depend on nothing else.
  static Binding bind(const TensorCodec& tensor, const void* input, void* output, uint32_t blocks, size_t chunks_per_stripe);
  // Of all packets of the tensor, and of one chunk.
  static uint64_t packed_bytes(const TensorCodec& tensor);
  static size_t packet_bytes(const TensorCodec& tensor) {
    return tensor.codec().packet_bytes(tensor.codec().chunk(), tensor.step());
  }

  void begin_stripe(uint32_t lane);
  size_t message_bytes(const Binding& binding, const Instruction& instruction, uint64_t stripe) const;

  // send: the packets of this rank's values of the instruction's blocks.
  void pack(const Binding& binding, const Instruction& instruction, uint32_t lane, uint64_t stripe, std::byte* message);

  // recv: `message` is final.
  Status take(const Binding& binding, const Instruction& instruction, uint32_t lane, uint64_t stripe, const std::byte* message);

  // recv_reduce, fold: this rank's own value plus what the messages hold, one after the other.  (The order matters to nobody else: only
  // this rank's encoding of the sum counts.)  The packets of the sum go to `result`, which may be one of the messages; null: nowhere but
  // into what is kept here.  On failure `damaged` is the number of the message that cannot be decoded.
  Status reduce(const Binding& binding, const Instruction& instruction, uint32_t lane, uint64_t stripe,
                std::span<const std::byte* const> messages, std::byte* result, size_t& damaged);

  // One rank alone: nothing travels, so nothing need be left out.
  void keep_all(const Binding& binding, std::span<const Segment> segments, uint64_t stripe);

 private:
  enum class State : uint8_t { input, partial, packet };
  struct Value {
    State state = State::input;
    std::vector<float> partial;
    std::vector<std::byte> packets;
  };
  struct Place {  // a chunk of a block in a stripe
    uint32_t block;
    size_t element, n;  // in the tensor
    size_t in_block;    // elements of this block and stripe before it
    size_t packet;      // its packet's offset in those of the block and stripe
    size_t in_message;  // and in the message
  };
  template <class Fn>
  size_t each_chunk(const Binding& binding, std::span<const Segment> segments, uint64_t stripe, Fn fn) const;
  Value& value(uint32_t lane, uint32_t block) { return values_[lane * blocks_ + block]; }
  EncodeContext context(const Place& place) const;
  const float* own(uint32_t lane, const Place& place, float* room);
  void encode(const float* from, const Place& place, std::byte* packet, const Output& decoded = {});
  Status decode(const std::byte* packet, const Place& place, const Output& output) const;
  Output delivery(const Place& place);
  void deliver(const Place& place, const Output& delivery);
  std::byte* kept_packet(uint32_t lane, const Place& place, const Binding& binding);

  std::shared_ptr<TensorCodec> tensor_;
  const Codec& codec_;
  Job job_;
  uint32_t blocks_;
  size_t chunk_, element_bytes_;
  float clip_ = 1;
  bool finished_ = false;
  std::vector<Value> values_;                                  // lanes × blocks
  bool reads_input_, writes_output_;                           // as they are: they hold float32, aligned
  bool streams_;                                               // final numbers are written past the caches
  std::vector<float, LargePages<float>> work_, mine_, final_;  // of one chunk
};

}  // namespace tutti
