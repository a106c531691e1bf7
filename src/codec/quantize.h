// Quantization: each number of a group of d becomes one of a few whole numbers times a scale Δ that travels in float32.
//
// range=absmax  q = -L … L,  x ≈ qΔ,  Δ = max|x| / L.  Zero is exact.  (QSGD with the max norm: Alistarh et al. 2017,
// §3; with the 2-norm
//                error feedback diverges.)
// range=minmax  q = 0 … S,  x ≈ (min+max)/2 + (q - S/2)Δ,  Δ = (max-min) / S,  S = 2L+1.  (CGX: Markov et al. 2022.)
// clip=k  absmax of min(max|x|, kσ), σ² = ‖x‖²/d, about zero, so that a constant is not clipped.  (TernGrad: Wen et al.
// 2017, k = 2.5.) round=  nearest, ties to even; or stochastic: up with the probability of the fraction, so that E q =
// x/Δ.
//
// Bounds.  Let m = max|x|.
//   absmax, nearest.  A number's error is at most Δ/2 and at most its magnitude, m's is none.  The worst chunk has m
//                     once and Δ/2 (which
//   rounds to zero) d-1 times:  ‖x-C‖²/‖x‖² ≤ (d-1)(Δ/2)² / (m² + (d-1)(Δ/2)²),  hence  δ = 4L² / (4L² + d-1).
//   absmax, stochastic.  In units of Δ a number x = j + f, 0 ≤ f < 1, has the variance f(1-f).  The worst chunk has L
//                        once and one x < 1
//   otherwise; the greatest (d-1)(x-x²) / (L² + (d-1)x²) is at x = L/(√(L²+d-1) + L) and is  ω = (√(1 + (d-1)/L²) - 1)
//   / 2.
//   minmax.  Only the ends are exact and ‖x‖² ≥ min²+max² ≥ (SΔ)²/2, while an error is at most Δ/2 and a variance at
//            most Δ²/4; the worst
//   has zeros midway between two steps:  1-δ = ω = (d-2) / (2S²).
//   With feedback a stochastic C is scaled by a = 1/(1+ω): E‖x-aC‖² = ‖x‖²(1-a)² + a²E‖x-C‖² ≤ ‖x‖²((1-a)² + a²ω) =
//   ‖x‖²(1-a), so δ = a.
//   clip, where it clips.  Let y be x clipped at c = kσ.  Nearest: each clipped number's square falls by at least c²,
//                          no other's grows, so
//   δ ≥ c²/‖x‖² = k²/d.  Stochastic, scaled by a:  E‖x-aC(y)‖² ≤ ‖x‖² - 2a⟨x,y⟩ + a²(1+ω)‖y‖² ≤ ‖x‖² - a‖y‖²,  so δ ≥ a
//                        k²/d.
//   A denormal Δ is rounded up to a multiple of 2^-149, which can add half of that to an error.
//
// The groups: 1024 numbers at 8 bits, where the rounding is small in any case; 512 below, where normal numbers gain 0.6
// dB by the smaller maximum and a packet is still 7.8 times smaller than float32 at 4 bits.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "dense.h"

namespace tutti::dense {

struct Quantization {
  Layout layout;
  uint32_t levels = 127;  // L
  double clip_sigma = 0;
  bool stochastic = false;
  bool minmax = false;

  // A code c ≥ 0 stands for middle + (c - offset)Δ, |c - offset| ≤ reach.
  float offset() const { return minmax ? reach() : static_cast<float>(1u << (layout.bits - 1)); }
  float reach() const { return static_cast<float>(levels) + (minmax ? 0.5f : 0.0f); }
  double omega(size_t n) const;
  double delta(size_t n) const;
};

struct Group {
  float up = 1;                 // a power of two that makes denormal sums normal
  float inverse = 0;            // 1/(up Δ)
  float center = 0;             // of what is encoded
  float scale = 0, middle = 0;  // of the packet: Δ and the center, damped with feedback
};

// For numbers within `half` of the center, which `reach` steps are to cover.
inline Group group_of(float half, float center, float reach, float damping) {
  Group group{.center = center, .middle = center * damping};
  float step = half / reach;
  if (step < std::numeric_limits<float>::min()) {
    step = static_cast<float>(std::ceil(static_cast<double>(half) / reach * 0x1p149) * 0x1p-149);
    group.up = 0x1p64f;
  }
  while (!std::isfinite(std::fabs(center) + step * reach)) step = std::nextafter(step, 0.0f);
  if (step > 0) group.inverse = 1 / (step * group.up);
  group.scale = step * damping;
  return group;
}

// 8-bit floats, see cast.cpp.
struct Eight {
  Layout layout;
  int mantissa = 3, bias = 7;
  float greatest = 448;
  bool stochastic = false;

  double below_normal(size_t n) const;
  double omega(size_t n) const;
  double delta(size_t n) const;
};

}  // namespace tutti::dense
