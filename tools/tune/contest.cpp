#include "contest.h"

#include <sys/mman.h>

#include <algorithm>
#include <cmath>

#include "algorithms.h"
#include "clock.h"

namespace tutti::tune {
namespace {

constexpr double kTurnNs = 5e6;  // one algorithm's turn
constexpr int kMostCalls = 400;  // of one turn

struct Runner {
  const bench::Job& job;
  const bench::Workload& work;
  Region& region;

  Status calls(const std::string& algorithm, int times) {
    tutti_call_options options;
    tutti_call_options_init(&options);
    if (!algorithm.empty()) options.algorithm = algorithm.c_str();
    for (int i = 0; i < times; ++i) {
      const tutti_status status = bench::call(job.comm(), work, region.next(work), &options);
      if (status != TUTTI_SUCCESS) return job.failure(status);
    }
    return {};
  }

  // ns a call on the slowest rank.
  Result<double> turn(const std::string& algorithm, int times) {
    if (Status s = calls(algorithm, 1); !s.ok()) return s;  // its links and caches, and an even start
    if (Status s = job.barrier(); !s.ok()) return s;
    const uint64_t start = now_ns();
    if (Status s = calls(algorithm, times); !s.ok()) return s;
    const auto all = job.gather(static_cast<double>(now_ns() - start) / times);
    if (!all.ok()) return all.status();
    return std::ranges::max(*all);
  }
};

double median(std::vector<double>& values) {
  std::ranges::sort(values);
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

}  // namespace

void Region::Unmap::operator()(std::byte* memory) const { ::munmap(memory, bytes); }

Result<Region> Region::create(size_t bytes) {
  void* base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return Status(Code::out_of_memory, "there is no memory for buffers; give a smaller -e");
  auto* numbers = static_cast<float*>(base);
  for (size_t i = 0; i < bytes / sizeof(float); ++i) numbers[i] = static_cast<float>(i % 7 + 1);
  return Region(static_cast<std::byte*>(base), bytes);
}

bench::Placed Region::next(const bench::Workload& work) {
  const size_t slot = (work.buffer_bytes() + 255) / 256 * 256;
  if (at_ + slot > bytes_) at_ = 0;
  std::byte* memory = memory_.get() + at_;
  at_ += slot;
  return bench::place(work, memory, false);
}

const Contestant* Contest::of(const std::string& algorithm) const {
  const auto found = std::ranges::find(contestants, algorithm, &Contestant::algorithm);
  return found == contestants.end() ? nullptr : &*found;
}

Result<Contest> hold_contest(const bench::Job& job, const bench::Workload& work, Region& region, int hosts, int rounds) {
  Runner runner{job, work, region};
  Contest contest{work, {}, {}, {}};
  if (Status s = runner.calls("", 1); !s.ok()) return s;
  contest.chosen = job.stats().last_algorithm;
  contest.reason = job.stats().last_reason;
  std::vector<std::string> names{"flat"};
  for (const Algorithm& algorithm : algorithms())
    if (tutti::name(algorithm.collective) == bench::name(work.kind) && (hosts > 1 || !algorithm.needs_hosts))
      names.emplace_back(algorithm.name);
  std::vector<int> times;
  for (const std::string& name : names) {
    // The second call tells how many a turn can hold; all ranks go by the slowest.
    const Status possible = runner.calls(name, 1);
    if (possible.code() == Code::unsupported) continue;  // alike on all ranks, and nothing happened
    if (!possible.ok()) return possible;
    contest.contestants.push_back({name, 0, job.stats().last_predicted_us});
    const auto once = runner.turn(name, 1);
    if (!once.ok()) return once.status();
    times.push_back(static_cast<int>(std::clamp(kTurnNs / *once, 1.0, double{kMostCalls})));
  }
  std::vector<std::vector<double>> taken(contest.contestants.size());
  for (int round = 0; round < rounds; ++round)
    for (size_t i = 0; i < taken.size(); ++i) {
      const size_t at = round % 2 == 0 ? i : taken.size() - 1 - i;  // every second round goes backwards
      const auto ns = runner.turn(contest.contestants[at].algorithm, times[at]);
      if (!ns.ok()) return ns.status();
      taken[at].push_back(*ns);
    }
  for (size_t i = 0; i < taken.size(); ++i) contest.contestants[i].measured_us = median(taken[i]) / 1e3;
  std::ranges::stable_sort(contest.contestants, {}, &Contestant::measured_us);
  return contest;
}

}  // namespace tutti::tune
