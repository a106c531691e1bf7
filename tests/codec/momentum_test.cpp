// Deep Gradient Compression's momentum correction and clipping.
#include "momentum.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "every_target.h"
#include "kernels.h"
#include "reference.h"

namespace tutti {
namespace {

using Floats = std::vector<float>;

CodecSpec dgc(double momentum, double clip_norm) {
  CodecSpec spec;
  spec.kind = CodecKind::topk;
  spec.momentum = momentum;
  spec.clip_norm = clip_norm;
  return spec;
}

Floats normals(size_t n, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  Floats numbers(n);
  for (float& x : numbers) x = normal(random);
  return numbers;
}

TEST(ClippingTest, BringsTheNormToTheRanksShare) {
  const Floats gradient = {3, -4};
  EXPECT_EQ(clipping(dgc(0.9, 0), gradient.data(), DataType::float32, 2, 4), 1);
  EXPECT_EQ(clipping(dgc(0.9, 10), gradient.data(), DataType::float32, 2, 4), 1);
  EXPECT_EQ(clipping(dgc(0.9, 5), gradient.data(), DataType::float32, 2, 4), 0.5f);
  EXPECT_EQ(clipping(dgc(0.9, 1), gradient.data(), DataType::float32, 2, 1), 0.2f);
  const Floats zeros(1000);
  EXPECT_EQ(clipping(dgc(0.9, 1), zeros.data(), DataType::float32, 1000, 1), 1);
  EXPECT_EQ(clipping(dgc(0.9, 1), nullptr, DataType::float32, 0, 1), 1);
  const Floats huge(1000, 1e38f);  // whose squares float32 cannot hold
  EXPECT_FLOAT_EQ(clipping(dgc(0.9, 1), huge.data(), DataType::float32, 1000, 1),
                  static_cast<float>(1 / (1e38 * std::sqrt(1000.0))));
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    Floats numbers(1000, 1);
    numbers[500] = bad;
    EXPECT_EQ(clipping(dgc(0.9, 1), numbers.data(), DataType::float32, 1000, 1), 1);
  }
}

// The gradient is the user's, which may lie anywhere.
TEST(ClippingTest, AnyAddressGivesTheSameBits) {
  const CodecSpec spec = dgc(0.9, 0.1);
  for (const DataType type : {DataType::float32, DataType::float16, DataType::bfloat16}) {
    for (const size_t n : {1u, 100u, 5000u}) {
      const Floats numbers = normals(n, n);
      const size_t bytes = n * element_size(type);
      std::vector<std::byte> room(bytes + 3);
      kernels::narrow(type, numbers.data(), room.data(), n);
      const float aligned = clipping(spec, room.data(), type, n, 3);
      for (size_t off = 1; off <= 3; ++off) {
        std::memmove(room.data() + off, room.data() + off - 1, bytes);
        on_every_target([&] { EXPECT_EQ(clipping(spec, room.data() + off, type, n, 3), aligned) << off << " bytes off"; });
      }
    }
  }
}

template <class T>
void expect_clipped(DataType type) {
  for (const size_t n : {1u, 63u, 64u, 1000u, 5000u}) {
    std::vector<T> elements(n);
    double square = 0;
    const Floats numbers = normals(n, n);
    for (size_t i = 0; i < n; ++i) {
      elements[i] = reference::round<T>(numbers[i]);
      square += std::pow(static_cast<double>(reference::widen(elements[i])), 2);
    }
    const double expected = 0.1 / std::sqrt(3) / std::sqrt(square);
    const CodecSpec spec = dgc(0.9, 0.1);
    const float first = clipping(spec, elements.data(), type, n, 3);
    EXPECT_NEAR(first, std::min(expected, 1.0), 1e-6 * expected);
    on_every_target([&] { EXPECT_EQ(clipping(spec, elements.data(), type, n, 3), first); });
  }
}

TEST(ClippingTest, EveryTypeOnEveryTarget) {
  expect_clipped<float>(DataType::float32);
  expect_clipped<reference::Half>(DataType::float16);
  expect_clipped<reference::Brain>(DataType::bfloat16);
}

TEST(MomentumTest, Accumulates) {
  for (const size_t n : {1u, 15u, 16u, 17u, 1000u}) {
    const Floats gradient = normals(n, 1), before = normals(n, 2);
    Floats expected(n);
    for (size_t i = 0; i < n; ++i) {
      const float kept = 0.9f * before[i], added = 0.25f * gradient[i];
      expected[i] = kept + added;
    }
    on_every_target([&] {
      Floats velocity = before, value(n), in_place = gradient;
      add_momentum(dgc(0.9, 1), gradient.data(), velocity.data(), 0.25f, n, value.data());
      EXPECT_EQ(velocity, expected);
      EXPECT_EQ(value, expected);
      velocity = before;
      add_momentum(dgc(0.9, 1), in_place.data(), velocity.data(), 0.25f, n, in_place.data());
      EXPECT_EQ(velocity, expected);
      EXPECT_EQ(in_place, expected);
    });
  }
}

TEST(MomentumTest, WhatIsNotFiniteDoesNotStay) {
  for (const float bad :
       {std::nanf(""), -std::nanf(""), std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()})
    for (const size_t place : {0u, 50u, 99u})
      on_every_target([&] {
        Floats gradient(100, 1), velocity(100, 2), value(100);
        gradient[place] = bad;
        add_momentum(dgc(0.5, 0), gradient.data(), velocity.data(), 1, 100, value.data());
        EXPECT_EQ(velocity, Floats(100, 2));
        EXPECT_FALSE(std::isfinite(value[place]));
        EXPECT_EQ(value[(place + 1) % 100], 2);
      });
}

}  // namespace
}  // namespace tutti
