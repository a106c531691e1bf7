#include "gradients.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

#include "bench_types.h"
#include "kernels.h"

namespace tutti::bench {
namespace {

constexpr size_t kPeriod = 65521;

// Uniform in (0, 1]; splitmix64's finalizer.
double uniform(uint64_t rank, uint64_t position) {
  uint64_t x = (rank + 1) * 0x9e3779b97f4a7c15u + position * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return static_cast<double>(((x ^ (x >> 31)) >> 11) + 1) * 0x1p-53;
}

// Box and Muller's.
std::vector<float> normal(int rank, size_t n) {
  std::vector<float> numbers(n);
  for (size_t i = 0; i < n; ++i) {
    const auto r = static_cast<uint64_t>(rank);
    const double radius = std::sqrt(-2 * std::log(uniform(r, 2 * i))), angle = 2 * std::numbers::pi * uniform(r, 2 * i + 1);
    numbers[i] = static_cast<float>(radius * std::cos(angle));
  }
  return numbers;
}

}  // namespace

std::vector<float> widened(tutti_dtype type, const std::byte* from, size_t n) {
  std::vector<float> numbers(n);
  if (type == TUTTI_FLOAT32)
    std::memcpy(numbers.data(), from, n * sizeof(float));
  else
    kernels::widen(static_cast<DataType>(type), from, numbers.data(), n);
  return numbers;
}

Gradients::Gradients(tutti_dtype type, size_t elements, int rank, int ranks) : type_(type) {
  const size_t period = std::min(elements, kPeriod);
  sums_.resize(period);
  std::vector<std::byte> coded(period * type_size(type));
  for (int r = 0; r < ranks; ++r) {
    const std::vector<float> numbers = normal(r, period);
    if (type == TUTTI_FLOAT32)
      std::memcpy(coded.data(), numbers.data(), coded.size());
    else
      kernels::narrow(static_cast<DataType>(type), numbers.data(), coded.data(), period);
    const std::vector<float> sent = widened(type, coded.data(), period);
    for (size_t i = 0; i < period; ++i) sums_[i] += static_cast<double>(sent[i]);
    if (r == rank) mine_ = coded;
  }
}

size_t Gradients::start(uint64_t turn) const { return static_cast<size_t>(turn * 0x9e3779b97f4a7c15u >> 32) % sums_.size(); }

void Gradients::fill(std::byte* memory, size_t elements, uint64_t turn) const {
  const size_t size = type_size(type_), period = sums_.size();
  for (size_t done = 0, from = start(turn); done < elements; from = 0) {
    const size_t part = std::min(elements - done, period - from);
    std::memcpy(memory + done * size, mine_.data() + from * size, part * size);
    done += part;
  }
}

}  // namespace tutti::bench
