// Casts to shorter floats: fp16 and bf16 as they are, fp8 (Micikevicius et al. 2022, "FP8 formats for deep learning")
// with a float32 scale for each group, which makes the group's maximum the format's greatest number.
//
// Rounding is to nearest even; fp8 may round up at random with the probability of the fraction.  What is finite stays
// finite: beyond ±65504, or bfloat16's greatest, numbers are clipped, and with feedback the rest is sent later.
//
// Bounds.  With M bits of mantissa a number in [1, 2) has neighbours 2^-M apart.  To nearest, the relative error is
// greatest at the first midpoint 1 + 2^-(M+1): 1/(2^(M+1) + 1).  Stochastic, f of the way between the first two, the
// variance over the square is f(1-f)/(2^M + f)², greatest at f = 2^M/(2^(M+1) + 1), where it is 1/(4·2^M(2^M + 1)).
// Below the normal numbers the spacing u stays, so each of d-1 numbers beside the maximum m may lose (u/2)² more:
//   fp8     1-δ = 1/(2^(M+1)+1)² + (d-1)(u/2m)²,  ω = 1/(4·2^M(2^M+1)) + (d-1)(u/2m)²;  with feedback scaled by
//           1/(1+ω), see quantize.h
//   bf16    1-δ = 1/256², a little more than 1/257²: near the greatest float32, where the next number would be infinite
//   fp16    no bound: what is below 2^-25 is lost (and kept by feedback), what is beyond 65504 too
#include <cmath>

#include "quantize.h"
#include "spec.h"

// Everything up to HWY_ONCE is compiled once per target, by this file including itself.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cast.cpp"
#include <hwy/foreach_target.h>  // before highway.h

#include <hwy/highway.h>

#include "dense-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tutti::dense::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using kernels::HWY_NAMESPACE::BrainFloat;
using kernels::HWY_NAMESPACE::HalfFloat;

// ---- 16 bits ----

template <class Format>
constexpr uint16_t kGreatestBits = std::is_same_v<Format, HalfFloat> ? 0x7BFF : 0x7F7F;
template <class Format>
constexpr float kGreatest = std::is_same_v<Format, HalfFloat> ? 65504.0f : 0x1.FEp127f;

template <class D, class V = hn::Vec<D>>
HWY_INLINE void WriteFirst(D d, V decoded, V add, const Output& output, size_t i, size_t n) {
  if (n == hn::Lanes(d))
    Write(d, decoded, add, output, i);
  else
    StoreFirst(Finish(d, decoded, add, output), d, output.out + i, n);
}

template <class Format>
HWY_INLINE void EncodeSome(const Chunk& chunk, size_t i, size_t n, uint16_t* codes) {
  const typename Format::D d;
  auto sum = LoadFirst(d, chunk.value + i, n);
  if (chunk.residual != nullptr) sum = hn::Add(sum, LoadFirst(d, chunk.residual + i, n));
  const auto clipped = hn::Min(hn::Max(sum, hn::Set(d, -kGreatest<Format>)), hn::Set(d, kGreatest<Format>));
  const auto code = Format::Round(clipped);
  StoreFirst(code, typename Format::DS(), codes + i, n);
  const auto decoded = Format::Widen(code);
  if (chunk.residual != nullptr) StoreFirst(hn::Sub(sum, decoded), d, chunk.residual + i, n);
  if (chunk.decoded.out != nullptr) WriteFirst(d, decoded, hn::Zero(d), chunk.decoded, i, n);
}

template <class Format>
void EncodeSixteen(const Chunk& chunk, std::byte* packet) {
  const size_t bytes = 4 + (2 * chunk.n + 3) / 4 * 4, lanes = hn::Lanes(typename Format::D());
  if (GreatestMagnitude(chunk.value, chunk.residual, chunk.n) >= kInfinityBits) return write_not_finite(packet, bytes, chunk);
  write_kind(packet, PacketKind::finite);
  auto* codes = reinterpret_cast<uint16_t*>(packet + 4);
  if (chunk.n % 2 == 1) codes[chunk.n] = 0;
  size_t i = 0;
  for (; i + lanes <= chunk.n; i += lanes) EncodeSome<Format>(chunk, i, lanes, codes);
  if (i < chunk.n) EncodeSome<Format>(chunk, i, chunk.n - i, codes);
}

template <class Format>
HWY_INLINE void DecodeSome(const uint16_t* codes, size_t i, size_t n, const Output& output) {
  const typename Format::D d;
  BringNear(output, i);
  const auto add = output.add == nullptr ? hn::Zero(d) : LoadFirst(d, output.add + i, n);
  const auto decoded = Format::Widen(LoadFirst(typename Format::DS(), codes + i, n));
  WriteFirst(d, decoded, add, output, i, n);
}

// Whether all are finite numbers.
template <class Format>
bool DecodeSixteen(const std::byte* packet, size_t n, const Output& output) {
  const size_t lanes = hn::Lanes(typename Format::D());
  const auto* codes = reinterpret_cast<const uint16_t*>(packet + 4);
  int greatest = 0;
  for (size_t i = 0; i < n; ++i) greatest = std::max(greatest, codes[i] & 0x7FFF);
  if (greatest > kGreatestBits<Format>) return false;
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) DecodeSome<Format>(codes, i, lanes, output);
  if (i < n) DecodeSome<Format>(codes, i, n - i, output);
  return true;
}

void EncodeHalf(const Chunk& chunk, std::byte* packet) { EncodeSixteen<HalfFloat>(chunk, packet); }
void EncodeBrain(const Chunk& chunk, std::byte* packet) { EncodeSixteen<BrainFloat>(chunk, packet); }
bool DecodeHalf(const std::byte* packet, size_t n, const Output& output) { return DecodeSixteen<HalfFloat>(packet, n, output); }
bool DecodeBrain(const std::byte* packet, size_t n, const Output& output) { return DecodeSixteen<BrainFloat>(packet, n, output); }

// ---- 8 bits ----

template <int kMantissa, int kBias>
struct Short {
  static constexpr int kDrop = 23 - kMantissa;               // bits of a float32's mantissa
  static constexpr uint32_t kRebias = (127u - kBias) << 23;  // between the exponents
  static constexpr uint32_t kNormal = 1u << kMantissa;       // the least normal number, and its bits in float32
  static constexpr uint32_t kNormalBits = (128u - kBias) << 23;
  static constexpr int kSteps = kBias + kMantissa - 1;  // below the normal ones numbers are multiples of 2^-kSteps

  static HWY_INLINE Floats Widen(Words code) {
    const F d;
    const U du;
    const auto magnitude = hn::And(code, hn::Set(du, 0x7Fu));
    const auto normal = hn::BitCast(d, hn::Add(hn::ShiftLeft<kDrop>(magnitude), hn::Set(du, kRebias)));
    const auto steps = hn::ConvertTo(d, hn::BitCast(hn::RebindToSigned<F>(), magnitude));
    const auto tiny = hn::Mul(steps, hn::Set(d, 1.0f / static_cast<float>(1 << kSteps)));
    const auto is_tiny = hn::RebindMask(d, hn::Lt(magnitude, hn::Set(du, kNormal)));
    const auto sign = hn::ShiftLeft<24>(hn::AndNot(hn::Set(du, 0x7Fu), code));
    return hn::BitCast(d, hn::Or(hn::BitCast(du, hn::IfThenElse(is_tiny, tiny, normal)), sign));
  }

  static HWY_INLINE Words Round(Floats y, bool stochastic, RandomKey key, size_t i) {
    const F d;
    const U du;
    const auto bits = hn::BitCast(du, y);
    const auto magnitude = hn::And(bits, hn::Set(du, 0x7FFFFFFFu));
    const auto steps = hn::Mul(hn::BitCast(d, magnitude), hn::Set(d, static_cast<float>(1 << kSteps)));
    const auto rebased = hn::Sub(magnitude, hn::Set(du, kRebias));
    auto normal = rebased, tiny = rebased;
    if (stochastic) {
      const auto random = RandomBits(key, i);
      const auto below = hn::Floor(steps);
      const auto up = hn::IfThenElseZero(hn::Lt(ToUniform(random), hn::Sub(steps, below)), hn::Set(d, 1.0f));
      normal = hn::ShiftRight<kDrop>(hn::Add(rebased, hn::ShiftRight<kMantissa>(random)));
      tiny = hn::BitCast(du, hn::Add(hn::Add(below, up), hn::Set(d, 0x1p23f)));
    } else {
      const auto odd = hn::And(hn::ShiftRight<kDrop>(magnitude), hn::Set(du, 1u));
      normal = hn::ShiftRight<kDrop>(hn::Add(rebased, hn::Add(odd, hn::Set(du, (1u << (kDrop - 1)) - 1))));
      tiny = hn::BitCast(du, hn::Add(steps, hn::Set(d, 0x1p23f)));
    }
    tiny = hn::And(tiny, hn::Set(du, 0xFFu));
    const auto is_tiny = hn::Lt(magnitude, hn::Set(du, kNormalBits));
    return hn::Or(hn::IfThenElse(is_tiny, tiny, normal), hn::And(hn::ShiftRight<24>(bits), hn::Set(du, 0x80u)));
  }
};

template <class Format>
struct ToShort {
  const Group* groups;
  uint32_t shift;
  float reach;
  bool stochastic;
  RandomKey key;

  HWY_INLINE void operator()(Floats sum, size_t i, Words& code, Floats& decoded) const {
    const F d;
    const Group& group = groups[i >> shift];
    auto y = hn::Mul(hn::Mul(sum, hn::Set(d, group.up)), hn::Set(d, group.inverse));
    y = hn::Min(hn::Max(y, hn::Set(d, -reach)), hn::Set(d, reach));
    code = Format::Round(y, stochastic, key, i);
    decoded = hn::Mul(Format::Widen(code), hn::Set(d, group.scale));
  }
};

template <class Format>
struct FromShort {
  const float* scales;
  uint32_t shift;

  HWY_INLINE Floats operator()(Words code, size_t i, Floats& worst) const {
    const F d;
    const auto value = Format::Widen(code);
    worst = hn::Max(worst, hn::Abs(value));
    return hn::Mul(value, hn::Set(d, scales[i >> shift]));
  }
};

template <class Format>
void EncodeEight(const Eight& eight, const Chunk& chunk, const EncodeContext& context, std::byte* packet) {
  Group groups[kMostGroups + kRow];  // some for what stands behind the end in the last block
  const Layout& layout = eight.layout;
  const float damping = eight.stochastic && chunk.residual != nullptr ? static_cast<float>(1 / (1 + eight.omega(chunk.n))) : 1;
  for (size_t g = 0; g < layout.groups(chunk.n); ++g) {
    const size_t first = g * layout.group;
    const uint32_t greatest = GreatestMagnitude(chunk.value + first, behind(chunk.residual, first), layout.group_size(chunk.n, g));
    if (greatest >= kInfinityBits) return write_not_finite(packet, layout.packet_bytes(chunk.n), chunk);
    groups[g] = group_of(std::bit_cast<float>(greatest), 0, eight.greatest, damping);
  }
  write_kind(packet, PacketKind::finite);
  for (size_t g = 0; g < layout.groups(chunk.n); ++g) write_float(packet, 1 + g, groups[g].scale);
  auto* codes = reinterpret_cast<uint32_t*>(packet + layout.codes_at(chunk.n));
  const ToShort<Format> row{groups, layout.shift(), eight.greatest, eight.stochastic, random_key(context)};
  EncodeRange<8>(row, chunk, 0, chunk.n, codes);
}

template <class Format>
Status DecodeEight(const Eight& eight, const std::byte* packet, size_t n, const Output& output) {
  const Layout& layout = eight.layout;
  float scales[kMostGroups + kRow] = {};
  std::memcpy(scales, packet + 4, 4 * layout.groups(n));
  for (size_t g = 0; g < layout.groups(n); ++g)
    if (!std::isfinite(scales[g] * eight.greatest) || std::signbit(scales[g]))
      return refused("has the scale " + std::to_string(scales[g]));
  auto worst = hn::Zero(F());
  const auto* codes = reinterpret_cast<const uint32_t*>(packet + layout.codes_at(n));
  DecodeRange<8>(FromShort<Format>{scales, layout.shift()}, codes, 0, n, output, worst);
  if (hn::GetLane(hn::MaxOfLanes(F(), worst)) <= eight.greatest) return {};
  return refused("holds an infinity or a not-a-number");
}

void EncodeShort(const Eight& eight, const Chunk& chunk, const EncodeContext& context, std::byte* packet) {
  if (eight.mantissa == 3) return EncodeEight<Short<3, 7>>(eight, chunk, context, packet);
  EncodeEight<Short<2, 15>>(eight, chunk, context, packet);
}

Status DecodeShort(const Eight& eight, const std::byte* packet, size_t n, const Output& output) {
  if (eight.mantissa == 3) return DecodeEight<Short<3, 7>>(eight, packet, n, output);
  return DecodeEight<Short<2, 15>>(eight, packet, n, output);
}

}  // namespace tutti::dense::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tutti {
namespace dense {
namespace {

HWY_EXPORT(EncodeHalf);
HWY_EXPORT(EncodeBrain);
HWY_EXPORT(DecodeHalf);
HWY_EXPORT(DecodeBrain);
HWY_EXPORT(EncodeShort);
HWY_EXPORT(DecodeShort);

class SixteenBits final : public Codec {
 public:
  explicit SixteenBits(bool half) : half_(half) {}
  size_t chunk() const override { return kChunk; }
  size_t do_packet_bytes(size_t n, uint32_t) const override { return 4 + (2 * n + 3) / 4 * 4; }
  void do_encode(const Chunk& chunk, const EncodeContext&, std::byte* packet) const override {
    if (half_) return HWY_DYNAMIC_DISPATCH(EncodeHalf)(chunk, packet);
    HWY_DYNAMIC_DISPATCH(EncodeBrain)(chunk, packet);
  }
  Status do_decode(const std::byte* packet, size_t n, const EncodeContext&, const Output& output) const override {
    const Opened opened = open(packet, n, output.out);
    if (!opened.finite) return opened.status;
    const bool finite =
        half_ ? HWY_DYNAMIC_DISPATCH(DecodeHalf)(packet, n, output) : HWY_DYNAMIC_DISPATCH(DecodeBrain)(packet, n, output);
    return finite ? Status() : refused("holds an infinity or a not-a-number");
  }
  bool streams() const override { return true; }
  double contraction(size_t, uint32_t) const override { return half_ ? 0 : 1 - 1.0 / (256 * 256); }
  bool unbiased() const override { return false; }
  double variance(size_t, uint32_t) const override { return 0; }

 private:
  bool half_;
};

class EightBits final : public Codec {
 public:
  explicit EightBits(const Eight& eight) : eight_(eight) {}
  size_t chunk() const override { return eight_.layout.chunk(); }
  size_t do_packet_bytes(size_t n, uint32_t) const override { return eight_.layout.packet_bytes(n); }
  void do_encode(const Chunk& chunk, const EncodeContext& context, std::byte* packet) const override {
    HWY_DYNAMIC_DISPATCH(EncodeShort)(eight_, chunk, context, packet);
  }
  Status do_decode(const std::byte* packet, size_t n, const EncodeContext&, const Output& output) const override {
    const Opened opened = open(packet, n, output.out);
    return opened.finite ? HWY_DYNAMIC_DISPATCH(DecodeShort)(eight_, packet, n, output) : opened.status;
  }
  bool streams() const override { return writes_whole_lines(); }
  double contraction(size_t n, uint32_t) const override { return eight_.delta(n); }
  bool unbiased() const override { return eight_.stochastic; }
  double variance(size_t n, uint32_t) const override { return eight_.stochastic ? eight_.omega(n) : 0; }

 private:
  Eight eight_;
};

}  // namespace

double Eight::below_normal(size_t n) const {
  const double d = static_cast<double>(std::min<size_t>(n, layout.group));
  return (d - 1) * std::pow(std::ldexp(1, -(bias + mantissa)) / greatest, 2);  // u = 2^(1-bias-mantissa)
}
double Eight::omega(size_t n) const {
  const double steps = std::ldexp(1, mantissa);
  return 1 / (4 * steps * (steps + 1)) + below_normal(n);
}
double Eight::delta(size_t n) const {
  return stochastic ? 1 / (1 + omega(n)) : 1 - std::pow(std::ldexp(2, mantissa) + 1, -2) - below_normal(n);
}

}  // namespace dense

std::unique_ptr<const Codec> make_cast(const CodecSpec& spec) {
  if (spec.type == CastType::fp16 || spec.type == CastType::bf16)
    return std::make_unique<dense::SixteenBits>(spec.type == CastType::fp16);
  dense::Eight eight;
  eight.layout.group = spec.group != 0 ? spec.group : 1024;
  eight.stochastic = spec.rounding == Rounding::stochastic;
  if (spec.type == CastType::fp8_e5m2) eight.mantissa = 2, eight.bias = 15, eight.greatest = 57344;
  return std::make_unique<dense::EightBits>(eight);
}

}  // namespace tutti
#endif
