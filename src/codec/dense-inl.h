// Loops over a chunk that the dense codecs share, for one target: included by their .cpp files through Highway's
// foreach_target.  A codec brings a Row, which turns a vector of sums into codes and what they decode to, or codes into
// numbers.
#if defined(TUTTI_DENSE_INL_H) == defined(HWY_TARGET_TOGGLE)  // Highway's per-target include guard
#ifdef TUTTI_DENSE_INL_H
#undef TUTTI_DENSE_INL_H
#else
#define TUTTI_DENSE_INL_H
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <bit>
#include <cstring>

#include "dense.h"
#include "formats-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tutti::dense::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using kernels::HWY_NAMESPACE::LoadFirst;
using kernels::HWY_NAMESPACE::StoreFirst;

using F = hn::CappedTag<float, kRow>;
using U = hn::RebindToUnsigned<F>;
using Floats = hn::Vec<F>;
using Words = hn::Vec<U>;

// ---- first pass: what a group is like ----

// value + residual; without feedback value alone.
HWY_INLINE Floats Sum(const float* value, const float* residual, size_t i) {
  const auto v = hn::LoadU(F(), value + i);
  return residual == nullptr ? v : hn::Add(v, hn::LoadU(F(), residual + i));
}
HWY_INLINE Floats SumFirst(const float* value, const float* residual, size_t i, size_t n) {
  const auto v = LoadFirst(F(), value + i, n);
  return residual == nullptr ? v : hn::Add(v, LoadFirst(F(), residual + i, n));
}

HWY_INLINE Words Magnitude(Floats v) { return hn::And(hn::BitCast(U(), v), hn::Set(U(), 0x7FFFFFFFu)); }

// The greatest magnitude of n sums, as bits, which order like the numbers and put infinities and not-a-numbers last.
HWY_INLINE uint32_t GreatestMagnitude(const float* value, const float* residual, size_t n) {
  const size_t lanes = hn::Lanes(F());
  auto greatest0 = hn::Zero(U()), greatest1 = hn::Zero(U());
  size_t i = 0;
  for (; n - i >= 2 * lanes; i += 2 * lanes) {
    greatest0 = hn::Max(greatest0, Magnitude(Sum(value, residual, i)));
    greatest1 = hn::Max(greatest1, Magnitude(Sum(value, residual, i + lanes)));
  }
  for (; i < n; i += lanes) greatest0 = hn::Max(greatest0, Magnitude(SumFirst(value, residual, i, HWY_MIN(lanes, n - i))));
  return hn::GetLane(hn::MaxOfLanes(U(), hn::Max(greatest0, greatest1)));
}

// Adds up f of n sums in 32 partial sums, the i-th number in the (i mod 32)-th, and these in a fixed tree: the same
// bits for every width of vectors.
template <class Function>
HWY_INLINE float FixedSum(const Function& f, const float* value, const float* residual, size_t n) {
  constexpr size_t kPartials = 2 * kRow;
  const F d;
  const size_t lanes = hn::Lanes(d);
  HWY_ALIGN float partial[kPartials] = {};
  const size_t whole = n / kPartials * kPartials;
  for (size_t j = 0; j < kRow; j += lanes) {
    auto sum0 = hn::Zero(d), sum1 = hn::Zero(d);
    for (size_t i = j; i < whole; i += kPartials) {
      sum0 = hn::Add(sum0, f(Sum(value, residual, i)));
      sum1 = hn::Add(sum1, f(Sum(value, residual, i + kRow)));
    }
    hn::Store(sum0, d, partial + j);
    hn::Store(sum1, d, partial + j + kRow);
  }
  for (size_t i = whole; i < n; i += lanes) {
    const size_t rest = HWY_MIN(lanes, n - i);
    float* const place = partial + (i - whole);
    hn::Store(hn::Add(hn::Load(d, place), f(SumFirst(value, residual, i, rest))), d, place);  // f(0) is 0
  }
  for (size_t half = kPartials / 2; half > 0; half /= 2)
    for (size_t i = 0; i < half; ++i) partial[i] += partial[i + half];
  return partial[0];
}

// ---- random numbers ----

// 23 bits each, for the numbers from the i-th of the chunk on.
HWY_INLINE Words RandomBits(RandomKey key, size_t i) {
  const U du;
  auto x = hn::Add(hn::Iota(du, 0u), hn::Set(du, key.first + static_cast<uint32_t>(i)));  // a constant, and an addition
  x = hn::Mul(hn::Xor(x, hn::ShiftRight<16>(x)), hn::Set(du, 0x21F0AAADu));
  x = hn::Xor(hn::Xor(x, hn::ShiftRight<15>(x)), hn::Set(du, key.second));
  x = hn::Mul(x, hn::Set(du, 0x735A2D97u));
  return hn::ShiftRight<9>(hn::Xor(x, hn::ShiftRight<15>(x)));
}

// Uniform in (0, 1): odd multiples of 2^-24.
HWY_INLINE Floats ToUniform(Words random) {
  const auto whole = hn::ConvertTo(F(), hn::BitCast(hn::RebindToSigned<F>(), random));
  return hn::Mul(hn::Add(whole, hn::Set(F(), 0.5f)), hn::Set(F(), 0x1p-23f));
}

// ---- second pass: numbers to codes ----

// Delivers decoded numbers.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Finish(D d, V decoded, V add, const Output& output) {
  const auto v = hn::Add(add, decoded);
  return output.divisor > 1 ? hn::Div(v, hn::Set(d, static_cast<float>(output.divisor))) : v;
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE void Write(D d, V decoded, V add, const Output& output, size_t i) {
  const auto v = Finish(d, decoded, add, output);
  if (output.streaming)
    hn::Stream(v, d, output.out + i);
  else
    hn::StoreU(v, d, output.out + i);
}

HWY_INLINE Output From(const Output& output, size_t i) {
  return {behind(output.out, i),
          behind(output.add, i),
          output.divisor,
          output.streaming,
          {behind(output.prefetch[0], i), behind(output.prefetch[1], i)}};
}

HWY_INLINE Chunk From(const Chunk& chunk, size_t i) {
  return {chunk.value + i, behind(chunk.residual, i), nullptr, chunk.n - i, From(chunk.decoded, i)};
}

// One block, from the beginning of `chunk`.  row(sum, i, code, decoded): of code the lowest kBits count; i is the place
// in the whole chunk.
template <uint32_t kBits, class Row>
HWY_INLINE void EncodeBlock(const Row& row, const Chunk& chunk, size_t first, uint32_t* codes) {
  const F d;
  const U du;
  const size_t lanes = hn::Lanes(du);
  for (size_t j = 0; j < kRow; j += lanes) {
    auto word = hn::Zero(du);
    for (size_t i = j; i < block(kBits); i += kRow) {
      const auto sum = Sum(chunk.value, chunk.residual, i);
      Words code;
      Floats decoded;
      row(sum, first + i, code, decoded);
      word = hn::Or(hn::ShiftRight<kBits>(word), hn::ShiftLeft<32 - kBits>(code));
      if (chunk.residual != nullptr) hn::StoreU(hn::Sub(sum, decoded), d, chunk.residual + i);
      if (chunk.decoded.out != nullptr) Write(d, decoded, hn::Zero(d), chunk.decoded, i);
    }
    hn::StoreU(word, du, codes + j);
  }
}

template <uint32_t kBits>
void PackTail(const uint32_t* words, size_t n, uint32_t* codes) {
  std::memset(codes, 0, 4 * ((n * kBits + 31) / 32));
  for (size_t i = 0; i < n; ++i) {
    const uint32_t code = words[i % kRow] >> kBits * (i / kRow) & ((1u << kBits) - 1);
    codes[i * kBits / 32] |= code << i * kBits % 32;
  }
}

// The n numbers from `begin` on; whole blocks, unless they are the chunk's last.
template <uint32_t kBits, class Row>
HWY_INLINE void EncodeRange(Row row, const Chunk& chunk, size_t begin, size_t n, uint32_t* codes) {
  const Chunk range = From(chunk, begin);
  size_t i = 0;
  for (; n - i >= block(kBits); i += block(kBits), codes += kRow) EncodeBlock<kBits>(row, From(range, i), begin + i, codes);
  const size_t rest = n - i;
  if (rest == 0) return;
  const Chunk end = From(range, i);
  float value[block(kBits)] = {}, residual[block(kBits)] = {}, decoded[block(kBits)];
  uint32_t words[kRow];
  std::memcpy(value, end.value, rest * sizeof(float));
  if (end.residual != nullptr) std::memcpy(residual, end.residual, rest * sizeof(float));
  const Chunk last{value, end.residual == nullptr ? nullptr : residual, nullptr, rest, {decoded, nullptr, chunk.decoded.divisor}};
  EncodeBlock<kBits>(row, last, begin + i, words);
  if (end.residual != nullptr) std::memcpy(end.residual, residual, rest * sizeof(float));
  if (end.decoded.out != nullptr) std::memcpy(end.decoded.out, decoded, rest * sizeof(float));
  PackTail<kBits>(words, rest, codes);
}

// ---- codes to numbers ----

// Prefetches what is read next, 64 bytes of it.  Beside decoding a chunk, which takes as long as reading another one,
// it costs no time of its own; all at once it would.
HWY_INLINE void BringNear(const Output& output, size_t i) {
  for (const float* next : output.prefetch)
    if (next != nullptr) hwy::Prefetch(next + i);
}

// row(code, i, worst) is the number; it may raise `worst`, which tells codes that no encoding writes.
template <uint32_t kBits, class Row>
HWY_INLINE void DecodeBlock(const Row& row, const uint32_t* codes, size_t first, const Output& output, Floats& worst) {
  const F d;
  const U du;
  const size_t lanes = hn::Lanes(du);
  for (size_t j = 0; j < kRow; j += lanes) {
    auto word = hn::LoadU(du, codes + j);
    for (size_t i = j; i < block(kBits); i += kRow) {
      if (j == 0) BringNear(output, i);
      const auto add = output.add == nullptr ? hn::Zero(d) : hn::LoadU(d, output.add + i);
      const auto decoded = row(hn::And(word, hn::Set(du, (1u << kBits) - 1)), first + i, worst);
      Write(d, decoded, add, output, i);
      word = hn::ShiftRight<kBits>(word);
    }
  }
}

// Behind the end stands the first code again.
template <uint32_t kBits>
void UnpackTail(const uint32_t* codes, size_t n, uint32_t* words) {
  std::memset(words, 0, kRow * 4);
  for (size_t i = 0; i < block(kBits); ++i) {
    const size_t bit = (i < n ? i : 0) * kBits;
    words[i % kRow] |= (codes[bit / 32] >> bit % 32 & ((1u << kBits) - 1)) << kBits * (i / kRow);
  }
}

template <uint32_t kBits, class Row>
HWY_INLINE void DecodeRange(Row row, const uint32_t* codes, size_t begin, size_t n, const Output& chunk, Floats& worst) {
  const Output output = From(chunk, begin);
  size_t i = 0;
  for (; n - i >= block(kBits); i += block(kBits), codes += kRow) DecodeBlock<kBits>(row, codes, begin + i, From(output, i), worst);
  const size_t rest = n - i;
  if (rest == 0) return;
  float last[block(kBits)] = {};
  uint32_t words[kRow];
  UnpackTail<kBits>(codes, rest, words);
  if (output.add != nullptr) std::memcpy(last, output.add + i, rest * sizeof(float));
  DecodeBlock<kBits>(row, words, begin + i, {last, output.add == nullptr ? nullptr : last, output.divisor}, worst);
  std::memcpy(output.out + i, last, rest * sizeof(float));
}

}  // namespace tutti::dense::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
