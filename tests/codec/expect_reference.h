// A codec against its scalar reference: packets, residuals and what is decoded, bit for bit on every target.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "every_target.h"
#include "laws.h"
#include "samples.h"
#include "spec.h"

namespace tutti {

inline CodecSpec spec_of(std::string_view text) {
  const auto spec = parse_codec(text);
  EXPECT_TRUE(spec.ok()) << spec.status().message();
  return *spec;
}

// reference(sums, feedback, context, decoded) is the packet, in words.
template <class Reference>
void expect_reference(const std::string& text, const Codec& codec, Reference reference) {
  const testing::ScopedTrace trace(__FILE__, __LINE__, text);
  for (const size_t n : laws::lengths(codec)) {
    for (const laws::Sample& sample : laws::samples(n, n)) {
      const testing::ScopedTrace which(__FILE__, __LINE__, sample.name + ", n = " + std::to_string(n));
      const EncodeContext context{.seed = 3, .step = 14, .rank = 15, .element = 9 * codec.chunk()};
      for (const bool feedback : {false, true}) {
        std::vector<float> kept(n), sums = sample.values, decoded, left(n);
        for (size_t i = 0; feedback && i < n; ++i) kept[i] = sample.values[n - 1 - i] * -0.125f, sums[i] += kept[i];
        if (!std::all_of(sums.begin(), sums.end(), [](float v) { return std::isfinite(v); })) continue;
        const auto expected = reference(sums, feedback, context, decoded);
        for (size_t i = 0; i < n; ++i) left[i] = sums[i] - decoded[i];
        on_every_target([&] {
          std::vector<float> residual = feedback ? kept : std::vector<float>();
          const laws::Packet packet = laws::encode(codec, sample.values, residual, context);
          ASSERT_EQ(packet.bytes(), 4 * expected.size());
          for (size_t i = 0; i < expected.size(); ++i) ASSERT_EQ(packet.word(i), expected[i]) << "word " << i;
          if (feedback) {
            ASSERT_EQ(residual, left);
          }
          ASSERT_EQ(laws::decode(codec, packet, n, context), decoded);
        });
      }
    }
  }
}

}  // namespace tutti
