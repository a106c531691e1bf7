// Two small problems on which descent with compressed gradients fails without feedback, and reaches the minimum, 0 at x
// = 0, with it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <random>
#include <vector>

namespace tutti::counterexamples {

// f = share · Σ f_i,  f_i(x) = ⟨v_i, x⟩² + penalty · ‖x‖²
struct Squares {
  std::vector<std::vector<double>> v;
  double penalty, share, rate;

  size_t dimensions() const { return v[0].size(); }
  std::vector<double> start() const { return std::vector<double>(dimensions(), 1); }
  std::vector<float> gradient(size_t i, const std::vector<double>& x) const {
    std::vector<float> g(x.size());
    for (size_t j = 0; j < x.size(); ++j) g[j] = static_cast<float>(2 * inner(i, x) * v[i][j] + 2 * penalty * x[j]);
    return g;
  }
  double loss(const std::vector<double>& x) const {
    double sum = 0;
    for (size_t i = 0; i < v.size(); ++i) {
      sum += inner(i, x) * inner(i, x);
      for (const double c : x) sum += penalty * c * c;
    }
    return share * sum;
  }
  void descend(std::vector<double>& x, const std::vector<float>& direction) const {
    for (size_t j = 0; j < x.size(); ++j) x[j] -= rate * static_cast<double>(direction[j]);
  }

 private:
  double inner(size_t i, const std::vector<double>& x) const {
    double sum = 0;
    for (size_t j = 0; j < x.size(); ++j) sum += v[i][j] * x[j];
    return sum;
  }
};

// For `sign`: S. P. Karimireddy, Q. Rebjock, S. Stich, M. Jaggi, "Error Feedback Fixes SignSGD and other Gradient
// Compression Schemes", ICML 2019, counterexample 3 with ε = 1/2: v = ±(1, -1) + ε(1, 1).  One of the two terms is
// drawn at each step.  The signs of both gradients are ±(1, -1), so x₁ + x₂ stays 2, where f = 2 + 2d², d = x₁ - x₂.
// The step d ← d ∓ 4·rate·(1 ± d) then has a stationary variance of a/(2 - a), a = 4·rate = 0.1, so that f goes to 2 +
// 2·0.1/1.9 on average.
inline Squares two_terms() { return {{{1.5, -0.5}, {-0.5, 1.5}}, 0, 1, 0.025}; }
constexpr double kStuck = 2 + 2 * 0.1 / 1.9;

// For topk, k = 1 of 3: A. Beznosikov, S. Horváth, P. Richtárik, M. Safaryan, "On Biased Compression for Distributed
// Learning", JMLR 24 (2023), example 1, a worker for each term.  At x = t(1, 1, 1) the greatest of worker i's gradient
// is -5.5t at i, so what is sent points uphill, and x grows by 1 + 11/6·rate a step: f = 1.75·(1 + 11/6·0.005)^400 = 67
// after 200 steps.
inline Squares three_workers() { return {{{-3, 2, 2}, {2, -3, 2}, {2, 2, -3}}, 0.25, 1.0 / 3, 0.005}; }
constexpr double kGrown = 67.3;

struct Course {
  double least, mean, last;  // of f; the mean over the second half of the steps
};

// Descends `steps` times on the terms that it draws; `arrives` says what becomes of a gradient.
template <class Arrives>
Course descend_at_random(const Squares& f, int steps, Arrives arrives) {
  std::mt19937 random(1);
  std::vector<double> x = f.start();
  Course course{f.loss(x), 0, 0};
  for (int step = 0; step < steps; ++step) {
    f.descend(x, arrives(f.gradient(random() / 7 % f.v.size(), x)));
    course.last = f.loss(x);
    course.least = std::min(course.least, course.last);
    if (step >= steps / 2) course.mean += course.last / (steps - steps / 2);
  }
  return course;
}

}  // namespace tutti::counterexamples
