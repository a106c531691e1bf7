// Chunks to try codecs on: like gradients, and unlike them.
#pragma once

#include <cmath>
#include <cstddef>
#include <random>
#include <string>
#include <vector>

namespace tutti::laws {

struct Sample {
  std::string name;
  std::vector<float> values;
};

// Normal numbers out of uniform ones that are the same with every standard library.
inline float normal(std::mt19937_64& random) {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += static_cast<double>(random() >> 11) * 0x1p-53;
  return static_cast<float>(sum);
}

inline std::vector<Sample> samples(size_t n, uint64_t seed = 1) {
  std::mt19937_64 random(seed);
  std::vector<Sample> all;
  const auto add = [&](std::string name, auto number) {
    std::vector<float> values(n);
    for (size_t i = 0; i < n; ++i) values[i] = number(i);
    all.push_back({std::move(name), std::move(values)});
  };
  add("normal", [&](size_t) { return 0.01f * normal(random); });
  add("heavy tails", [&](size_t) { return 1e-3f * std::pow(normal(random), 5.0f); });
  add("few of many", [&](size_t) { return random() % 50 ? 0.0f : normal(random); });
  add("many scales", [&](size_t) { return std::ldexp(normal(random), static_cast<int>(random() % 80) - 40); });
  // Ties of halves, quarters …
  add("small whole numbers", [&](size_t) { return static_cast<float>(random() % 255) - 127; });
  add("all zero", [](size_t) { return 0.0f; });
  add("all -0", [](size_t) { return -0.0f; });
  add("constant", [](size_t) { return -0.3f; });
  add("one spike", [n](size_t i) { return i == n / 3 ? -1000.0f : 0.001f; });
  add("positive", [&](size_t) { return 5 + 0.1f * normal(random); });
  add("denormal", [&](size_t) { return 0x1p-149f * static_cast<float>(static_cast<int>(random() % 4001) - 2000); });
  add("least denormal", [n](size_t i) { return i == n / 2 ? 0x1p-149f : 0.0f; });
  add("about the least normal", [&](size_t) { return 0x1p-124f * normal(random); });
  add("huge", [&](size_t) { return 0x1p125f * normal(random); });
  add("greatest", [](size_t i) { return i % 2 ? 0x1.fffffep127f : -0x1.fffffep127f; });
  return all;
}

}  // namespace tutti::laws
