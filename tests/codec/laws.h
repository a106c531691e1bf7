// The promises of every codec (codec.h), as checks that a codec's own tests call: expect_laws(codec) runs them all.
//
// Random encodings are tried with fixed seeds, so a check passes always or never; where it compares a mean with its
// expectation it allows five standard errors, which chance alone would exceed once in two million checks.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "codec.h"
#include "kernels.h"
#include "large_pages.h"
#include "samples.h"

namespace tutti::laws {

constexpr double kStandardErrors = 5;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

inline std::vector<uint32_t> bits_of(const std::vector<float>& numbers) {
  std::vector<uint32_t> bits(numbers.size());
  if (!bits.empty()) std::memcpy(bits.data(), numbers.data(), bits.size() * sizeof(uint32_t));
  return bits;
}

inline double square_norm(const std::vector<float>& x) {
  double sum = 0;
  for (const float v : x) sum += static_cast<double>(v) * v;
  return sum;
}

inline double square_distance(const std::vector<float>& x, const std::vector<float>& y) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) sum += std::pow(static_cast<double>(x[i]) - y[i], 2);
  return sum;
}

// A packet in words, between guards; what encode() does not write keeps `fill`.
class Packet {
 public:
  Packet(const Codec& codec, size_t n, uint32_t step, uint8_t fill = 0xA5) : words_(codec.packet_bytes(n, step) / 4 + 2, kGuard) {
    std::memset(data(), fill, bytes());
  }
  std::byte* data() { return reinterpret_cast<std::byte*>(words_.data() + 1); }
  const std::byte* data() const { return reinterpret_cast<const std::byte*>(words_.data() + 1); }
  size_t bytes() const { return 4 * (words_.size() - 2); }
  uint32_t& word(size_t i) { return words_[i + 1]; }
  uint32_t word(size_t i) const { return words_[i + 1]; }
  bool intact() const { return words_.front() == kGuard && words_.back() == kGuard; }
  bool operator==(const Packet&) const = default;

 private:
  static constexpr uint32_t kGuard = 0x5AFE5AFE;
  std::vector<uint32_t> words_;
};

// `residual` may be empty: no feedback.
inline Packet encode(const Codec& codec, const std::vector<float>& value, std::vector<float>& residual,
                     const EncodeContext& context, uint8_t fill = 0xA5) {
  Packet packet(codec, value.size(), context.step, fill);
  const Chunk chunk{.value = value.data(), .residual = residual.empty() ? nullptr : residual.data(), .n = value.size()};
  codec.encode(chunk, context, packet.data());
  EXPECT_TRUE(packet.intact()) << "encode() wrote beside the packet";
  return packet;
}

inline std::vector<float> decode(const Codec& codec, const Packet& packet, size_t n, const EncodeContext& context,
                                 const std::vector<float>* add = nullptr, uint32_t divisor = 1) {
  std::vector<float> out(n + 1, 4711);  // the last one is a guard
  const Status status = codec.decode(packet.data(), n, context, {out.data(), add ? add->data() : nullptr, divisor});
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(out.back(), 4711) << "decode() wrote beside its output";
  out.pop_back();
  return out;
}

// C's result for x where errors are lost, or, with feedback, the first time.
inline std::vector<float> sent(const Codec& codec, const std::vector<float>& x, bool feedback, const EncodeContext& context) {
  std::vector<float> residual(feedback ? x.size() : 0);
  return decode(codec, encode(codec, x, residual, context), x.size(), context);
}

// Lengths that end inside every kind of block, up to a whole chunk.
inline std::vector<size_t> lengths(const Codec& codec) {
  std::vector<size_t> some;
  for (const size_t n : {1u, 2u, 15u, 16u, 31u, 33u, 63u, 64u, 65u, 129u, 333u, 512u, 1000u, 1023u})
    if (n < codec.chunk()) some.push_back(n);
  some.push_back(codec.chunk() - 1);
  some.push_back(codec.chunk());
  return some;
}

inline void expect_sizes(const Codec& codec, uint32_t step = 0) {
  EXPECT_TRUE(std::has_single_bit(codec.chunk()) && codec.chunk() >= 64) << codec.chunk();
  for (size_t n = 1; n <= codec.chunk(); n = n < 1100 ? n + 1 : n + 77) {
    const size_t bytes = codec.packet_bytes(n, step);
    ASSERT_TRUE(bytes >= 4 && bytes % 4 == 0) << bytes << " bytes for " << n;
  }
}

// The residual is the sum less what is decoded, to the bit, over several calls that use it.
inline void expect_what_is_sent_is_what_is_kept(const Codec& codec, const Sample& sample, uint32_t first_step = 0) {
  const size_t n = sample.values.size();
  std::vector<float> residual(n), value = sample.values;
  for (size_t i = 0; i < n; ++i) residual[i] = value[n - 1 - i] / 4;
  for (uint32_t step = first_step; step < first_step + 4; ++step) {
    const EncodeContext context{.seed = 7, .step = step, .rank = 1, .element = 3 * codec.chunk()};
    std::vector<float> sum(n), expected(n);
    for (size_t i = 0; i < n; ++i) sum[i] = value[i] + residual[i];
    // Another law's business.
    if (std::any_of(sum.begin(), sum.end(), [](float v) { return !std::isfinite(v); })) return;
    const Packet packet = encode(codec, value, residual, context);
    const std::vector<float> decoded = decode(codec, packet, n, context);
    for (size_t i = 0; i < n; ++i) {
      expected[i] = sum[i] - decoded[i];
      ASSERT_EQ(residual[i], expected[i]) << "element " << i << ", step " << step << ": " << sum[i] << " was to be sent, "
                                          << decoded[i] << " was";
    }
    for (size_t i = 0; i < n; ++i) value[i] = sample.values[(i + step + 1) % n];
  }
}

// Rounding in float32 adds a millionth of ‖x‖, and where numbers are denormal, whose spacing is absolute, 2^-126 an
// element.
inline void expect_contraction(const Codec& codec, const Sample& sample, uint32_t step = 0) {
  const size_t n = sample.values.size();
  const double delta = codec.contraction(n, step);
  ASSERT_TRUE(delta >= 0 && delta <= 1) << delta;
  if (delta == 0) return;
  const int kTrials = 48;
  double sum = 0, sum_of_squares = 0;
  for (uint64_t trial = 0; trial < kTrials; ++trial) {
    const double distance = square_distance(sample.values, sent(codec, sample.values, true, {.seed = trial, .step = step}));
    sum += distance, sum_of_squares += distance * distance;
  }
  const double mean = sum / kTrials;
  const double error = std::sqrt(std::max(0.0, sum_of_squares / kTrials - mean * mean) / kTrials);
  const double bound = (std::sqrt(1 - delta) + 1e-6) * std::sqrt(square_norm(sample.values)) + std::sqrt(n) * 0x1p-126;
  EXPECT_LE(mean, bound * bound + kStandardErrors * error + 1e-12 * mean)
      << "δ = " << delta << ", ‖x‖² = " << square_norm(sample.values);
}

// Of codecs that say so: the mean of what is sent is x, and its variance at most ω.
inline void expect_unbiased(const Codec& codec, const Sample& sample, uint32_t step = 0) {
  if (!codec.unbiased()) return;
  const size_t n = sample.values.size();
  const double omega = codec.variance(n, step), bound = omega * square_norm(sample.values);
  double greatest = 0;
  for (const float v : sample.values) greatest = std::max(greatest, std::fabs(static_cast<double>(v)));
  if ((1 + omega) * greatest > std::numeric_limits<float>::max()) return;
  const int kTrials = 400;
  std::vector<double> mean(n), square(n);
  double distances = 0, squared_distances = 0, jump = std::sqrt(bound / static_cast<double>(n));
  for (uint64_t trial = 0; trial < kTrials; ++trial) {
    const std::vector<float> x = sent(codec, sample.values, false, {.seed = trial, .step = step});
    for (size_t i = 0; i < n; ++i) {
      const double error = static_cast<double>(x[i]) - sample.values[i];
      mean[i] += error / kTrials, square[i] += error * error / kTrials;
      jump = std::max(jump, std::fabs(error));
    }
    const double distance = square_distance(sample.values, x);
    distances += distance / kTrials, squared_distances += distance * distance / kTrials;
  }
  // Rounding: each number that is sent may be off by a few units in the last place of the greatest one.
  const double rounding = greatest * 0x1p-18 + 0x1p-140, of_rounding = static_cast<double>(n) * rounding * rounding;
  // A number far below a step is seldom sent: if it never was, its variance was not seen, which is its magnitude times
  // the step.
  double variance = 0, of_sum = 0, of_means = 0;
  for (size_t i = 0; i < n; ++i) {
    variance += std::max(square[i], std::fabs(mean[i]) * jump) / kTrials;
    of_sum += mean[i], of_means += mean[i] * mean[i];
  }
  EXPECT_LE(std::fabs(of_sum), kStandardErrors * std::sqrt(variance) + static_cast<double>(n) * rounding) << "the sum is biased";
  // A sum of squares, of which one may carry all the weight: then the mean's error is five standard errors at 25 times
  // their mean.
  EXPECT_LE(of_means, kStandardErrors * kStandardErrors * variance + of_rounding) << "elements are biased";
  const double error = std::sqrt(std::max(0.0, squared_distances - distances * distances) / kTrials);
  EXPECT_LE(distances, bound * (1 + 1e-5) + kStandardErrors * error + of_rounding)
      << "ω = " << omega << ", ‖x‖² = " << square_norm(sample.values);
}

// The same context, the same bits: whatever the memory held, at other addresses, and by whichever rank it is decoded.
inline void expect_determinism(const Codec& codec, const Sample& sample, uint32_t step = 0) {
  const size_t n = sample.values.size();
  const EncodeContext context{.seed = 11, .step = step, .rank = 5, .element = codec.chunk()};
  std::vector<float> residual(n, 0.25f), again = residual;
  const Packet packet = encode(codec, sample.values, residual, context, 0x00);
  EXPECT_EQ(packet, encode(codec, sample.values, again, context, 0xFF)) << "a packet holds what was there before";
  EXPECT_EQ(bits_of(residual), bits_of(again));

  std::vector<float> moved(n + 1), moved_residual(n + 1, 0.25f), moved_out(n + 1);
  std::copy(sample.values.begin(), sample.values.end(), moved.begin() + 1);
  Packet other(codec, n, step);
  codec.encode({.value = moved.data() + 1, .residual = moved_residual.data() + 1, .n = n}, context, other.data());
  EXPECT_EQ(packet, other);
  EncodeContext elsewhere = context;
  elsewhere.rank = 9;
  EXPECT_TRUE(codec.decode(packet.data(), n, elsewhere, {moved_out.data() + 1}).ok());
  moved_out.erase(moved_out.begin());
  EXPECT_EQ(bits_of(moved_out), bits_of(decode(codec, packet, n, context)));
}

// out = (add + decoded) / divisor, `add` apart from and the same as `out`; a zero of either sign (codec.h).
inline void expect_decoding(const Codec& codec, const Sample& sample, uint32_t step = 0) {
  const size_t n = sample.values.size();
  const EncodeContext context{.seed = 13, .step = step};
  std::vector<float> none;
  const Packet packet = encode(codec, sample.values, none, context);
  const std::vector<float> decoded = decode(codec, packet, n, context);
  std::vector<float> add(n), expected(n);
  for (size_t i = 0; i < n; ++i) add[i] = sample.values[n - 1 - i] / 3;
  for (const uint32_t divisor : {1u, 2u, 3u, 64u, 1000u}) {
    for (size_t i = 0; i < n; ++i) expected[i] = (add[i] + decoded[i]) / static_cast<float>(divisor);
    EXPECT_EQ(decode(codec, packet, n, context, &add, divisor), expected) << divisor;
    std::vector<float> in_place = add;
    const Output hinted{in_place.data(), in_place.data(), divisor, false, {decoded.data(), nullptr}};
    EXPECT_TRUE(codec.decode(packet.data(), n, context, hinted).ok());
    EXPECT_EQ(in_place, expected) << divisor;
    for (size_t i = 0; i < n; ++i) expected[i] = decoded[i] / static_cast<float>(divisor);
    EXPECT_EQ(decode(codec, packet, n, context, nullptr, divisor), expected) << divisor;
  }
}

// decode() returns what encode() has announced, to the bit, and asking for it changes nothing else.
inline void expect_decoded_foretold(const Codec& codec, const Sample& sample, uint32_t step = 0) {
  const size_t n = sample.values.size();
  const EncodeContext context{.seed = 23, .step = step, .rank = 2};
  for (const size_t kept : {size_t{0}, n}) {
    for (const uint32_t divisor : {1u, 2u, 3u}) {
      std::vector<float> residual(kept, 0.125f), again = residual, decoded(n + 1, 4711);
      const Packet expected = encode(codec, sample.values, residual, context);
      Packet packet(codec, n, step);
      codec.encode({.value = sample.values.data(),
                    .residual = kept > 0 ? again.data() : nullptr,
                    .n = n,
                    .decoded = {.out = decoded.data(), .divisor = divisor}},
                   context, packet.data());
      EXPECT_EQ(packet, expected);
      EXPECT_EQ(bits_of(again), bits_of(residual));
      EXPECT_EQ(decoded.back(), 4711) << "encode() wrote beside what it foretells";
      decoded.pop_back();
      EXPECT_EQ(bits_of(decoded), bits_of(decode(codec, packet, n, context, nullptr, divisor))) << "divisor " << divisor;
    }
  }
}

// Where both may bypass the caches, they write the same bits.
inline void expect_streaming(const Codec& codec, const Sample& sample, uint32_t step = 0) {
  if (!codec.streams()) return;
  const size_t n = sample.values.size();
  const EncodeContext context{.seed = 29, .step = step};
  std::vector<float, LargePages<float>> out(n + 16, 4711), foretold = out;
  ASSERT_EQ(reinterpret_cast<uintptr_t>(out.data()) % kStreamingAlignment, 0u);
  Packet packet(codec, n, step);
  codec.encode({.value = sample.values.data(), .n = n, .decoded = {.out = foretold.data(), .divisor = 3, .streaming = true}},
               context, packet.data());
  EXPECT_TRUE(codec.decode(packet.data(), n, context, {.out = out.data(), .divisor = 3, .streaming = true}).ok());
  kernels::flush_streams();
  std::vector<float> expected = decode(codec, packet, n, context, nullptr, 3);
  expected.resize(n + 16, 4711);
  EXPECT_EQ(bits_of({out.begin(), out.end()}), bits_of(expected));
  EXPECT_EQ(bits_of({foretold.begin(), foretold.end()}), bits_of(expected));
}

// One infinity, not-a-number or overflowing sum spoils the chunk, not the residual, and the next call is well again.
inline void expect_not_finite_survived(const Codec& codec, size_t n, uint32_t step = 0) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity(), kGreatest = std::numeric_limits<float>::max();
  const std::vector<float> well(n, 1), finite(n, 2);
  for (const size_t place : {size_t{0}, n / 2, n - 1}) {
    for (const auto& [spoilt, kept] :
         {std::pair{kNan, 0.5f}, {-kNan, 0.5f}, {kInfinity, 0.5f}, {-kInfinity, 0.5f}, {kGreatest, kGreatest}}) {
      const EncodeContext context{.seed = 17, .step = step};
      std::vector<float> value = well, residual(n, 0.5f);
      value[place] = spoilt, residual[place] = kept;
      const std::vector<float> before = residual;
      Packet packet = encode(codec, value, residual, context);
      EXPECT_EQ(packet.word(0), static_cast<uint32_t>(PacketKind::not_finite)) << spoilt << " at " << place;
      EXPECT_EQ(residual, before);
      std::vector<float> foretold(n);
      codec.encode({.value = value.data(), .residual = residual.data(), .n = n, .decoded = {foretold.data()}}, context,
                   packet.data());
      EXPECT_EQ(bits_of(foretold), bits_of(std::vector<float>(n, kNan)));
      for (size_t i = 1; i < packet.bytes() / 4; ++i) ASSERT_EQ(packet.word(i), 0u) << "word " << i;
      const std::vector<uint32_t> nans = bits_of(std::vector<float>(n, kNan));
      EXPECT_EQ(bits_of(decode(codec, packet, n, context)), nans);
      EXPECT_EQ(bits_of(decode(codec, packet, n, context, &finite, 3)), nans);
      std::vector<float> none;
      EXPECT_EQ(encode(codec, spoilt == kGreatest ? std::vector<float>(n, kInfinity) : value, none, context), packet);
    }
  }
}

// A codec refuses a packet of a kind that there is not, and survives bytes of any kind; `laws` cannot know what else it
// must refuse.
inline void expect_hostile_survived(const Codec& codec, size_t n, uint32_t step = 0) {
  Packet packet(codec, n, step);
  std::vector<float> out(n);
  std::mt19937_64 random(19);
  for (const uint32_t kind : {2u, 77u, 0xFFFFFFFFu}) {
    packet.word(0) = kind;
    const Status status = codec.decode(packet.data(), n, {.step = step}, {out.data()});
    EXPECT_FALSE(status.ok());
    EXPECT_NE(status.message(), "");
  }
  for (int round = 0; round < 50; ++round) {
    for (size_t i = 0; i < packet.bytes() / 4; ++i) packet.word(i) = static_cast<uint32_t>(random());
    packet.word(0) = 0;
    const Status status = codec.decode(packet.data(), n, {.step = step}, {out.data()});
    EXPECT_EQ(status.ok(), status.message().empty());
  }
}

inline void expect_laws(const Codec& codec, uint32_t step = 0) {
  expect_sizes(codec, step);
  for (const size_t n : lengths(codec)) {
    const testing::ScopedTrace trace(__FILE__, __LINE__, "n = " + std::to_string(n));
    expect_not_finite_survived(codec, n, step);
    expect_hostile_survived(codec, n, step);
    for (const Sample& sample : samples(n)) {
      const testing::ScopedTrace which(__FILE__, __LINE__, sample.name);
      expect_what_is_sent_is_what_is_kept(codec, sample, step);
      expect_determinism(codec, sample, step);
      expect_decoding(codec, sample, step);
      expect_decoded_foretold(codec, sample, step);
      expect_streaming(codec, sample, step);
      expect_contraction(codec, sample, step);
      if (n < 100 || n == codec.chunk()) expect_unbiased(codec, sample, step);
    }
  }
}

}  // namespace tutti::laws
