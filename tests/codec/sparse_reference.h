// The sparse codecs written down plainly, sharing nothing with src/codec but the specification; and chunks that are
// hard on a selection.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "reference.h"
#include "spec.h"

namespace tutti::reference {

// The places of the k greatest magnitudes, of equal ones the first, in ascending order.
inline std::vector<size_t> greatest(const std::vector<float>& p, size_t k) {
  std::vector<size_t> places(p.size());
  std::iota(places.begin(), places.end(), 0);
  std::stable_sort(places.begin(), places.end(), [&](size_t a, size_t b) { return std::fabs(p[a]) > std::fabs(p[b]); });
  places.resize(k);
  std::sort(places.begin(), places.end());
  return places;
}

inline float int8_scale(float greatest) {
  const float scale = greatest / 127;
  return std::isfinite(scale * 127) ? scale : std::nextafter(scale, 0.0f);
}

// A value after its way through a packet whose greatest value is `greatest`.
inline float through_packet(ValueType type, float value, float greatest) {
  switch (type) {
    case ValueType::fp32: return value;
    case ValueType::fp16: return Half::encode(std::clamp(value, -65504.0f, 65504.0f)).decode();
    case ValueType::bf16: return Brain::encode(std::clamp(value, -0x1.FEp127f, 0x1.FEp127f)).decode();
    case ValueType::int8: break;
  }
  const float scale = int8_scale(greatest);
  return scale == 0 ? 0 : std::nearbyint(std::clamp(value / scale, -127.0f, 127.0f)) * scale;
}

struct Input {
  std::string name;
  std::vector<float> values;
};

inline std::vector<Input> hard_inputs(size_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  std::vector<Input> inputs;
  const auto add = [&](const char* name, auto number) {
    std::vector<float> values(n);
    for (size_t i = 0; i < n; ++i) values[i] = number(i);
    inputs.push_back({name, std::move(values)});
  };
  add("normal", [&](size_t) { return normal(random); });
  add("heavy tails", [&](size_t) { return std::pow(normal(random), 7.0f) * 1e-3f; });
  add("one in a thousand", [&](size_t) { return random() % 1000 == 0 ? normal(random) : 0.0f; });
  add("one in ten", [&](size_t) { return random() % 10 == 0 ? normal(random) : -0.0f; });
  add("zeros", [](size_t) { return 0.0f; });
  add("zeros of both signs", [&](size_t) { return random() % 2 == 0 ? 0.0f : -0.0f; });
  add("all equal", [](size_t) { return -2.5f; });
  add("equal but for the sign", [&](size_t) { return random() % 2 == 0 ? 1.0f : -1.0f; });
  add("few different ones", [&](size_t) { return static_cast<float>(random() % 7) - 3; });
  add("powers of two", [](size_t i) { return std::ldexp(1.0f, static_cast<int>(i * 37 % 250) - 149); });
  add("one huge", [&](size_t i) { return i == n / 2 ? std::numeric_limits<float>::max() : 1e-30f * normal(random); });
  add("ascending", [](size_t i) { return static_cast<float>(i); });
  add("descending", [n](size_t i) { return -static_cast<float>(n - i); });
  add("neighbouring floats", [&](size_t) { return 1 + static_cast<float>(random() % 64) * 0x1p-23f; });
  add("denormal", [&](size_t) { return static_cast<float>(random() % 1000) * (random() % 2 == 0 ? 0x1p-149f : -0x1p-149f); });
  add("any finite bits", [&](size_t) {
    float x;
    do {
      const auto bits = static_cast<uint32_t>(random());
      std::memcpy(&x, &bits, sizeof x);
    } while (!std::isfinite(x));
    return x;
  });
  // Great elements where a bound from the maxima of groups i % 272 is worst: all in one group, in a run, in a column of
  // a matrix.
  add("one group", [&](size_t i) { return i % 272 == 5 ? 100 + normal(random) : normal(random); });
  add("a run", [&](size_t i) { return i / 64 == n / 200 ? 100 + normal(random) : normal(random) * 1e-3f; });
  add("a column", [&](size_t i) { return i % 256 == 17 ? 100 + normal(random) : normal(random); });
  return inputs;
}

// Where values travel as they are: each element, to the bit, is either what was sent or what was kept, and the other is
// zero.  Only a zero's sign is lost if it is sent.
inline bool is_divided(const std::vector<float>& input, const std::vector<float>& sent, const std::vector<float>& kept) {
  const auto bits = [](float x) { return std::bit_cast<uint32_t>(x); };
  for (size_t i = 0; i < input.size(); ++i) {
    const bool went = bits(sent[i]) == bits(0.0f + input[i]) && bits(kept[i]) == 0;
    const bool stayed = bits(kept[i]) == bits(input[i]) && bits(sent[i]) == 0;
    if (!went && !stayed) return false;
  }
  return true;
}

}  // namespace tutti::reference
