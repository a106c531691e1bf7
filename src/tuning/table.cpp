#include "table.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "algorithms.h"
#include "arena.h"
#include "fixed_sizes.h"
#include "pricing.h"
#include "route.h"
#include "spaces.h"

namespace tutti {
namespace {

// Calls of these sizes are priced, and the prices in between interpolated; a size beyond the last costs in proportion.
constexpr std::array<uint64_t, 11> kPriced{256,       1 << 10,   4 << 10, 16 << 10, 32 << 10, 64 << 10,
                                           128 << 10, 256 << 10, 1 << 20, 4 << 20,  64 << 20};
constexpr int kSteps = 6;            // between two priced sizes, after which another algorithm may be the best
constexpr double kTie = 1.05;        // prices that differ by less tell nothing apart: then the usual algorithm is taken
// A price so near the straight line between its neighbours needs no line of its own.
constexpr double kTolerance = 0.02;
constexpr size_t kMostLines = 300;   // of at most 100 bytes: with the machine's numbers less than kLongestTuningFile
constexpr double kNoTolerance = 1e3;  // then all sizes but the last have the same order

// One algorithm's prices.
struct Curve {
  uint8_t algorithm;
  std::string_view name;
  std::array<Price, kPriced.size()> prices;

  double seconds(uint64_t bytes) const {
    const auto above = static_cast<size_t>(std::ranges::upper_bound(kPriced, bytes) - kPriced.begin());
    if (above == 0) return prices[0].seconds;
    if (above == kPriced.size()) return prices.back().seconds * static_cast<double>(bytes) / static_cast<double>(kPriced.back());
    const auto from = static_cast<double>(kPriced[above - 1]), to = static_cast<double>(kPriced[above]);
    return std::lerp(prices[above - 1].seconds, prices[above].seconds, (static_cast<double>(bytes) - from) / (to - from));
  }
  std::string_view bound(uint64_t bytes) const {
    const auto nearest = std::ranges::lower_bound(kPriced, bytes);
    return prices[std::min(static_cast<size_t>(nearest - kPriced.begin()), kPriced.size() - 1)].bound;
  }
};

// The algorithms by price at one size; if the usual one ties with the cheapest, it comes first.
std::vector<const Curve*> ranking(const std::vector<Curve>& curves, uint64_t bytes, std::string_view usual) {
  std::vector<const Curve*> order;
  for (const Curve& curve : curves) order.push_back(&curve);
  std::ranges::stable_sort(order, {}, [bytes](const Curve* curve) { return curve->seconds(bytes); });
  const auto favourite = std::ranges::find(order, usual, &Curve::name);
  if (favourite != order.end() && (*favourite)->seconds(bytes) <= kTie * order[0]->seconds(bytes))
    std::rotate(order.begin(), favourite, favourite + 1);
  return order;
}

// Sizes from which one order of algorithms holds until the next.
struct Segment {
  uint64_t from, to;
  std::vector<const Curve*> order;
};

// The sizes at which the order is looked at: those that are priced, and some in between.
std::vector<uint64_t> looked_at() {
  std::vector<uint64_t> sizes{0};
  for (size_t i = 0; i + 1 < kPriced.size(); ++i)
    for (int step = 0; step < kSteps; ++step) {
      const double ratio = static_cast<double>(kPriced[i + 1]) / static_cast<double>(kPriced[i]);
      const auto bytes = static_cast<uint64_t>(static_cast<double>(kPriced[i]) * std::pow(ratio, step / double{kSteps}));
      sizes.push_back(bytes / 64 * 64);
    }
  sizes.push_back(kPriced.back());
  return sizes;
}

// Is the straight line from `from` to `to` close to the prices in between?
bool is_straight(const Curve& curve, uint64_t from, uint64_t to, double tolerance) {
  const double first = curve.seconds(from), last = curve.seconds(to);
  return std::ranges::all_of(kPriced, [&](uint64_t bytes) {
    if (bytes <= from || bytes >= to) return true;
    const double on_line = std::lerp(first, last, static_cast<double>(bytes - from) / static_cast<double>(to - from));
    return std::abs(on_line - curve.seconds(bytes)) <= tolerance * curve.seconds(bytes);
  });
}

// Does the order that holds until `from` hold until `to` as well?
bool goes_on(const Segment& segment, const Curve& best, const std::vector<Curve>& curves, uint64_t from, uint64_t to,
             double tolerance) {
  if (segment.order[0] != &best && segment.order[0]->seconds(from) > (1 + tolerance) * best.seconds(from)) return false;
  return std::ranges::all_of(curves, [&](const Curve& curve) { return is_straight(curve, segment.from, to, tolerance); });
}

std::vector<Segment> segments_of(const std::vector<Curve>& curves, const RouteTerms& terms, Collective collective,
                                 double tolerance) {
  static const std::vector<uint64_t> kSizes = looked_at();
  const auto order_at = [&](uint64_t bytes) { return ranking(curves, bytes, usual_algorithm(terms, collective, bytes).name); };
  std::vector<Segment> segments;
  for (size_t i = 0; i + 1 < kSizes.size(); ++i) {
    std::vector<const Curve*> order = order_at(kSizes[i]);
    if (!segments.empty() && goes_on(segments.back(), *order[0], curves, kSizes[i], kSizes[i + 1], tolerance))
      segments.back().to = kSizes[i + 1];
    else
      segments.push_back({kSizes[i], kSizes[i + 1], std::move(order)});
  }
  segments.push_back({kSizes.back(), UINT64_MAX, order_at(kSizes.back())});
  return segments;
}

uint64_t nanoseconds(double seconds) { return static_cast<uint64_t>(std::clamp(std::round(seconds * 1e9), 1.0, 1e15)); }

std::vector<Curve> curves_of(const RouteTerms& terms, Collective collective, Pricing& pricing) {
  std::vector<Curve> curves;
  for (size_t i = 0; i < algorithms().size(); ++i) {
    const Algorithm& algorithm = algorithms()[i];
    if (algorithm.collective != collective) continue;
    if (algorithm.needs_hosts && terms.team.hosts() == 1) continue;  // there it is others, at greater length
    Curve& curve = curves.emplace_back();
    curve.algorithm = static_cast<uint8_t>(i);
    curve.name = algorithm.name;
    if (collective == Collective::barrier) {
      curve.prices.fill(pricing.of(curve.algorithm, 1));
    } else {
      for (size_t k = 0; k < kPriced.size(); ++k) curve.prices[k] = pricing.of(curve.algorithm, kPriced[k]);
    }
  }
  return curves;
}

TuningRule line(Collective collective, std::string_view algorithm, uint64_t from, uint64_t to) {
  TuningRule rule;
  rule.collective = collective;
  rule.from = from;
  rule.to = to;
  rule.algorithm = algorithm;
  return rule;
}

void add_flat(std::vector<TuningRule>& table, const RouteTerms& terms, Collective collective, const Pricing& pricing) {
  if (!flat_serves(terms, collective, 1)) return;
  const uint64_t most = memory::flat_bytes(static_cast<uint32_t>(terms.size));
  TuningRule& rule = table.emplace_back(line(collective, "flat", 0, most + 1));
  rule.from_ns = nanoseconds(pricing.of_flat(1).seconds);
  rule.to_ns = nanoseconds(pricing.of_flat(most).seconds);
  rule.bound = pricing.of_flat(1).bound;
}

void add_plans(std::vector<TuningRule>& table, const RouteTerms& terms, Collective collective, const std::vector<Curve>& curves,
               double tolerance) {
  if (curves.empty()) return;
  for (const Segment& segment : segments_of(curves, terms, collective, tolerance))
    for (const Curve* curve : segment.order) {
      TuningRule& rule = table.emplace_back(line(collective, curve->name, segment.from, segment.to));
      rule.from_ns = nanoseconds(curve->seconds(segment.from));
      rule.to_ns = segment.to == UINT64_MAX ? rule.from_ns : nanoseconds(curve->seconds(segment.to));
      rule.bound = curve->bound(segment.from);
    }
}

}  // namespace

bool is_priced(Collective collective) { return !is_scan(collective); }

std::vector<TuningRule> table_of(const RouteTerms& terms, const MachineProfile& profile) {
  Pricing pricing(terms, profile);
  std::array<std::vector<Curve>, kCollectives - 1> curves;
  for (size_t i = 0; i < curves.size(); ++i)
    if (const auto collective = static_cast<Collective>(i); is_priced(collective))
      curves[i] = curves_of(terms, collective, pricing);
  std::vector<TuningRule> table;
  for (double tolerance = kTolerance; table.empty() || (table.size() > kMostLines && tolerance < kNoTolerance); tolerance *= 2) {
    table.clear();
    for (size_t i = 0; i < curves.size(); ++i) {
      add_flat(table, terms, static_cast<Collective>(i), pricing);
      add_plans(table, terms, static_cast<Collective>(i), curves[i], tolerance);
    }
  }
  return table;
}

}  // namespace tutti
