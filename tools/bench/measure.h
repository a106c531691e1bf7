// Times one size of one collective on every rank and checks what came out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bench_options.h"
#include "codec_trial.h"
#include "pattern.h"
#include "placement.h"
#include "rotation.h"

namespace tutti::bench {

// How Tutti carried a call out, by its own account.
struct Choice {
  std::string algorithm, reason, transports;
  uint32_t lanes = 0, stripe_bytes = 0;
  bool operator==(const Choice&) const = default;
};

struct Timing {
  double time_us = 0;  // mean of the iterations, across ranks as -a says
  // Of single iterations, each as long as its slowest rank took; of calls that were waited for together, their mean.
  double min_us = 0, p50_us = 0, p95_us = 0, p99_us = 0;
  double fastest_rank_us = 0, slowest_rank_us = 0;  // means
  int iterations = 0;
  std::optional<uint64_t> wrong;  // elements over all ranks; none: not checked
};

struct Row {
  Workload work;
  Choice choice;
  std::string placement;
  double round_trip_before_ns = 0, round_trip_after_ns = 0;
  Timing out_of_place;
  std::optional<Timing> in_place;
  std::optional<CodecFigures> codec;

  double algbw(const Timing& timing) const { return static_cast<double>(work.bytes()) / timing.time_us / 1e3; }  // GB/s
  double busbw(const Timing& timing) const { return algbw(timing) * bus_factor(work.kind, work.ranks); }
};

class Bench {
 public:
  Bench(const Job& job, const Options& options, const Rotation& rotation, PlacementProbe& probe, const Stopwatch& watch)
      : job_(job), options_(options), rotation_(rotation), probe_(probe), watch_(watch) {}

  // Each is collective.  `algorithm` "": as the environment says or Tutti chooses.
  Result<Choice> try_once(const Workload& work, const std::string& algorithm);
  Result<Row> measure(const Workload& work, const std::string& algorithm);
  // On this rank; a rank does not rely on Tutti to learn that Tutti is wrong.
  uint64_t wrong_here() const { return wrong_here_; }

 private:
  struct Series;  // calls that differ only in slot and turn
  Status prepare(const Series& series, size_t slot, uint64_t turn) const;
  Result<uint64_t> wrong_in(const Series& series, size_t slot, uint64_t turn) const;
  Status call_slot(const Series& series, size_t slot) const;
  // One call for each of the first slots, the buffers being ready; the second puts all on the stream and waits once.
  Status call_each(const Series& series, size_t calls, std::vector<uint64_t>& times) const;
  Status put_all(Series& series, size_t calls, std::vector<uint64_t>& times) const;
  Status capture(Series& series, size_t calls) const;
  // Appends each call's ticks to `times` and adds what is wrong in the last `checked` of them to `wrong`.
  Status run(Series& series, int iterations, int checked, std::vector<uint64_t>& times, uint64_t& wrong);
  Result<int> warm_up(Series& series);
  Result<Timing> time(const Workload& work, bool in_place, const std::string& algorithm);
  Result<Timing> time_coded(const Workload& work, bool in_place, const std::string& algorithm,
                            std::optional<CodecFigures>& figures);
  Result<Timing> combine(const std::vector<uint64_t>& times, std::optional<uint64_t> wrong) const;

  const Job& job_;
  const Options& options_;
  const Rotation& rotation_;
  PlacementProbe& probe_;
  const Stopwatch& watch_;
  uint64_t wrong_here_ = 0;
  uint64_t turn_ = 0;   // iterations so far; every one has other values
  std::string reason_;  // of the last choice
};

}  // namespace tutti::bench
