#include "quantize.h"

#include "spec.h"

// Everything up to HWY_ONCE is compiled once per target, by this file including itself.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quantize.cpp"
#include <hwy/foreach_target.h>  // before highway.h

#include <hwy/highway.h>

#include "dense-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tutti::dense::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Added to a number of magnitude below 2^22 it rounds to the nearest whole number, ties to even, which then stands in
// the lowest bits.
constexpr float kRounder = 0x1.8p23f;

// ---- what a group is like ----

HWY_INLINE void Extremes(const float* value, const float* residual, size_t n, float& least, float& greatest) {
  const F d;
  const size_t lanes = hn::Lanes(d);
  auto low = hn::Set(d, hn::GetLane(SumFirst(value, residual, 0, 1)));
  auto high = low;
  for (size_t i = 0; i < n; i += lanes) {
    const size_t rest = HWY_MIN(lanes, n - i);
    const auto inside = hn::FirstN(d, rest);
    const auto sum = SumFirst(value, residual, i, rest);
    low = hn::IfThenElse(inside, hn::Min(low, sum), low);
    high = hn::IfThenElse(inside, hn::Max(high, sum), high);
  }
  least = hn::GetLane(hn::MinOfLanes(d, low)) + 0.0f;  // which of two zeros is the lesser depends on the target
  greatest = hn::GetLane(hn::MaxOfLanes(d, high)) + 0.0f;
}

struct ScaledSquare {
  float factor;
  HWY_INLINE Floats operator()(Floats v) const {
    const auto scaled = hn::Mul(v, hn::Set(F(), factor));
    return hn::Mul(scaled, scaled);
  }
};

// σ about zero; `magnitude` is the greatest, by whose power of two squares stay within float32.
HWY_INLINE double Deviation(const float* value, const float* residual, size_t n, float magnitude) {
  if (magnitude == 0) return 0;
  const int exponent = HWY_MAX(-126, HWY_MIN(126, -std::ilogb(magnitude)));
  const float sum = FixedSum(ScaledSquare{std::ldexp(1.0f, exponent)}, value, residual, n);
  return std::ldexp(std::sqrt(static_cast<double>(sum) / static_cast<double>(n)), -exponent);
}

// ---- numbers to codes ----

// To the nearest, about zero, with nothing clipped and no denormal Δ.
struct PlainRow {
  float inverse, scale, rounder;

  HWY_INLINE void operator()(Floats sum, size_t, Words& code, Floats& decoded) const {
    const F d;
    const auto shifted = hn::Add(hn::Mul(sum, hn::Set(d, inverse)), hn::Set(d, rounder));
    code = hn::BitCast(U(), shifted);
    decoded = hn::Mul(hn::Sub(shifted, hn::Set(d, rounder)), hn::Set(d, scale));
  }
};

struct AnyRow {
  const Group* groups;
  uint32_t shift;
  float reach, zero, offset;  // zero: the code of a real number 0, before rounding; offset - zero is whole
  bool stochastic;
  RandomKey key;

  HWY_INLINE void operator()(Floats sum, size_t i, Words& code, Floats& decoded) const {
    const F d;
    const Group& group = groups[i >> shift];
    auto y = hn::Mul(hn::Mul(hn::Sub(sum, hn::Set(d, group.center)), hn::Set(d, group.up)), hn::Set(d, group.inverse));
    y = hn::Min(hn::Max(y, hn::Set(d, -reach)), hn::Set(d, reach));
    y = hn::Add(y, hn::Set(d, zero));
    if (stochastic) {
      const auto below = hn::Floor(y);
      const auto up = hn::Lt(ToUniform(RandomBits(key, i)), hn::Sub(y, below));
      y = hn::Add(below, hn::IfThenElseZero(up, hn::Set(d, 1.0f)));
    }
    const auto shifted = hn::Add(y, hn::Set(d, kRounder + (offset - zero)));
    code = hn::BitCast(U(), shifted);
    const auto steps = hn::Sub(hn::Sub(shifted, hn::Set(d, kRounder)), hn::Set(d, offset));
    decoded = hn::Add(hn::Set(d, group.middle), hn::Mul(steps, hn::Set(d, group.scale)));
  }
};

// Whether all sums are finite; then what to do with each group.
HWY_INLINE bool Measure(const Quantization& q, const Chunk& chunk, float damping, Group* groups) {
  for (size_t g = 0; g < q.layout.groups(chunk.n); ++g) {
    const size_t first = g * q.layout.group, n = q.layout.group_size(chunk.n, g);
    const float* value = chunk.value + first;
    const float* residual = chunk.residual == nullptr ? nullptr : chunk.residual + first;
    const uint32_t greatest = GreatestMagnitude(value, residual, n);
    if (greatest >= kInfinityBits) return false;
    float half = std::bit_cast<float>(greatest), center = 0;
    if (q.minmax) {
      float low, high;
      Extremes(value, residual, n, low, high);
      center = static_cast<float>((static_cast<double>(low) + high) / 2);
      half = static_cast<float>(std::max(static_cast<double>(high) - center, static_cast<double>(center) - low));
    } else if (q.clip_sigma > 0) {
      half = static_cast<float>(std::min<double>(half, q.clip_sigma * Deviation(value, residual, n, half)));
    }
    groups[g] = group_of(half, center, q.reach(), damping);
  }
  return true;
}

template <uint32_t kBits>
void EncodeAs(const Quantization& q, const Chunk& chunk, const EncodeContext& context, std::byte* packet) {
  Group groups[kMostGroups + kRow];  // some for what stands behind the end in the last block
  const Layout& layout = q.layout;
  const float damping = q.stochastic && chunk.residual != nullptr ? static_cast<float>(1 / (1 + q.omega(chunk.n))) : 1;
  if (!Measure(q, chunk, damping, groups)) return write_not_finite(packet, layout.packet_bytes(chunk.n), chunk);

  write_kind(packet, PacketKind::finite);
  bool plain = layout.whole_blocks() && !q.stochastic && !q.minmax && q.clip_sigma == 0;
  for (size_t g = 0; g < layout.groups(chunk.n); ++g) {
    write_float(packet, 1 + g * layout.scales, groups[g].scale);
    if (q.minmax) write_float(packet, 2 + g * layout.scales, groups[g].middle);
    plain &= groups[g].up == 1;
  }
  auto* codes = reinterpret_cast<uint32_t*>(packet + layout.codes_at(chunk.n));
  if (plain) {
    for (size_t g = 0; g < layout.groups(chunk.n); ++g) {
      const PlainRow row{groups[g].inverse, groups[g].scale, kRounder + q.offset()};
      EncodeRange<kBits>(row, chunk, g * layout.group, layout.group_size(chunk.n, g), codes + g * layout.group * kBits / 32);
    }
  } else {
    const AnyRow row{groups, layout.shift(), q.reach(), q.minmax ? q.offset() : 0, q.offset(), q.stochastic, random_key(context)};
    EncodeRange<kBits>(row, chunk, 0, chunk.n, codes);
  }
}

void Quantize(const Quantization& q, const Chunk& chunk, const EncodeContext& context, std::byte* packet) {
  if (q.layout.bits == 8) return EncodeAs<8>(q, chunk, context, packet);
  if (q.layout.bits == 4) return EncodeAs<4>(q, chunk, context, packet);
  EncodeAs<2>(q, chunk, context, packet);
}

// ---- codes to numbers ----

struct Line {
  float scale = 0, middle = 0;
};

HWY_INLINE Floats OnLine(Words code, const Line& line, float offset, Floats& worst) {
  const F d;
  const auto steps = hn::Sub(hn::ConvertTo(d, hn::BitCast(hn::RebindToSigned<F>(), code)), hn::Set(d, offset));
  worst = hn::Max(worst, hn::Abs(steps));
  return hn::Add(hn::Set(d, line.middle), hn::Mul(steps, hn::Set(d, line.scale)));
}

struct OneLine {
  Line line;
  float offset;
  HWY_INLINE Floats operator()(Words code, size_t, Floats& worst) const { return OnLine(code, line, offset, worst); }
};

struct LineOfGroup {
  const Line* lines;
  uint32_t shift;
  float offset;
  HWY_INLINE Floats operator()(Words code, size_t i, Floats& worst) const { return OnLine(code, lines[i >> shift], offset, worst); }
};

// True if every code is one that is written.
template <uint32_t kBits>
bool DecodeAs(const Quantization& q, const Line* lines, const uint32_t* codes, size_t n, const Output& output) {
  const Layout& layout = q.layout;
  auto worst = hn::Zero(F());
  if (layout.whole_blocks()) {
    for (size_t g = 0; g < layout.groups(n); ++g)
      DecodeRange<kBits>(OneLine{lines[g], q.offset()}, codes + g * layout.group * kBits / 32, g * layout.group,
                         layout.group_size(n, g), output, worst);
  } else {
    DecodeRange<kBits>(LineOfGroup{lines, layout.shift(), q.offset()}, codes, 0, n, output, worst);
  }
  return hn::GetLane(hn::MaxOfLanes(F(), worst)) <= q.reach();
}

Status Dequantize(const Quantization& q, const std::byte* packet, size_t n, const Output& output) {
  const Layout& layout = q.layout;
  Line lines[kMostGroups + kRow];
  for (size_t g = 0; g < layout.groups(n); ++g) {
    lines[g].scale = read_float(packet, 1 + g * layout.scales);
    if (q.minmax) lines[g].middle = read_float(packet, 2 + g * layout.scales);
    // False for not-a-numbers.
    const bool fits = std::isfinite(std::fabs(lines[g].middle) + lines[g].scale * q.reach());
    if (!fits || std::signbit(lines[g].scale)) return refused("has the scale " + std::to_string(lines[g].scale));
  }
  const auto* codes = reinterpret_cast<const uint32_t*>(packet + layout.codes_at(n));
  const bool valid = layout.bits == 8   ? DecodeAs<8>(q, lines, codes, n, output)
                     : layout.bits == 4 ? DecodeAs<4>(q, lines, codes, n, output)
                                        : DecodeAs<2>(q, lines, codes, n, output);
  return valid ? Status() : refused("holds a number of more than " + std::to_string(q.levels) + " levels");
}

bool WritesWholeLines() { return hn::Lanes(F()) == kRow; }

}  // namespace tutti::dense::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tutti {
namespace dense {
namespace {

HWY_EXPORT(Quantize);
HWY_EXPORT(Dequantize);
HWY_EXPORT(WritesWholeLines);

class Quantizer final : public Codec {
 public:
  explicit Quantizer(const Quantization& q) : q_(q) {}
  size_t chunk() const override { return q_.layout.chunk(); }
  size_t do_packet_bytes(size_t n, uint32_t) const override { return q_.layout.packet_bytes(n); }
  void do_encode(const Chunk& chunk, const EncodeContext& context, std::byte* packet) const override {
    HWY_DYNAMIC_DISPATCH(Quantize)(q_, chunk, context, packet);
  }
  Status do_decode(const std::byte* packet, size_t n, const EncodeContext&, const Output& output) const override {
    const Opened opened = open(packet, n, output.out);
    return opened.finite ? HWY_DYNAMIC_DISPATCH(Dequantize)(q_, packet, n, output) : opened.status;
  }
  bool streams() const override { return writes_whole_lines(); }
  double contraction(size_t n, uint32_t) const override { return q_.delta(n); }
  bool unbiased() const override { return q_.stochastic && q_.clip_sigma == 0; }
  double variance(size_t n, uint32_t) const override { return unbiased() ? q_.omega(n) : 0; }

 private:
  Quantization q_;
};

}  // namespace

bool writes_whole_lines() { return HWY_DYNAMIC_DISPATCH(WritesWholeLines)(); }

double Quantization::omega(size_t n) const {
  const double d = static_cast<double>(std::min<size_t>(n, layout.group));
  if (minmax) return std::max(0.0, d - 2) / (8 * reach() * reach());
  return (std::sqrt(1 + (d - 1) / (reach() * reach())) - 1) / 2;
}

double Quantization::delta(size_t n) const {
  const double d = static_cast<double>(std::min<size_t>(n, layout.group));
  const double clipped = clip_sigma > 0 ? std::min(1.0, clip_sigma * clip_sigma / d) : 1;
  if (stochastic) return clipped / (1 + omega(n));
  if (minmax) return std::max(0.0, 1 - omega(n));
  const double square = 4.0 * levels * levels;
  return std::min(clipped, square / (square + d - 1));
}

}  // namespace dense

std::unique_ptr<const Codec> make_quantize(const CodecSpec& spec) {
  dense::Quantization q;
  q.layout.bits = spec.bits;
  q.layout.group = spec.group != 0 ? spec.group : spec.bits == 8 ? 1024 : 512;
  q.layout.scales = spec.range == Range::minmax ? 2 : 1;
  q.levels = spec.levels;
  q.clip_sigma = spec.clip_sigma;
  q.stochastic = spec.rounding == Rounding::stochastic;
  q.minmax = spec.range == Range::minmax;
  return std::make_unique<dense::Quantizer>(q);
}

}  // namespace tutti
#endif
