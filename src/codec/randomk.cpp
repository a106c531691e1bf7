// Sends k elements of each chunk chosen at random, every set of k with the same probability.  The choice is a function
// of the seed, the step and the chunk's place in the tensor, so all ranks choose the same elements, and packets carry
// no places.
//
// Values travel as they are: a contraction of δ = k/n in expectation.  Scaled by n/k they would be unbiased, but only
// for who encodes once: in an all-reduce sums are encoded again, of the same elements, and would be scaled again.  As
// it is, sums lose nothing more.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "kernels.h"
#include "sparse_packet.h"
#include "sparse_spec.h"

namespace tutti {
namespace {

using sparse::Layout;
using sparse::Writer;

// Random numbers by counting (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014:
// SplitMix64).
uint64_t mix(uint64_t z) {
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}
constexpr uint64_t kGamma = 0x9E3779B97F4A7C15u;

uint64_t stream_of(const EncodeContext& context) {
  uint64_t stream = mix(context.seed + kGamma);
  stream = mix(stream ^ (context.step + kGamma));
  return mix(stream ^ (context.element + kGamma));
}

// Marks k of n elements.  Floyd's algorithm (Bentley and Floyd, "A sample of brilliance", 1987): a draw for each, no
// retries.  Of more than half of the elements those are drawn that stay.
void draw(const EncodeContext& context, size_t n, size_t k, uint64_t* marks) {
  const size_t n_words = sparse::words(n), drawn = std::min(k, n - k);
  std::memset(marks, 0, n_words * sizeof *marks);
  uint64_t counter = stream_of(context);
  for (size_t last = n - drawn; last < n; ++last) {
    counter += kGamma;
    // 0 … last; that 2^32 is no multiple of it shifts less than 2^-16.
    const size_t any = (mix(counter) >> 32) * (last + 1) >> 32;
    const uint64_t bit = uint64_t{1} << any % 64;
    const size_t place = (marks[any / 64] & bit) != 0 ? last : any;
    marks[place / 64] |= uint64_t{1} << place % 64;
  }
  if (drawn == k) return;
  for (size_t w = 0; w < n_words; ++w) marks[w] = ~marks[w];
  if (n % 64 != 0) marks[n_words - 1] &= (uint64_t{1} << n % 64) - 1;
}

class RandomK final : public Codec {
 public:
  explicit RandomK(const CodecSpec& spec) : spec_(spec), chunk_(sparse::chunk_elements(spec)) {}

  size_t chunk() const override { return chunk_; }
  size_t do_packet_bytes(size_t n, uint32_t step) const override { return layout(n, step).bytes(); }

  void do_encode(const Chunk& chunk, const EncodeContext& context, std::byte* packet) const override {
    write(chunk, context, packet);
    if (chunk.decoded.out != nullptr) (void)do_decode(packet, chunk.n, context, chunk.decoded);
  }
  Status do_decode(const std::byte* packet, size_t n, const EncodeContext& context, const Output& output) const override {
    const Layout from = layout(n, context.step);
    uint64_t marks[sparse::kMostWords];
    draw(context, n, from.k, marks);
    return sparse::decode(from, packet, marks, output);
  }

  double contraction(size_t n, uint32_t step) const override { return sparse::contraction(n, sent(n, step), spec_.values); }
  bool unbiased() const override { return false; }
  double variance(size_t, uint32_t) const override { return 0; }

 private:
  size_t sent(size_t n, uint32_t step) const { return sparse::elements_sent(spec_, n, step); }
  Layout layout(size_t n, uint32_t step) const { return {n, sent(n, step), spec_.values, true}; }

  void write(const Chunk& chunk, const EncodeContext& context, std::byte* packet) const {
    const Layout to = layout(chunk.n, context.step);
    if (sparse::survey(chunk.value, chunk.residual, chunk.n, nullptr, 0) >= sparse::kNotFinite)
      return sparse::write_not_finite(to, packet);
    if (chunk.residual != nullptr) add(chunk.residual, chunk.value, chunk.n);
    uint64_t marks[sparse::kMostWords];
    draw(context, to.n, to.k, marks);
    Writer writer(to, chunk, false, spec_.values == ValueType::int8 ? greatest(chunk, to, marks) : 0, packet);
    for_each_value(chunk, to, marks, [&](const uint32_t* index, float* value, size_t count) { writer.add(index, value, count); });
    writer.finish();
  }

  static void add(float* residual, const float* value, size_t n) {
    kernels::reduce_kernel(DataType::float32, ReduceOp::sum)(residual, nullptr, value, residual, n, 1, kernels::Store::cached);
  }

  // Calls use(places, what is to be sent, count) for run after run of the marked elements.
  template <class Use>
  static void for_each_value(const Chunk& chunk, const Layout& to, const uint64_t* marks, Use use) {
    const float* const sum = chunk.residual != nullptr ? chunk.residual : chunk.value;
    sparse::for_each_run(marks, to.n, to.k, [&](const uint32_t* index, size_t count) {
      float value[Writer::kMost];
      for (size_t j = 0; j < count; ++j) value[j] = sum[index[j]];
      use(index, value, count);
    });
  }

  static float greatest(const Chunk& chunk, const Layout& to, const uint64_t* marks) {
    float most = 0;
    for_each_value(chunk, to, marks, [&](const uint32_t*, const float* value, size_t count) {
      for (size_t j = 0; j < count; ++j) most = std::max(most, std::abs(value[j]));
    });
    return most;
  }

  const CodecSpec spec_;
  const size_t chunk_;
};

}  // namespace

std::unique_ptr<const Codec> make_randomk(const CodecSpec& spec) { return std::make_unique<RandomK>(spec); }

}  // namespace tutti
