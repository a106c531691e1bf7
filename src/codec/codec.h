// A Codec turns a chunk of numbers into a smaller packet and back.  It changes what travels, never who talks to whom.
//
// Chunks.  A tensor is cut into chunks of chunk() elements from its first element on; the last one may be shorter.
// Each chunk is encoded by itself, blocks and stripes end at ends of chunks, so who encodes what, and hence the result,
// depends on no lane, size of stripe or thread.  A packet's length follows from the number of elements (and the step,
// see below) alone, so messages need no tags.
//
// Everybody keeps exactly what is sent.  encode() adds the residual to the value, encodes the sum, and leaves in the
// residual the sum minus what decode() will give for the packet, bit for bit as everybody who decodes it computes.
// Hence, for a plan in which each rank encodes each element once,  output(t) + Σ_ranks residual(t)  =  Σ_ranks input(t)
// + Σ_ranks residual(t-1)  up to the rounding of float32.
//
// Not finite.  If the sum of value and residual holds an infinity or a not-a-number anywhere in a chunk, the packet
// says so: it decodes to not-a-numbers throughout the chunk, and the residual stays as it was.
//
// Bits.  encode and decode give the same bits on every processor and in every floating-point mode of the thread, and so
// at every rank.
//
// Memory.  Numbers are aligned as float32 is; who has them at another address, or in another type, brings them here by
// kernels::widen.
//
// Threads.  A Codec is immutable; its functions may run at the same time on different chunks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "standard_floats.h"
#include "status.h"

namespace tutti {

// Where and when a chunk is encoded.  Random numbers are functions of this and the place in the chunk, never of a clock
// or of call order.
struct EncodeContext {
  uint64_t seed = 0;     // equal on all ranks
  uint32_t step = 0;     // calls that this tensor has seen; equal on all ranks
  uint32_t rank = 0;     // of the encoder; decode() does not look at it
  uint64_t element = 0;  // the chunk's first element in the tensor
};

// Where decoded numbers go: out[i] = (add[i] + decoded[i]) / divisor, each operation rounded to float32.
struct Output {
  float* out = nullptr;
  const float* add = nullptr;  // null: zeros.  May be `out`; no other overlap
  uint32_t divisor = 1;
  // May bypass the caches: then `out` is at a multiple of kStreamingAlignment bytes, and kernels::flush_streams() must
  // follow before another thread may read it.  Only for codecs that can (Codec::streams).
  bool streaming = false;
  // As many numbers each, which whoever decodes will read next: they are brought near meanwhile.  Only a hint, to any
  // address or none.
  const float* prefetch[2] = {};
};
inline constexpr size_t kStreamingAlignment = 64;

// A chunk of a tensor at the rank that encodes it.
struct Chunk {
  const float* value;         // n numbers to be sent; not written
  // N, in: what earlier encodings left, out: what this one leaves; null: no feedback, errors are lost.
  float* residual = nullptr;
  // N, null: none.  What is sent is set to zero here (factor masking of Deep Gradient Compression).
  float* momentum = nullptr;
  size_t n = 0;               // 1 … chunk()
  // If `out` is not null, what decode() makes of the packet, without `add`.  No overlap with the others.
  Output decoded = {};
};

class Codec {
 public:
  virtual ~Codec() = default;

  virtual size_t chunk() const = 0;                                // elements; a power of two, at least 64
  size_t packet_bytes(size_t n, uint32_t step) const {             // of a chunk of n elements; a multiple of 4
    const kernels::StandardFloats mode;
    return do_packet_bytes(n, step);
  }
  void encode(const Chunk& chunk, const EncodeContext& context, std::byte* packet) const {
    const kernels::StandardFloats mode;
    do_encode(chunk, context, packet);
  }

  // Writes n numbers; where nothing was sent, add[i] / divisor, which is the same but for the sign of a zero.
  // `packet`, packet_bytes(n, step) bytes at a multiple of 4, may hold anything: what no encode() can have written is
  // an error that says what is wrong, and `out` is then undefined.
  Status decode(const std::byte* packet, size_t n, const EncodeContext& context, const Output& output) const {
    const kernels::StandardFloats mode;
    return do_decode(packet, n, context, output);
  }

  // Whether output may be streaming.
  virtual bool streams() const { return false; }

  // ‖x - C(x)‖² ≤ (1 - δ)‖x‖² for every finite chunk x of n elements (for random selections: in expectation); 0: no
  // such bound.
  virtual double contraction(size_t n, uint32_t step) const = 0;
  // E C(x) = x for every x for which (1 + ω)x is finite, when no residual is given; then also E‖x - C(x)‖² ≤ ω‖x‖², and
  // with a residual C is scaled by 1/(1 + ω), which makes it a contraction of δ = 1/(1 + ω).
  virtual bool unbiased() const = 0;
  virtual double variance(size_t n, uint32_t step) const = 0;  // ω; 0 if biased

 private:
  // The same in the standard mode.
  virtual size_t do_packet_bytes(size_t n, uint32_t step) const = 0;
  virtual void do_encode(const Chunk& chunk, const EncodeContext& context, std::byte* packet) const = 0;
  virtual Status do_decode(const std::byte* packet, size_t n, const EncodeContext& context, const Output& output) const = 0;
};

// First word of every packet, in the byte order of the machine (all are little endian).
enum class PacketKind : uint32_t { finite = 0, not_finite = 1 };

}  // namespace tutti
