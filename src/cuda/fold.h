// The one loop of all kernels: n sources are folded into m targets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <type_traits>

#include "elements.h"
#include "machine.h"

namespace tutti::cuda {

// The elements that a Unit holds: several, or one.
template <class Format, class Unit>
struct Elements {
  static constexpr uint32_t kCount = sizeof(Unit) / sizeof(typename Format::Stored);
  typename Format::Wide value[kCount];

  TUTTI_DEVICE static Elements of(const Unit& unit) {
    typename Format::Stored stored[kCount];
    std::memcpy(stored, &unit, sizeof unit);
    Elements result;
    TUTTI_UNROLL
    for (uint32_t e = 0; e < kCount; ++e) result.value[e] = Format::widen(stored[e]);
    return result;
  }

  template <class Op>
  TUTTI_DEVICE void apply(const Elements& right) {
    TUTTI_UNROLL
    for (uint32_t e = 0; e < kCount; ++e) value[e] = Op::apply(value[e], right.value[e]);
  }

  template <class Op>
  TUTTI_DEVICE Unit finished(const Divisor& divisor) const {
    typename Format::Stored stored[kCount];
    TUTTI_UNROLL
    for (uint32_t e = 0; e < kCount; ++e) stored[e] = finish<Format, Op>(value[e], divisor);
    Unit unit;
    std::memcpy(&unit, stored, sizeof unit);
    return unit;
  }
};

// What the sources so far have given.  Integers stay as they are stored: narrow ones would take a register each.
template <class Format, class Op, class Unit>
struct Partial {
  static constexpr bool kPacked = std::is_integral_v<typename Format::Wide>;
  std::conditional_t<kPacked, Unit, Elements<Format, Unit>> value;

  TUTTI_DEVICE void begin(const Unit& first) {
    if constexpr (kPacked) {
      value = first;
    } else {
      value = Elements<Format, Unit>::of(first);
    }
  }
  TUTTI_DEVICE void add(const Unit& next) {
    if constexpr (std::is_base_of_v<Bitwise, Op> && sizeof(Unit) == sizeof(Vector)) {
      TUTTI_UNROLL
      for (uint32_t w = 0; w < std::size(next.word); ++w) value.word[w] = Op::apply(value.word[w], next.word[w]);
    } else if constexpr (kPacked) {
      auto left = Elements<Format, Unit>::of(value);
      left.template apply<Op>(Elements<Format, Unit>::of(next));
      value = left.template finished<Op>(Divisor(1));
    } else {
      value.template apply<Op>(Elements<Format, Unit>::of(next));
    }
  }
  TUTTI_DEVICE Unit finished(const Divisor& divisor) const {
    if constexpr (kPacked) {
      return Elements<Format, Unit>::of(value).template finished<Op>(divisor);
    } else {
      return value.template finished<Op>(divisor);
    }
  }
};

template <class Machine, class Unit, uint32_t kUnits>
TUTTI_DEVICE void load_units(Unit (&to)[kUnits], const std::byte* from, uint64_t stride) {
  TUTTI_UNROLL
  for (uint32_t u = 0; u < kUnits; ++u) to[u] = Machine::template load<Unit>(from + u * stride);
}

// kUnits units, the first of them `at` bytes from the operands' beginnings, each `stride` bytes behind the one before.
// All are read before the first is written, since a target may be a source; and each source is asked for while the one
// before it is reduced, so that the memory always has something to do.
template <class Format, class Op, class Unit, uint32_t kUnits, class Machine, class Operands>
TUTTI_DEVICE void fold_units(const Operands& operands, uint64_t at, uint64_t stride, const Divisor& divisor) {
  Unit first[kUnits], next[kUnits];
  load_units<Machine>(first, operands.source(0) + at, stride);
  const uint32_t sources = operands.sources();
  if (sources > 1) load_units<Machine>(next, operands.source(1) + at, stride);
  Partial<Format, Op, Unit> result[kUnits];
  TUTTI_UNROLL
  for (uint32_t u = 0; u < kUnits; ++u) result[u].begin(first[u]);
  TUTTI_LOOP
  for (uint32_t s = 1; s < sources; ++s) {
    Unit current[kUnits];
    TUTTI_UNROLL
    for (uint32_t u = 0; u < kUnits; ++u) current[u] = next[u];
    if (s + 1 < sources) load_units<Machine>(next, operands.source(s + 1) + at, stride);
    TUTTI_UNROLL
    for (uint32_t u = 0; u < kUnits; ++u) result[u].add(current[u]);
  }
  Unit written[kUnits];
  TUTTI_UNROLL
  for (uint32_t u = 0; u < kUnits; ++u) written[u] = result[u].finished(divisor);
  TUTTI_LOOP
  for (uint32_t t = 0; t < operands.targets(); ++t) {
    std::byte* const to = operands.target(t) + at;
    TUTTI_UNROLL
    for (uint32_t u = 0; u < kUnits; ++u) Machine::store(to + u * stride, written[u]);
  }
}

// What one block of `parts` does of a fold of `bytes` bytes.  Elements are aligned, and no more is asked: where all
// operands have the same place within 16 bytes, what lies between multiples of 16 goes in vectors, else everything by
// elements.  kVectors: how many of each source a thread reads at once.
template <class Format, class Op, uint32_t kVectors, class Machine, class Operands>
TUTTI_DEVICE void fold(const Machine& machine, const Operands& operands, uint64_t bytes, const Divisor& divisor, uint32_t part,
                       uint32_t parts) {
  using Element = Raw<typename Format::Stored>;
  constexpr uint32_t kElements = sizeof(Element) == 8 ? 2 : 4;
  const auto place = reinterpret_cast<uintptr_t>(operands.source(0));
  uintptr_t apart = 0;
  TUTTI_LOOP
  for (uint32_t s = 1; s < operands.sources(); ++s) apart |= reinterpret_cast<uintptr_t>(operands.source(s)) ^ place;
  TUTTI_LOOP
  for (uint32_t t = 0; t < operands.targets(); ++t) apart |= reinterpret_cast<uintptr_t>(operands.target(t)) ^ place;

  const uint64_t thread = machine.thread(), threads = machine.threads();
  const uint64_t worker = part * threads + thread, workers = parts * threads;
  uint64_t begin = 0, end = 0;  // of what does not go by single elements
  if (apart % sizeof(Vector) == 0) {
    begin = (0 - place) % sizeof(Vector);
    if (begin > bytes) begin = bytes;
    const uint64_t vectors = (bytes - begin) / sizeof(Vector);
    end = begin + vectors * sizeof(Vector);
    const uint64_t tile = kVectors * threads, tiles = vectors / tile;
    TUTTI_LOOP
    for (uint64_t t = part; t < tiles; t += parts)
      fold_units<Format, Op, Vector, kVectors, Machine>(operands, begin + (t * tile + thread) * sizeof(Vector),
                                                        threads * sizeof(Vector), divisor);
    TUTTI_LOOP
    for (uint64_t v = tiles * tile + worker; v < vectors; v += workers)
      fold_units<Format, Op, Vector, 1, Machine>(operands, begin + v * sizeof(Vector), 0, divisor);
  } else {
    const uint64_t tile = kElements * threads, tiles = bytes / sizeof(Element) / tile;
    end = tiles * tile * sizeof(Element);
    TUTTI_LOOP
    for (uint64_t t = part; t < tiles; t += parts)
      fold_units<Format, Op, Element, kElements, Machine>(operands, (t * tile + thread) * sizeof(Element),
                                                          threads * sizeof(Element), divisor);
  }
  TUTTI_LOOP
  for (uint64_t at = worker * sizeof(Element); at < bytes - (end - begin); at += workers * sizeof(Element))
    fold_units<Format, Op, Element, 1, Machine>(operands, at < begin ? at : at + (end - begin), 0, divisor);
}

}  // namespace tutti::cuda
