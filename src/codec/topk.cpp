// Sends the k elements of greatest magnitude of each chunk, of equal ones the first.  δ = k/n, whatever the chunk
// holds, for the n - k elements that stay are no greater on average than the k that leave.  With a warm-up (Deep
// Gradient Compression) k depends on the step.
//
// Elements that are not sent add nothing: decode() passes add[i] on as it is.
//
// Selection.  A bisection of the keys' bits finds the k-th greatest one, without sorting; it takes a pass over what may
// still be chosen for each bit that it has to decide.  So first a bound is found below which nothing needs to be looked
// at: the chunk is dealt out to some 4 k groups (at least 272), and the k-th greatest of the groups' maxima has k
// elements that reach it, one of each such group.  Elements at random: 1.15 k of them do.  The groups are an odd
// multiple of 16 in number, so that a column of a matrix, whose elements follow one another at a distance of some power
// of two, comes to many of them.
#include <algorithm>
#include <bit>

#include "sparse_packet.h"
#include "sparse_spec.h"

namespace tutti {
namespace {

using sparse::Cut;
using sparse::Layout;
using sparse::Writer;

constexpr size_t kMostCandidates = 1024;  // beyond the group maxima

// 0: no bound, for it would leave out too little.
size_t groups_for(size_t n, size_t k) {
  const size_t groups = 16 * (std::max<size_t>(17, k / 4) | 1);
  return k <= kMostCandidates / 2 && 3 * groups <= n ? groups : 0;
}
constexpr size_t kMostGroups = 16 * (kMostCandidates / 8 | 1);

int32_t key(float x) { return std::bit_cast<int32_t>(x) & 0x7FFFFFFF; }

// One chunk on its way into a packet.
class Selection {
 public:
  Selection(const Chunk& chunk, size_t k) : chunk_(chunk), n_(chunk.n), k_(k), groups_(groups_for(chunk.n, k)) {
    greatest_ = sparse::survey(chunk.value, chunk.residual, n_, maxima_, groups_);
  }
  bool finite() const { return greatest_ < sparse::kNotFinite; }
  float greatest() const { return std::bit_cast<float>(greatest_); }

  void send(Writer& writer) {
    const int32_t above = bound();
    sparse::add_and_mark(chunk_.value, chunk_.residual, n_, above, marks_);
    sum_ = chunk_.residual != nullptr ? chunk_.residual : chunk_.value;
    if (groups_ == 0) return send_marked(sparse::cut(sum_, n_, 0, greatest_, k_, 0), writer);
    const size_t count = sparse::list(marks_, sparse::words(n_), 0, index_, kMostCandidates);
    if (count < k_) return send_marked({0, k_ - count}, writer);  // so few are not zero: the bound is 0
    if (count > kMostCandidates) return send_marked(sparse::cut(sum_, n_, above + 1, greatest_, k_, 0), writer);
    send_candidates(count, above, writer);
  }

 private:
  // At least k elements have a key above it, if so many are not zero.
  int32_t bound() {
    if (groups_ == 0) return 0;
    const Cut cut = sparse::cut(maxima_, groups_, 0, greatest_, k_, k_ / 8);
    return std::max(0, cut.equal > 0 ? cut.above - 1 : cut.above);
  }

  // From the elements in index_, all of them with keys above `above`.
  void send_candidates(size_t count, int32_t above, Writer& writer) {
    float value[kMostCandidates];
    for (size_t j = 0; j < count; ++j) value[j] = sum_[index_[j]];
    Cut cut = sparse::cut(value, count, above + 1, greatest_, k_, 0);
    size_t chosen = 0;
    for (size_t j = 0; j < count; ++j) {  // no branches: which ones are chosen cannot be predicted
      const int32_t is = key(value[j]);
      const size_t first_equal = (is == cut.above) & (cut.equal > 0);
      value[chosen] = value[j];
      index_[chosen] = index_[j];
      chosen += static_cast<size_t>(is > cut.above) | first_equal;
      cut.equal -= first_equal;
    }
    writer.add(index_, value, chosen);
  }

  // From the whole chunk.
  void send_marked(Cut cut, Writer& writer) {
    sparse::add_and_mark(sum_, nullptr, n_, cut.above, marks_);
    for (size_t i = 0; i < n_ && cut.equal > 0; ++i) {
      if (key(sum_[i]) != cut.above) continue;
      marks_[i / 64] |= uint64_t{1} << i % 64;
      --cut.equal;
    }
    sparse::for_each_run(marks_, n_, k_, [&](const uint32_t* index, size_t count) {
      float value[Writer::kMost];
      for (size_t j = 0; j < count; ++j) value[j] = sum_[index[j]];
      writer.add(index, value, count);
    });
  }

  const Chunk& chunk_;
  const size_t n_, k_, groups_;
  int32_t greatest_;
  const float* sum_ = nullptr;  // value + residual, once that is written
  float maxima_[kMostGroups];
  uint64_t marks_[sparse::kMostWords];
  uint32_t index_[kMostCandidates + 64];
};

class TopK final : public Codec {
 public:
  explicit TopK(const CodecSpec& spec) : spec_(spec), chunk_(sparse::chunk_elements(spec)) {}

  size_t chunk() const override { return chunk_; }
  size_t do_packet_bytes(size_t n, uint32_t step) const override { return layout(n, step).bytes(); }
  void do_encode(const Chunk& chunk, const EncodeContext& context, std::byte* packet) const override {
    write(chunk, context, packet);
    if (chunk.decoded.out != nullptr) (void)do_decode(packet, chunk.n, context, chunk.decoded);
  }
  Status do_decode(const std::byte* packet, size_t n, const EncodeContext& context, const Output& output) const override {
    uint64_t marks[sparse::kMostWords];
    return sparse::decode(layout(n, context.step), packet, marks, output);
  }
  double contraction(size_t n, uint32_t step) const override { return sparse::contraction(n, sent(n, step), spec_.values); }
  bool unbiased() const override { return false; }
  double variance(size_t, uint32_t) const override { return 0; }

 private:
  size_t sent(size_t n, uint32_t step) const { return sparse::elements_sent(spec_, n, step); }
  Layout layout(size_t n, uint32_t step) const { return {n, sent(n, step), spec_.values, false}; }

  void write(const Chunk& chunk, const EncodeContext& context, std::byte* packet) const {
    const Layout to = layout(chunk.n, context.step);
    Selection selection(chunk, to.k);
    if (!selection.finite()) return sparse::write_not_finite(to, packet);
    Writer writer(to, chunk, spec_.masking, selection.greatest(), packet);
    selection.send(writer);
    writer.finish();
  }

  const CodecSpec spec_;
  const size_t chunk_;
};

}  // namespace

std::unique_ptr<const Codec> make_topk(const CodecSpec& spec) { return std::make_unique<TopK>(spec); }

}  // namespace tutti
