// The payload of an operation with a codec: messages hold packets instead of elements.
//
// A block's value at this rank is in one of three states, per lane:
//   input    the caller's input, untouched yet
//   partial  a sum of contributions, in float32, kept here
//   packet   final, and decoded to the output; its packet is kept here as long as a later instruction sends it
// A block is encoded where its value leaves this rank or becomes final.  A packet that arrives final is passed on
// verbatim, and every rank decodes the same packet (its owner while encoding it), so all ranks end with the same bits.
// All is done chunk by chunk, in the caches.
//
// The plan must carry codecs (Proof::may_carry_codec).  Then each rank encodes each element at most once in an
// operation, which makes one residual per tensor enough; and each input is read once, which momentum correction needs.
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

class CodedPayload;

// Of work that decodes.
struct CodedOutcome {
  Status status;
  size_t damaged = 0;  // on failure: the number of the message that cannot be decoded
};

// The work of one instruction in one stripe, for an executor.
struct CodedWork {
  enum class Kind : uint8_t {
    pack,    // the packets of this rank's values go to `result`
    take,    // the one message is final
    reduce,  // this rank's own value plus what the messages hold, one after the other
    keep,    // one rank alone: nothing travels, so nothing need be left out
  };
  CodedPayload* payload;
  Kind kind;
  const Binding* binding;
  std::span<const Segment> segments;
  uint32_t lane;
  uint64_t stripe;
  CodedOutcome* outcome;
  bool completes = false, last_touch = false;  // as the instruction
  std::span<const std::byte* const> messages;
  // Where the packets of the result go; reduce: one of the messages, perhaps, or null: they are only kept here.
  std::byte* result = nullptr;
};

class CodedPayload {
 public:
  struct Job {
    const void* input;  // at any address
    void* output;       // likewise; may be the input
    uint32_t rank = 0;
    uint32_t ranks = 1;
    uint32_t divisor = 1;  // of the final value
    kernels::Store output_store = kernels::Store::cached;
  };
  // Takes the tensor (TensorCodec::begin must have succeeded) and gives it back, as a step taken if finish() was
  // called.
  CodedPayload(std::shared_ptr<TensorCodec> tensor, const Job& job, uint32_t lanes, uint32_t blocks);
  CodedPayload(const CodedPayload&) = delete;
  ~CodedPayload();

  void finish();

  // How the tensor is cut: each block is a whole number of chunks but for the tensor's end, in places that depend on
  // nothing else.
  static Binding bind(const TensorCodec& tensor, const void* input, void* output, uint32_t blocks, size_t chunks_per_stripe);
  // Of all packets of the tensor, and of one chunk.
  static uint64_t packed_bytes(const TensorCodec& tensor);
  static size_t packet_bytes(const TensorCodec& tensor) {
    return tensor.codec().packet_bytes(tensor.codec().chunk(), tensor.step());
  }

  void begin_stripe(uint32_t lane);
  size_t message_bytes(const Binding& binding, std::span<const Segment> segments, uint64_t stripe) const;

  void carry_out(const CodedWork& work);

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
  void pack(const CodedWork& work);
  Status take(const CodedWork& work);
  // The order of the messages matters to nobody else: only this rank's encoding of the sum counts.
  Status reduce(const CodedWork& work);
  Status add_messages(const CodedWork& work, const Place& place, const Output& first, const float*& sum);
  void keep(const CodedWork& work);
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
