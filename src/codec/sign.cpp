// One bit a number: C(x) = α sign(x) with α = ‖x‖₁/d for each group of d.  (EF-signSGD: Karimireddy et al. 2019; 1-bit
// SGD: Seide et al.  2014.)  α is the scale that loses least: ‖x - α sign(x)‖² = ‖x‖² - 2α‖x‖₁ + α²d = ‖x‖² - ‖x‖₁²/d.
// Since ‖x‖₁² ≥ ‖x‖²,  δ = 1/d, which a single number among zeros attains; of normal numbers 2/π stays.  (α = ‖x‖₂/√d
// is no contraction.)
//
// The sign is the number's sign bit; zeros decode to ±α too.  A bit for each number makes the scale 3 % of a packet at
// groups of 1024.
#include <cmath>

#include "spec.h"

// Everything up to HWY_ONCE is compiled once per target, by this file including itself.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "sign.cpp"
#include <hwy/foreach_target.h>  // before highway.h

#include <hwy/highway.h>

#include "dense-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tutti::dense::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

struct AbsoluteValue {
  HWY_INLINE Floats operator()(Floats v) const { return hn::Abs(v); }
};
// Of numbers whose sum leaves float32.
struct Reduced {
  HWY_INLINE Floats operator()(Floats v) const { return hn::Mul(hn::Abs(v), hn::Set(F(), 0x1p-20f)); }
};

// α of each group; false if a sum of value and residual is not finite.
HWY_INLINE bool MeanMagnitudes(const Layout& layout, const Chunk& chunk, float* means) {
  for (size_t g = 0; g < layout.groups(chunk.n); ++g) {
    const size_t first = g * layout.group, n = layout.group_size(chunk.n, g);
    const float* value = chunk.value + first;
    const float* residual = behind(chunk.residual, first);
    const float sum = FixedSum(AbsoluteValue(), value, residual, n);
    if (sum <= std::numeric_limits<float>::max()) {
      means[g] = sum / static_cast<float>(n);
    } else if (GreatestMagnitude(value, residual, n) >= kInfinityBits) {
      return false;
    } else {
      const double mean = FixedSum(Reduced(), value, residual, n) * 0x1p20 / static_cast<double>(n);
      means[g] = static_cast<float>(std::min<double>(mean, std::numeric_limits<float>::max()));
    }
  }
  return true;
}

struct OneScale {
  float scale;
  HWY_INLINE float At(size_t) const { return scale; }
};
struct ScaleOfGroup {
  const float* scales;
  uint32_t shift;
  HWY_INLINE float At(size_t i) const { return scales[i >> shift]; }
};

template <class Scale>
struct ToSign {
  Scale scale;
  HWY_INLINE void operator()(Floats sum, size_t i, Words& code, Floats& decoded) const {
    const auto bits = hn::BitCast(U(), sum);
    code = hn::ShiftRight<31>(bits);
    decoded = hn::CopySignToAbs(hn::Set(F(), scale.At(i)), sum);
  }
};

template <class Scale>
struct FromSign {
  Scale scale;
  HWY_INLINE Floats operator()(Words code, size_t i, Floats&) const {
    return hn::CopySignToAbs(hn::Set(F(), scale.At(i)), hn::BitCast(F(), hn::ShiftLeft<31>(code)));
  }
};

void EncodeSigns(const Layout& layout, const Chunk& chunk, std::byte* packet) {
  float means[kMostGroups + kRow] = {};  // some for what stands behind the end in the last block
  if (!MeanMagnitudes(layout, chunk, means)) return write_not_finite(packet, layout.packet_bytes(chunk.n), chunk);
  write_kind(packet, PacketKind::finite);
  std::memcpy(packet + 4, means, 4 * layout.groups(chunk.n));
  auto* codes = reinterpret_cast<uint32_t*>(packet + layout.codes_at(chunk.n));
  if (!layout.whole_blocks()) return EncodeRange<1>(ToSign<ScaleOfGroup>{{means, layout.shift()}}, chunk, 0, chunk.n, codes);
  for (size_t g = 0; g < layout.groups(chunk.n); ++g)
    EncodeRange<1>(ToSign<OneScale>{{means[g]}}, chunk, g * layout.group, layout.group_size(chunk.n, g),
                   codes + g * layout.group / 32);
}

Status DecodeSigns(const Layout& layout, const std::byte* packet, size_t n, const Output& output) {
  float means[kMostGroups + kRow] = {};
  std::memcpy(means, packet + 4, 4 * layout.groups(n));
  for (size_t g = 0; g < layout.groups(n); ++g)
    if (!std::isfinite(means[g]) || std::signbit(means[g])) return refused("has the scale " + std::to_string(means[g]));
  const auto* codes = reinterpret_cast<const uint32_t*>(packet + layout.codes_at(n));
  auto unused = hn::Zero(F());
  if (!layout.whole_blocks()) {
    DecodeRange<1>(FromSign<ScaleOfGroup>{{means, layout.shift()}}, codes, 0, n, output, unused);
    return {};
  }
  for (size_t g = 0; g < layout.groups(n); ++g)
    DecodeRange<1>(FromSign<OneScale>{{means[g]}}, codes + g * layout.group / 32, g * layout.group, layout.group_size(n, g), output,
                   unused);
  return {};
}

}  // namespace tutti::dense::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tutti {
namespace dense {
namespace {

HWY_EXPORT(EncodeSigns);
HWY_EXPORT(DecodeSigns);

class Sign final : public Codec {
 public:
  explicit Sign(uint32_t group) : layout_{.bits = 1, .group = group} {}
  size_t chunk() const override { return layout_.chunk(); }
  size_t do_packet_bytes(size_t n, uint32_t) const override { return layout_.packet_bytes(n); }
  void do_encode(const Chunk& chunk, const EncodeContext&, std::byte* packet) const override {
    HWY_DYNAMIC_DISPATCH(EncodeSigns)(layout_, chunk, packet);
  }
  Status do_decode(const std::byte* packet, size_t n, const EncodeContext&, const Output& output) const override {
    const Opened opened = open(packet, n, output.out);
    return opened.finite ? HWY_DYNAMIC_DISPATCH(DecodeSigns)(layout_, packet, n, output) : opened.status;
  }
  bool streams() const override { return writes_whole_lines(); }
  double contraction(size_t n, uint32_t) const override { return 1 / static_cast<double>(std::min<size_t>(n, layout_.group)); }
  bool unbiased() const override { return false; }
  double variance(size_t, uint32_t) const override { return 0; }

 private:
  Layout layout_;
};

}  // namespace
}  // namespace dense

std::unique_ptr<const Codec> make_sign(const CodecSpec& spec) {
  return std::make_unique<dense::Sign>(spec.group != 0 ? spec.group : 1024);
}

}  // namespace tutti
#endif
