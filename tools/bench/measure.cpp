#include "measure.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>

namespace tutti::bench {
namespace {

constexpr double kBudgetNs = 0.4e9, kWarmUpBudgetNs = 0.1e9;  // of one size, preparation of buffers included
// Iterations, where the user named no number.  Few are enough only where each takes long.
constexpr int kMost = 1000;
int fewest(const Workload& work) { return work.bytes() <= 1 << 20 ? 20 : 4; }

// No rank ever contributes this byte: bytes that a call forgot to write are found.
constexpr int kPoison = 0xA5;

int fitting(double budget_ns, double each_ns, int least, int most) {
  return static_cast<int>(std::clamp(budget_ns / std::max(each_ns, 1.0), static_cast<double>(least), static_cast<double>(most)));
}

// Nearest rank, on sorted values.
double percentile(const std::vector<double>& sorted, double share) {
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::clamp<size_t>(rank, 1, sorted.size()) - 1];
}

}  // namespace

struct Bench::Series {
  Workload work;
  bool in_place;
  std::string algorithm;
  Pattern pattern;
  size_t slots;
  tutti_call_options call_options{};
  CodecHandle codec;
  std::optional<Gradients> gradients;  // what is sent with a codec
  Launch launch;
  std::map<size_t, Graph> graphs;  // by how many calls are in them

  Series(const Workload& w, bool at_place, const std::string& name, const Rotation& rotation, Launch way)
      : work(w),
        in_place(at_place),
        algorithm(name),
        pattern(w.type, reduces(w.kind) ? std::optional(w.op) : std::nullopt, w.ranks),
        slots(rotation.slots(w.buffer_bytes())),
        launch(way) {
    tutti_call_options_init(&call_options);
    if (launch != Launch::blocking) call_options.stream = rotation.device()->stream();
    if (!algorithm.empty()) call_options.algorithm = algorithm.c_str();
  }
  Series(const Series&) = delete;  // call_options points into it

  Status set_codec(const std::string& spec) {
    if (spec.empty()) return {};
    auto opened = open_codec(spec, work);
    if (!opened.ok()) return opened.status();
    codec = std::move(*opened);
    call_options.codec = codec.get();
    gradients.emplace(work.type, work.count, work.rank, work.ranks);
    return {};
  }
};

Status Bench::prepare(const Series& series, size_t slot, uint64_t turn) const {
  const Workload& work = series.work;
  const Placed data = place(work, rotation_.view(slot, work.buffer_bytes()), series.in_place);
  const bool input_covers_output = series.in_place && work.input_elements() >= work.output_elements();
  if (data.output != nullptr && !(data.input != nullptr && input_covers_output))
    std::memset(data.output, kPoison, work.output_elements() * type_size(work.type));
  if (series.gradients)
    series.gradients->fill(data.input, work.count, turn);
  else if (data.input != nullptr)
    series.pattern.fill(data.input, work.input_elements(), work.rank, turn);
  return rotation_.send(slot, work.buffer_bytes());
}

Result<uint64_t> Bench::wrong_in(const Series& series, size_t slot, uint64_t turn) const {
  const Workload& work = series.work;
  if (Status s = rotation_.fetch(slot, work.buffer_bytes()); !s.ok()) return s;
  const Placed data = place(work, rotation_.view(slot, work.buffer_bytes()), series.in_place);
  uint64_t wrong = 0;
  for (const Expected& run : expected_output(work)) {
    const std::byte* found = data.output + run.output_offset * type_size(work.type);
    wrong += series.pattern.count_wrong(found, run.elements, run.from, run.start, turn);
  }
  return wrong;
}

Status Bench::call_slot(const Series& series, size_t slot) const {
  const Placed data = place(series.work, rotation_.slot(slot, series.work.buffer_bytes()), series.in_place);
  return job_.failure(call(job_.comm(), series.work, data, &series.call_options));
}

Status Bench::call_each(const Series& series, size_t calls, std::vector<uint64_t>& times) const {
  uint64_t last = ticks();
  for (size_t i = 0; i < calls; ++i) {
    if (Status s = call_slot(series, i); !s.ok()) return s;
    const uint64_t now = ticks();
    times.push_back(now - last);
    last = now;
  }
  return {};
}

Status Bench::put_all(Series& series, size_t calls, std::vector<uint64_t>& times) const {
  const Device& device = *rotation_.device();
  const uint64_t start = ticks();
  if (series.launch == Launch::graph) {
    if (Status s = device.launch(series.graphs.at(calls)); !s.ok()) return s;
  } else {
    for (size_t i = 0; i < calls; ++i)
      if (Status s = call_slot(series, i); !s.ok()) return s;
  }
  if (Status s = device.wait(); !s.ok()) return s;
  times.insert(times.end(), calls, (ticks() - start) / calls);
  return job_.failure(tutti_comm_status(job_.comm()));
}

Status Bench::capture(Series& series, size_t calls) const {
  if (series.graphs.contains(calls)) return {};
  auto graph = rotation_.device()->capture([&] {
    Status status;
    for (size_t i = 0; i < calls && status.ok(); ++i) status = call_slot(series, i);
    return status;
  });
  if (graph.status().code() == Code::unsupported)
    return Status(Code::unsupported, graph.status().message() + " (outside of one: " + reason_ + ")");
  if (!graph.ok()) return graph.status();
  series.graphs.emplace(calls, std::move(*graph));
  return {};
}

Status Bench::run(Series& series, int iterations, int checked, std::vector<uint64_t>& times, uint64_t& wrong) {
  const auto total = static_cast<size_t>(iterations);
  const size_t unchecked = total - std::min(total, static_cast<size_t>(checked));
  for (size_t done = 0; done < total;) {
    const size_t pass = std::min(total - done, series.slots);
    for (size_t i = 0; i < pass; ++i)
      if (Status s = prepare(series, i, turn_ + i); !s.ok()) return s;
    if (series.launch == Launch::graph)
      if (Status s = capture(series, pass); !s.ok()) return s;
    if (Status s = job_.barrier(); !s.ok()) return s;
    const Status called = series.launch == Launch::blocking ? call_each(series, pass, times) : put_all(series, pass, times);
    if (!called.ok()) return called;
    for (size_t i = done < unchecked ? std::min(unchecked - done, pass) : 0; i < pass; ++i) {
      const auto found = wrong_in(series, i, turn_ + i);
      if (!found.ok()) return found.status();
      wrong += *found;
    }
    turn_ += pass;
    done += pass;
  }
  return {};
}

// Returns how many iterations to time.
Result<int> Bench::warm_up(Series& series) {
  std::vector<uint64_t> times;
  uint64_t wrong = 0;
  const uint64_t start = now_ns();
  int warm = options_.iterations ? options_.warmup : 1;
  if (Status s = run(series, warm, 0, times, wrong); !s.ok()) return s;
  if (options_.iterations) return *options_.iterations;
  // The first iteration tells what can be afforded; all ranks go by the slowest.
  const auto first = job_.gather(static_cast<double>(now_ns() - start));
  if (!first.ok()) return first.status();
  warm = fitting(kWarmUpBudgetNs, std::ranges::max(*first), 1, std::max(options_.warmup, 1));
  const uint64_t again = now_ns();
  if (Status s = run(series, warm, 0, times, wrong); !s.ok()) return s;
  const auto each = job_.gather(static_cast<double>(now_ns() - again) / warm);
  if (!each.ok()) return each.status();
  return fitting(kBudgetNs, std::ranges::max(*each), fewest(series.work), kMost);
}

Result<Timing> Bench::combine(const std::vector<uint64_t>& times, std::optional<uint64_t> wrong) const {
  const auto all = job_.gather_all(times);
  if (!all.ok()) return all.status();
  const size_t iterations = times.size();
  const auto ranks = static_cast<size_t>(job_.size());
  std::vector<double> means(ranks), slowest(iterations);
  for (size_t r = 0; r < ranks; ++r) {
    for (size_t i = 0; i < iterations; ++i) {
      const double us = watch_.ns((*all)[r * iterations + i]) / 1e3;
      means[r] += us / static_cast<double>(iterations);
      slowest[i] = std::max(slowest[i], us);
    }
  }
  std::ranges::sort(slowest);
  Timing timing;
  timing.min_us = slowest.front();
  timing.p50_us = percentile(slowest, 0.50);
  timing.p95_us = percentile(slowest, 0.95);
  timing.p99_us = percentile(slowest, 0.99);
  timing.fastest_rank_us = std::ranges::min(means);
  timing.slowest_rank_us = std::ranges::max(means);
  const double average = std::accumulate(means.begin(), means.end(), 0.0) / static_cast<double>(ranks);
  switch (options_.across) {
    case Across::rank0: timing.time_us = means.front(); break;
    case Across::average: timing.time_us = average; break;
    case Across::minimum: timing.time_us = timing.fastest_rank_us; break;
    case Across::maximum: timing.time_us = timing.slowest_rank_us; break;
  }
  timing.iterations = static_cast<int>(iterations);
  if (!wrong) return timing;
  const auto counts = job_.gather(*wrong);
  if (!counts.ok()) return counts.status();
  timing.wrong = std::accumulate(counts->begin(), counts->end(), uint64_t{0});
  return timing;
}

Result<Timing> Bench::time(const Workload& work, bool in_place, const std::string& algorithm) {
  Series series(work, in_place, algorithm, rotation_, options_.launch);
  if (Status s = series.set_codec(options_.codec); !s.ok()) return s;
  const auto iterations = warm_up(series);
  if (!iterations.ok()) return iterations.status();
  std::vector<uint64_t> times;
  times.reserve(static_cast<size_t>(*iterations));
  const bool checks = options_.check > 0 && !series.codec && work.kind != Kind::barrier && series.pattern.exact();
  uint64_t wrong = 0;
  if (Status s = run(series, *iterations, checks ? options_.check : 0, times, wrong); !s.ok()) return s;
  wrong_here_ += wrong;
  return combine(times, checks ? std::optional(wrong) : std::nullopt);
}

// With a codec results are near, not equal: they are tried apart from the timed calls.
Result<Timing> Bench::time_coded(const Workload& work, bool in_place, const std::string& algorithm,
                                 std::optional<CodecFigures>& figures) {
  auto timing = time(work, in_place, algorithm);
  if (!timing.ok() || options_.codec.empty()) return timing;
  CodecTrial trial(job_, work, options_.codec, algorithm, rotation_);
  auto found = trial.run(in_place);
  if (!found.ok()) return found.status();
  const uint64_t wrong = found->kept_promises ? 0 : work.count;
  wrong_here_ += wrong;
  timing->wrong = wrong;
  if (!figures) figures = std::move(*found);
  return timing;
}

Result<Choice> Bench::try_once(const Workload& work, const std::string& algorithm) {
  // A call that is put on a stream tells the same, but for a barrier, which has no buffers that would be a device's.
  Series series(work, false, algorithm, rotation_, work.kind == Kind::barrier ? options_.launch : Launch::blocking);
  if (Status s = series.set_codec(options_.codec); !s.ok()) return s;
  std::vector<uint64_t> times;
  uint64_t wrong = 0;
  if (Status s = run(series, 1, 0, times, wrong); !s.ok()) return s;
  const tutti_stats stats = job_.stats();
  reason_ = stats.last_reason;
  return Choice{stats.last_algorithm, stats.last_reason, stats.transports, stats.last_lanes, stats.last_stripe_bytes};
}

Result<Row> Bench::measure(const Workload& work, const std::string& algorithm) {
  Row row{.work = work, .choice = {}, .placement = {}, .out_of_place = {}, .in_place = {}, .codec = {}};
  const auto choice = try_once(work, algorithm);
  if (!choice.ok()) return choice.status();
  row.choice = *choice;
  const auto before = probe_.look(job_, watch_);
  if (!before.ok()) return before.status();
  const auto out_of_place = time_coded(work, false, algorithm, row.codec);
  if (!out_of_place.ok()) return out_of_place.status();
  row.out_of_place = *out_of_place;
  if (has_in_place(work.kind) && !options_.osu) {
    const auto in_place = time_coded(work, true, algorithm, row.codec);
    if (!in_place.ok()) return in_place.status();
    row.in_place = *in_place;
  }
  const auto after = probe_.look(job_, watch_);
  if (!after.ok()) return after.status();
  row.placement = placement_between(*before, *after);
  row.round_trip_before_ns = before->round_trip_ns;
  row.round_trip_after_ns = after->round_trip_ns;
  return row;
}

}  // namespace tutti::bench
