#include "pattern.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "bench_types.h"

namespace tutti::bench {
namespace {

constexpr size_t kPeriod = 251;

// A few bits that look random; splitmix64's finalizer.
uint64_t mixed(uint64_t a, uint64_t b, uint64_t c) {
  uint64_t x = a * 0x9e3779b97f4a7c15u + b * 0xbf58476d1ce4e5b9u + c * 0x94d049bb133111ebu;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// The largest integer up to which the type holds all of them (integers wrap, so any will do).
int64_t exact_up_to(tutti_dtype type) { return type_size(type) == 2 ? 256 : 1 << 20; }

// Binary16 of an integer in [1, 1024].
uint16_t half_of(int64_t value) {
  const auto bits = static_cast<unsigned>(value);
  unsigned exponent = 0;
  while (exponent < 10 && bits >> (exponent + 1) != 0) ++exponent;
  return static_cast<uint16_t>((exponent + 15) << 10 | (bits << (10 - exponent) & 0x3ff));
}

template <class T>
void store(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

void encode(tutti_dtype type, int64_t value, std::byte* to) {
  switch (type) {
    case TUTTI_INT8:
    case TUTTI_UINT8: return store(to, static_cast<uint8_t>(value));
    case TUTTI_INT16:
    case TUTTI_UINT16: return store(to, static_cast<uint16_t>(value));
    case TUTTI_INT32:
    case TUTTI_UINT32: return store(to, static_cast<uint32_t>(value));
    case TUTTI_INT64:
    case TUTTI_UINT64: return store(to, value);
    case TUTTI_FLOAT16: return store(to, half_of(value));
    case TUTTI_BFLOAT16: return store(to, static_cast<uint16_t>(std::bit_cast<uint32_t>(static_cast<float>(value)) >> 16));
    case TUTTI_FLOAT32: return store(to, static_cast<float>(value));
    case TUTTI_FLOAT64: return store(to, static_cast<double>(value));
  }
}

// Wraps a sum or product that does not fit an integer type.
int64_t wrapped(tutti_dtype type, int64_t value) {
  if (type == TUTTI_INT8) return static_cast<int8_t>(value);
  if (type == TUTTI_UINT8) return static_cast<uint8_t>(value);
  if (type == TUTTI_INT16) return static_cast<int16_t>(value);
  if (type == TUTTI_UINT16) return static_cast<uint16_t>(value);
  return value;  // sums and products here stay far below the limits of the others
}

}  // namespace

bool Pattern::exact() const {
  const bool adds = op_ == TUTTI_SUM || op_ == TUTTI_AVG;
  const bool rounds = type_ == TUTTI_FLOAT16 || type_ == TUTTI_BFLOAT16;
  return !(adds && rounds && ranks_ > exact_up_to(type_));
}

int64_t Pattern::contribution(int rank, size_t position, uint64_t turn) const {
  const auto r = static_cast<uint64_t>(rank);
  const auto ranks = static_cast<uint64_t>(ranks_);
  if (op_ == TUTTI_SUM) {
    const int64_t most = std::clamp<int64_t>(exact_up_to(type_) / ranks_, 1, 8);
    return 1 + static_cast<int64_t>(mixed(r, position, turn) % static_cast<uint64_t>(most));
  }
  if (op_ == TUTTI_AVG) {  // what one rank has more than the average, its neighbour has less
    if (exact_up_to(type_) / ranks_ < 4) return 1;
    const auto average = static_cast<int64_t>(2 + mixed(ranks, position, turn) % 2);
    const bool paired = (r ^ 1) < ranks;
    const auto apart = static_cast<int64_t>(mixed(r / 2, position, turn) % 2);
    return !paired ? average : r % 2 == 0 ? average + apart : average - apart;
  }
  if (op_ == TUTTI_PROD) {  // two ranks in rotation give the factors, the others 1
    const uint64_t first = (position + turn) % ranks, second = (first + ranks / 2) % ranks;
    if (r == first) return static_cast<int64_t>(2 + mixed(ranks, position, turn) % 4);
    return r == second ? 3 : 1;
  }
  return static_cast<int64_t>(1 + mixed(r, position, turn) % 100);
}

int64_t Pattern::reduction(int ranks, size_t position, uint64_t turn) const {
  int64_t result = contribution(0, position, turn);
  for (int rank = 1; rank < ranks; ++rank) {
    const int64_t next = contribution(rank, position, turn);
    switch (*op_) {
      case TUTTI_SUM:
      case TUTTI_AVG: result += next; break;
      case TUTTI_PROD: result *= next; break;
      case TUTTI_MIN: result = std::min(result, next); break;
      case TUTTI_MAX: result = std::max(result, next); break;
      case TUTTI_BAND: result &= next; break;
      case TUTTI_BOR: result |= next; break;
      case TUTTI_BXOR: result ^= next; break;
      case TUTTI_CUSTOM: break;  // not measured
    }
  }
  result = wrapped(type_, result);
  return op_ == TUTTI_AVG ? result / ranks : result;
}

std::vector<std::byte> Pattern::encoded(size_t elements, int rank, uint64_t turn) const {
  const size_t size = type_size(type_);
  std::vector<std::byte> bytes(elements * size);
  for (size_t i = 0; i < elements; ++i)
    encode(type_, rank < 0 ? reduction(-rank, i % kPeriod, turn) : contribution(rank, i % kPeriod, turn), bytes.data() + i * size);
  return bytes;
}

void Pattern::fill(std::byte* memory, size_t elements, int rank, uint64_t turn) const {
  const size_t size = type_size(type_);
  const std::vector<std::byte> period = encoded(std::min(elements, kPeriod), rank, turn);
  for (size_t done = 0; done < elements; done += kPeriod)
    std::memcpy(memory + done * size, period.data(), std::min(elements - done, kPeriod) * size);
}

uint64_t Pattern::count_wrong(const std::byte* memory, size_t elements, int rank, size_t start, uint64_t turn) const {
  const size_t size = type_size(type_);
  // Two periods, so that one that begins at `start` is contiguous.
  const std::vector<std::byte> twice = encoded(start == 0 ? std::min(elements, kPeriod) : 2 * kPeriod, rank, turn);
  const std::byte* period = twice.data() + start % kPeriod * size;
  uint64_t wrong = 0;
  for (size_t done = 0; done < elements; done += kPeriod) {
    const size_t part = std::min(elements - done, kPeriod);
    const std::byte* found = memory + done * size;
    if (std::memcmp(found, period, part * size) == 0) continue;
    for (size_t i = 0; i < part; ++i) wrong += std::memcmp(found + i * size, period + i * size, size) != 0;
  }
  return wrong;
}

}  // namespace tutti::bench
