#include "kernels.h"

#include <cassert>
#include <cstring>
#include <type_traits>
#include <utility>

#include "standard_floats.h"

// Everything up to HWY_ONCE is compiled once per target, by this file including itself.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels.cpp"
#include <hwy/foreach_target.h>  // before highway.h

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "formats-inl.h"

HWY_BEFORE_NAMESPACE();
namespace tutti::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Where the i-th element is.  Elements are at any address, so there are no pointers of their type.
template <class F>
HWY_INLINE const std::byte* At(const void* elements, size_t i) {
  return static_cast<const std::byte*>(elements) + i * sizeof(typename F::Stored);
}
template <class F>
HWY_INLINE std::byte* At(void* elements, size_t i) {
  return static_cast<std::byte*>(elements) + i * sizeof(typename F::Stored);
}

// ---- sources: where the lanes of an element range come from ----

template <class F>
HWY_INLINE hn::Vec<typename F::D> Read(const void* elements, size_t i) {
  return F::Widen(LoadAny(typename F::DS(), At<F>(elements, i)));
}

template <class F>
HWY_INLINE hn::Vec<typename F::D> ReadFirst(const void* elements, size_t i, size_t n) {
  return F::Widen(LoadFirst(typename F::DS(), At<F>(elements, i), n));
}

template <class F, class Op>
struct Pair {
  const void* left;
  const void* right;

  HWY_INLINE hn::Vec<typename F::D> First(size_t i, size_t n) const {
    return Op::Apply(typename F::D(), ReadFirst<F>(left, i, n), ReadFirst<F>(right, i, n));
  }
  template <class V>
  HWY_INLINE void Four(size_t i, V& v0, V& v1, V& v2, V& v3) const {
    const typename F::D d;
    const size_t lanes = hn::Lanes(d);
    v0 = Op::Apply(d, Read<F>(left, i), Read<F>(right, i));
    v1 = Op::Apply(d, Read<F>(left, i + lanes), Read<F>(right, i + lanes));
    v2 = Op::Apply(d, Read<F>(left, i + 2 * lanes), Read<F>(right, i + 2 * lanes));
    v3 = Op::Apply(d, Read<F>(left, i + 3 * lanes), Read<F>(right, i + 3 * lanes));
  }
};

template <class F, class Op>
struct Several {
  const void* const* sources;
  size_t n;

  HWY_INLINE hn::Vec<typename F::D> First(size_t i, size_t count) const {
    auto v = ReadFirst<F>(sources[0], i, count);
    for (size_t s = 1; s < n; ++s) v = Op::Apply(typename F::D(), v, ReadFirst<F>(sources[s], i, count));
    return v;
  }
  template <class V>
  HWY_INLINE void Four(size_t i, V& v0, V& v1, V& v2, V& v3) const {
    const typename F::D d;
    const size_t lanes = hn::Lanes(d);
    v0 = Read<F>(sources[0], i);
    v1 = Read<F>(sources[0], i + lanes);
    v2 = Read<F>(sources[0], i + 2 * lanes);
    v3 = Read<F>(sources[0], i + 3 * lanes);
    for (size_t s = 1; s < n; ++s) {
      v0 = Op::Apply(d, v0, Read<F>(sources[s], i));
      v1 = Op::Apply(d, v1, Read<F>(sources[s], i + lanes));
      v2 = Op::Apply(d, v2, Read<F>(sources[s], i + 2 * lanes));
      v3 = Op::Apply(d, v3, Read<F>(sources[s], i + 3 * lanes));
    }
  }
};

// Bytes as they are, for copy().
using Bytes = Plain<uint8_t>;
struct Single {
  const void* from;

  HWY_INLINE hn::Vec<Bytes::D> First(size_t i, size_t n) const { return ReadFirst<Bytes>(from, i, n); }
  template <class V>
  HWY_INLINE void Four(size_t i, V& v0, V& v1, V& v2, V& v3) const {
    const size_t lanes = hn::Lanes(Bytes::D());
    v0 = Read<Bytes>(from, i);
    v1 = Read<Bytes>(from, i + lanes);
    v2 = Read<Bytes>(from, i + 2 * lanes);
    v3 = Read<Bytes>(from, i + 3 * lanes);
  }
};

// ---- sinks: one loop for every kernel ----

template <class F>
struct Sink {
  using Stored = typename F::Stored;
  using D = typename F::D;
  using DS = typename F::DS;
  // Highway's Stream writes at least 16 bytes, more than a half vector of the narrowest targets has.
  static constexpr bool kStreams = hn::MaxLanes(DS()) * sizeof(Stored) >= HWY_STREAM_MULTIPLE;

  void* destination;
  void* pass;
  uint32_t divisor;
  bool streaming;

  HWY_INLINE hn::Vec<DS> Finish(hn::Vec<D> v) const {
    if (divisor > 1) v = Divide(D(), v, divisor);
    return F::Round(v);
  }

  // `n` ≤ Lanes elements from `i`, at any address.
  template <class Source>
  HWY_INLINE void First(const Source& source, size_t i, size_t n) const {
    const auto v = Finish(source.First(i, n));
    StoreFirst(v, DS(), At<F>(destination, i), n);
    if (pass != nullptr) StoreFirst(v, DS(), At<F>(pass, i), n);
  }

  // Four vectors from `i`; where streaming, destination is aligned to a vector there.  All are read before the first is
  // written, so that the compiler may overlap them although destination may be one of the sources.
  template <class Source>
  HWY_INLINE void Four(const Source& source, size_t i) const {
    hn::Vec<D> v0, v1, v2, v3;
    source.Four(i, v0, v1, v2, v3);
    const auto s0 = Finish(v0);
    const auto s1 = Finish(v1);
    const auto s2 = Finish(v2);
    const auto s3 = Finish(v3);
    ToDestination(s0, s1, s2, s3, i);
    if (pass != nullptr) Write(s0, s1, s2, s3, At<F>(pass, i));
  }

  HWY_INLINE void ToDestination(hn::Vec<DS> s0, hn::Vec<DS> s1, hn::Vec<DS> s2, hn::Vec<DS> s3, size_t i) const {
    if (kStreams && streaming) {
      const DS ds;
      const size_t lanes = hn::Lanes(ds);
      Stored* const to = static_cast<Stored*>(destination) + i;
      hn::Stream(s0, ds, to);
      hn::Stream(s1, ds, to + lanes);
      hn::Stream(s2, ds, to + 2 * lanes);
      hn::Stream(s3, ds, to + 3 * lanes);
    } else {
      Write(s0, s1, s2, s3, At<F>(destination, i));
    }
  }

  static HWY_INLINE void Write(hn::Vec<DS> s0, hn::Vec<DS> s1, hn::Vec<DS> s2, hn::Vec<DS> s3, std::byte* to) {
    const DS ds;
    const size_t bytes = hn::Lanes(ds) * sizeof(Stored);
    StoreAny(s0, ds, to);
    StoreAny(s1, ds, to + bytes);
    StoreAny(s2, ds, to + 2 * bytes);
    StoreAny(s3, ds, to + 3 * bytes);
  }
};

// The same to several places, each aligned for non-temporal stores or not.
template <class F>
struct Sinks {
  const Sink<F>* sinks;
  size_t n;

  template <class Source>
  HWY_INLINE void First(const Source& source, size_t i, size_t count) const {
    const typename F::DS ds;
    const auto v = sinks->Finish(source.First(i, count));
    for (size_t k = 0; k < n; ++k) StoreFirst(v, ds, At<F>(sinks[k].destination, i), count);
  }
  template <class Source>
  HWY_INLINE void Four(const Source& source, size_t i) const {
    hn::Vec<typename F::D> v0, v1, v2, v3;
    source.Four(i, v0, v1, v2, v3);
    const auto s0 = sinks->Finish(v0);
    const auto s1 = sinks->Finish(v1);
    const auto s2 = sinks->Finish(v2);
    const auto s3 = sinks->Finish(v3);
    for (size_t k = 0; k < n; ++k) sinks[k].ToDestination(s0, s1, s2, s3, i);
  }
};

// Aligned stores never straddle a cache line, and non-temporal ones must be aligned: a first part reaches the next
// vector of destination.  Only where an element is aligned can a vector be.
template <class F>
HWY_INLINE bool Streams(const void* destination, Store store) {
  return store == Store::streaming && reinterpret_cast<uintptr_t>(destination) % sizeof(typename F::Stored) == 0;
}
template <class F>
HWY_INLINE size_t BeforeAligned(const void* destination) {
  return (0 - reinterpret_cast<uintptr_t>(destination) / sizeof(typename F::Stored)) % hn::Lanes(typename F::D());
}

template <class F, class SinkOrSinks, class Source>
HWY_INLINE void Walk(const SinkOrSinks& sink, const Source& source, size_t before, size_t count) {
  const size_t lanes = hn::Lanes(typename F::D());
  const bool blocks = count >= 8 * lanes;
  size_t i = 0;
  size_t n = blocks ? before : HWY_MIN(lanes, count);
  while (i < count) {
    if (n != 0) sink.First(source, i, n);
    i += n;
    if (blocks) {
      for (; count - i >= 4 * lanes; i += 4 * lanes) sink.Four(source, i);
    }
    n = HWY_MIN(lanes, count - i);
  }
}

template <class F, class Source>
HWY_INLINE void Run(const Source& source, void* destination, void* pass, size_t count, uint32_t divisor, Store store) {
  const Sink<F> sink{destination, pass, divisor, Streams<F>(destination, store)};
  Walk<F>(sink, source, BeforeAligned<F>(destination), count);
  if (sink.streaming) hwy::FlushStream();
}

template <class F, class Source>
HWY_INLINE void RunAll(const Source& source, const Target* targets, size_t n, size_t count, uint32_t divisor) {
  if (n == 1) return Run<F>(source, targets->memory, nullptr, count, divisor, targets->store);
  const size_t before = BeforeAligned<F>(targets->memory);
  bool streaming = false;
  Sink<F> sinks[kMostTargets];
  for (size_t k = 0; k < n; ++k) {
    const bool streams = Streams<F>(targets[k].memory, targets[k].store) && BeforeAligned<F>(targets[k].memory) == before;
    sinks[k] = {targets[k].memory, nullptr, divisor, streams};
    streaming |= streams;
  }
  Walk<F>(Sinks<F>{sinks, n}, source, before, count);
  if (streaming) hwy::FlushStream();
}

// ---- entry points ----

struct AnyMode {};
// The mode of the processor that kernels of a format need: nothing for integers.
template <class F>
using ModeOf = std::conditional_t<std::is_floating_point_v<hn::TFromD<typename F::D>>, StandardFloats, AnyMode>;

template <class F, class Op>
void Reduce(void* destination, void* pass, const void* left, const void* right, size_t count, uint32_t divisor, Store store) {
  [[maybe_unused]] const ModeOf<F> mode;
  Run<F>(Pair<F, Op>{left, right}, destination, pass, count, divisor, store);
}

template <class F, class Op>
void Fold(const Target* targets, size_t n_targets, const void* const* sources, size_t n, size_t count, uint32_t divisor) {
  [[maybe_unused]] const ModeOf<F> mode;
  RunAll<F>(Several<F, Op>{sources, n}, targets, n_targets, count, divisor);
}

using Kernel = std::pair<ReduceFn, FoldFn>;

template <class F, class Op>
Kernel OnBits() {
  if constexpr (std::is_floating_point_v<hn::TFromD<typename F::D>>) {
    return {};
  } else {
    return {&Reduce<F, Op>, &Fold<F, Op>};
  }
}

template <class F>
Kernel OfFormat(ReduceOp op) {
  switch (op) {
    case ReduceOp::sum:
    case ReduceOp::avg: return {&Reduce<F, Sum>, &Fold<F, Sum>};
    case ReduceOp::prod: return {&Reduce<F, Prod>, &Fold<F, Prod>};
    case ReduceOp::min: return {&Reduce<F, Min>, &Fold<F, Min>};
    case ReduceOp::max: return {&Reduce<F, Max>, &Fold<F, Max>};
    case ReduceOp::band: return OnBits<F, BitAnd>();
    case ReduceOp::bor: return OnBits<F, BitOr>();
    case ReduceOp::bxor: return OnBits<F, BitXor>();
    case ReduceOp::custom: return {};
  }
  return {};
}

Kernel Choose(DataType type, ReduceOp op) {
  switch (type) {
    case DataType::int8: return OfFormat<Plain<int8_t>>(op);
    case DataType::uint8: return OfFormat<Plain<uint8_t>>(op);
    case DataType::int32: return OfFormat<Plain<int32_t>>(op);
    case DataType::uint32: return OfFormat<Plain<uint32_t>>(op);
    case DataType::int64: return OfFormat<Plain<int64_t>>(op);
    case DataType::uint64: return OfFormat<Plain<uint64_t>>(op);
    case DataType::float16: return OfFormat<HalfFloat>(op);
    case DataType::bfloat16: return OfFormat<BrainFloat>(op);
    case DataType::float32: return OfFormat<Plain<float>>(op);
    case DataType::float64: return OfFormat<Plain<double>>(op);
    case DataType::int16: return OfFormat<Plain<int16_t>>(op);
    case DataType::uint16: return OfFormat<Plain<uint16_t>>(op);
  }
  return {};
}

void CopyBytes(void* destination, void* pass, const void* from, size_t bytes, Store store) {
  Run<Bytes>(Single{from}, destination, pass, bytes, 1, store);
}

// ---- conversions ----

template <class F>
void Widen(const void* from, float* to, size_t n) {
  const StandardFloats mode;
  using Float = Plain<float>;
  const Float::D d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) StoreAny(Float::Round(Read<F>(from, i)), d, to + i);
  if (i < n) StoreFirst(Float::Round(ReadFirst<F>(from, i, n - i)), d, to + i, n - i);
}

template <class F>
void Narrow(const float* from, void* to, size_t n) {
  const StandardFloats mode;
  const typename F::D d;
  const typename F::DS ds;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) StoreAny(F::Round(LoadAny(d, from + i)), ds, At<F>(to, i));
  if (i < n) StoreFirst(F::Round(LoadFirst(d, from + i, n - i)), ds, At<F>(to, i), n - i);
}

template <class F>
void ScaleFormat(const void* from, void* to, size_t n, double factor) {
  const StandardFloats mode;
  const typename F::D d;
  const typename F::DS ds;
  const auto by = hn::Set(d, static_cast<hn::TFromD<typename F::D>>(factor));
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) StoreAny(F::Round(hn::Mul(Read<F>(from, i), by)), ds, At<F>(to, i));
  if (i < n) StoreFirst(F::Round(hn::Mul(ReadFirst<F>(from, i, n - i), by)), ds, At<F>(to, i), n - i);
}

void Scale(DataType type, const void* from, void* to, size_t n, double factor) {
  switch (type) {
    case DataType::float16: return ScaleFormat<HalfFloat>(from, to, n, factor);
    case DataType::bfloat16: return ScaleFormat<BrainFloat>(from, to, n, factor);
    case DataType::float32: return ScaleFormat<Plain<float>>(from, to, n, factor);
    case DataType::float64: return ScaleFormat<Plain<double>>(from, to, n, factor);
    default: return;
  }
}

void WidenHalf(const void* from, float* to, size_t n) { Widen<HalfFloat>(from, to, n); }
void WidenBrain(const void* from, float* to, size_t n) { Widen<BrainFloat>(from, to, n); }
void NarrowHalf(const float* from, void* to, size_t n) { Narrow<HalfFloat>(from, to, n); }
void NarrowBrain(const float* from, void* to, size_t n) { Narrow<BrainFloat>(from, to, n); }

const char* Name() { return hwy::TargetName(HWY_TARGET); }

}  // namespace tutti::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace tutti::kernels {
HWY_EXPORT(Choose);
HWY_EXPORT(CopyBytes);
HWY_EXPORT(WidenHalf);
HWY_EXPORT(WidenBrain);
HWY_EXPORT(NarrowHalf);
HWY_EXPORT(NarrowBrain);
HWY_EXPORT(Scale);
HWY_EXPORT(Name);

ReduceFn reduce_kernel(DataType type, ReduceOp op) { return HWY_DYNAMIC_DISPATCH(Choose)(type, op).first; }

FoldFn fold_kernel(DataType type, ReduceOp op) { return HWY_DYNAMIC_DISPATCH(Choose)(type, op).second; }

void copy(void* destination, void* pass, const void* from, size_t bytes, Store store) {
  if (bytes == 0) return;
  if (pass == nullptr && store == Store::cached) {
    std::memcpy(destination, from, bytes);
  } else {
    HWY_DYNAMIC_DISPATCH(CopyBytes)(destination, pass, from, bytes, store);
  }
}

void flush_streams() { hwy::FlushStream(); }

void widen(DataType type, const void* from, float* to, size_t n) {
  assert(widens(type));
  if (n == 0) return;
  if (type == DataType::float16) return HWY_DYNAMIC_DISPATCH(WidenHalf)(from, to, n);
  if (type == DataType::bfloat16) return HWY_DYNAMIC_DISPATCH(WidenBrain)(from, to, n);
  std::memcpy(to, from, n * sizeof(float));
}

void narrow(DataType type, const float* from, void* to, size_t n) {
  assert(widens(type));
  if (n == 0) return;
  if (type == DataType::float16) return HWY_DYNAMIC_DISPATCH(NarrowHalf)(from, to, n);
  if (type == DataType::bfloat16) return HWY_DYNAMIC_DISPATCH(NarrowBrain)(from, to, n);
  std::memcpy(to, from, n * sizeof(float));
}

void scale(DataType type, const void* from, void* to, size_t n, double factor) {
  assert(is_float(type));
  HWY_DYNAMIC_DISPATCH(Scale)(type, from, to, n, factor);
}

std::string_view target_name() { return HWY_DYNAMIC_DISPATCH(Name)(); }

}  // namespace tutti::kernels
#endif
