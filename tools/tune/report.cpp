#include "report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "byte_units.h"

namespace tutti::tune {
namespace {

std::string time_text(double us) {
  char text[32];
  std::snprintf(text, sizeof text, us < 10 ? "%.2f" : us < 100 ? "%.1f" : "%.0f", us);
  return text;
}

double ratio(const Contest& contest) {
  const Contestant* chosen = contest.of(contest.chosen);
  return chosen ? chosen->measured_us / contest.contestants.front().measured_us : 0;
}

// Of two sizes that were measured, the line between their winners: the geometric mean, as a number that a file can
// hold exactly.
uint64_t between(uint64_t smaller, uint64_t larger) {
  const auto middle = static_cast<uint64_t>(std::sqrt(static_cast<double>(smaller) * static_cast<double>(larger)));
  const uint64_t unit = middle >= 1 << 20 ? 1 << 16 : middle >= 1 << 10 ? 64 : 1;
  return std::max(middle / unit * unit, smaller + 1);
}

}  // namespace

void print_header(bench::Kind kind, int ranks, const std::string& transports) {
  std::printf("# %s, %d ranks (%s): µs, fastest first; predicted in brackets\n", bench::name(kind).data(), ranks,
              transports.c_str());
  std::printf("#%9s  %-10s %10s %10s %6s  %s\n", "size", "chosen", "measured", "predicted", "ratio", "all");
  std::fflush(stdout);
}

void print_row(const Contest& contest) {
  const Contestant* chosen = contest.of(contest.chosen);
  std::string all;
  for (const Contestant& c : contest.contestants)
    all += c.algorithm + " " + time_text(c.measured_us) + " (" + (c.predicted_us > 0 ? time_text(c.predicted_us) : "-") + ")  ";
  std::printf("%10zu  %-10s %10s %10s %6.2f  %s\n", contest.work.bytes(), contest.chosen.c_str(),
              chosen ? time_text(chosen->measured_us).c_str() : "-",
              chosen && chosen->predicted_us > 0 ? time_text(chosen->predicted_us).c_str() : "-", ratio(contest), all.c_str());
  std::fflush(stdout);
}

void print_summary(const std::vector<Contest>& contests) {
  const auto worst = std::ranges::max_element(contests, {}, ratio);
  if (worst == contests.end()) return;
  const auto good = std::ranges::count_if(contests, [](const Contest& contest) { return ratio(contest) <= 1.1; });
  std::printf("# Tutti's choice is within 10 %% of the fastest at %d of %zu sizes; furthest at %s: %.2f times.\n",
              static_cast<int>(good), contests.size(), describe_bytes(worst->work.bytes()).c_str(), ratio(*worst));
}

std::vector<TuningRule> rules_of(const std::vector<Contest>& contests, int hosts) {
  std::vector<TuningRule> rules;
  uint64_t last_size = 0;
  for (const Contest& contest : contests) {
    const auto kind = *collective_named(bench::name(contest.work.kind));
    const bool follows = !rules.empty() && rules.back().collective == kind;
    const Contestant* same = follows ? contest.of(rules.back().algorithm) : nullptr;
    const bool stays = same && same->measured_us <= kClose * contest.contestants.front().measured_us;
    if (!stays) {
      TuningRule rule;
      rule.collective = kind;
      rule.least_ranks = rule.most_ranks = contest.work.ranks;
      rule.least_hosts = rule.most_hosts = hosts;
      rule.algorithm = contest.contestants.front().algorithm;
      if (follows) rules.back().to = rule.from = between(last_size, contest.work.bytes());
      rules.push_back(rule);
    }
    last_size = contest.work.bytes();
  }
  return rules;
}

std::string as_json(const std::vector<Contest>& contests, int hosts, const std::string& transports) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const Contest& contest : contests)
    for (const Contestant& c : contest.contestants)
      rows.push_back({{"collective", bench::name(contest.work.kind)},
                      {"ranks", contest.work.ranks},
                      {"hosts", hosts},
                      {"transports", transports},
                      {"bytes", contest.work.bytes()},
                      {"algorithm", c.algorithm},
                      {"measured_us", c.measured_us},
                      {"predicted_us", c.predicted_us},
                      {"chosen", c.algorithm == contest.chosen}});
  return rows.dump(1) + "\n";
}

}  // namespace tutti::tune
