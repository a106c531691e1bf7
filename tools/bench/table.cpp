#include "table.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <map>

#include "byte_units.h"

namespace tutti::bench {
namespace {

std::string format(const char* pattern, ...) __attribute__((format(printf, 1, 2)));
std::string format(const char* pattern, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, pattern);
  // NOLINT(clang-analyzer-valist.Uninitialized): it is started above.
  std::vsnprintf(text, sizeof text, pattern, arguments);
  va_end(arguments);
  return text;
}

// A number in a column: as many decimals, at most two, as leave it inside the width.
std::string fitted(double value, int width) {
  for (int decimals = 2; decimals >= 0; --decimals) {
    std::string text = format("%.*f", decimals, value);
    if (static_cast<int>(text.size()) < width || (decimals == 0 && static_cast<int>(text.size()) == width)) return text;
  }
  return format("%.*e", width >= 7 ? 1 : 0, value);
}

std::string timing_columns(const Row& row, const Timing* timing) {
  if (timing == nullptr) return format("  %7s  %6s  %6s  %6s", "N/A", "N/A", "N/A", "N/A");
  const std::string wrong = timing->wrong ? format("%g", static_cast<double>(*timing->wrong)) : "N/A";
  return format("  %7s  %6s  %6s  %6s", fitted(timing->time_us, 7).c_str(), fitted(row.algbw(*timing), 6).c_str(),
                fitted(row.busbw(*timing), 6).c_str(), wrong.c_str());
}

std::string duration(double us) {
  if (us < 1000) return format(us < 10 ? "%.2f µs" : "%.0f µs", us);
  return us < 1e6 ? format("%.1f ms", us / 1e3) : format("%.2f s", us / 1e6);
}

std::string over(const std::string& transports) {
  const bool shm = transports.find("shm") != std::string::npos, tcp = transports.find("tcp") != std::string::npos;
  if (shm && tcp) return " over shared memory and TCP";
  if (shm) return " over shared memory";
  if (tcp) return " over TCP";
  if (transports.find("ucx") != std::string::npos) return " over UCX";
  return transports.empty() ? "" : " over " + transports;
}

std::string describe(const DeviceInfo& device) {
  return std::to_string(device.device) + " [" + device.pci_bus_id + "] " + device.name;
}

const char* how(Launch launch) {
  switch (launch) {
    case Launch::blocking: return "each is waited for";
    case Launch::stream: return "put on a stream, and waited for together";
    case Launch::graph: return "captured into a graph, which is launched, and waited for together";
  }
  return "";
}

std::string with_hyphens(Kind kind) {
  std::string text(name(kind));
  std::ranges::replace(text, '_', '-');
  return text;
}

}  // namespace

void comment(const std::string& text) {
  std::printf(text.empty() ? "#\n" : "# %s\n", text.c_str());
  std::fflush(stdout);
}

void print_opening(const Options& options, const Roster& roster, const std::vector<DeviceInfo>& devices, const Rotation& rotation,
                   const MemcpyLimit& limit, const Placement& placement) {
  const std::string step =
      options.step_bytes > 0 ? std::to_string(options.step_bytes) + "(bytes)" : std::to_string(options.factor) + "(factor)";
  comment(format("tutti-bench %s: %s, %zu ranks on %d host%s", tutti_version(), name(options.kind).data(), roster.ranks.size(),
                 roster.hosts(), roster.hosts() == 1 ? "" : "s"));
  comment(format("minBytes %llu maxBytes %llu step: %s warmup iters: %d iters: %s validation: %d",
                 static_cast<unsigned long long>(options.min_bytes), static_cast<unsigned long long>(options.max_bytes),
                 step.c_str(), options.warmup, options.iterations ? std::to_string(*options.iterations).c_str() : "by time",
                 options.check));
  comment("");
  for (size_t r = 0; r < roster.ranks.size(); ++r)
    comment(format(" Rank %2zu Pid %6d on %10s, cores: %d", r, roster.ranks[r].pid, roster.ranks[r].host,
                   CPU_COUNT(&roster.ranks[r].cores)) +
            (devices.empty() ? "" : ", device " + describe(devices[r])));
  comment(roster.is_bound() ? "Binding: each rank has cores of its own." : "Binding: none, ranks share cores.");
  comment("");
  if (options.on_device) {
    comment("Buffers: in devices' memory, rotated over " + describe_bytes(rotation.bytes()) + " per rank and rewritten.");
    comment(std::string("Calls: ") + how(options.launch) + ".");
  } else {
    comment("Buffers: rotated over " + describe_bytes(rotation.bytes()) + (rotation.huge_pages() ? " (huge pages)" : "") +
            " per rank and rewritten (last-level cache " + describe_bytes(last_level_cache_bytes()) + ").");
  }
  std::string streamed = limit.streamed_gbps > 0 ? format(", %.1f with non-temporal stores", limit.streamed_gbps) : "";
  comment("Memcpy: " + describe_bytes(limit.bytes) + " by all ranks at once: " + format("%.1f GB/s per rank", limit.plain_gbps) +
          streamed + ".");
  if (placement.round_trip_ns > 0)
    comment(format("Placement: %s (a cache line goes to the neighbour's core and back in %.0f ns).", placement.tag.c_str(),
                   placement.round_trip_ns));
  else
    comment("Placement: " + placement.tag + (placement.tag == "CROWDED" ? " (ranks outnumber cores)." : "."));
}

void print_choices(const std::vector<Chosen>& chosen) {
  const auto alike = [](Choice a, const Choice& b) {  // stripes may grow with the size
    a.stripe_bytes = b.stripe_bytes;
    return a == b;
  };
  const auto range = [](uint64_t first, uint64_t last) {
    return describe_bytes(first) + (first == last ? "" : " to " + describe_bytes(last));
  };
  for (size_t i = 0, last = 0; i < chosen.size(); i = last + 1) {
    for (last = i; last + 1 < chosen.size() && alike(chosen[last + 1].choice, chosen[i].choice);) ++last;
    const Choice& choice = chosen[i].choice;
    std::string how = choice.algorithm.empty() ? "unknown" : choice.algorithm;
    if (!choice.transports.empty()) how += " over " + choice.transports;
    if (choice.lanes > 0) how += format(", %u lane%s", choice.lanes, choice.lanes == 1 ? "" : "s");
    if (choice.stripe_bytes > 0) how += " of " + range(choice.stripe_bytes, chosen[last].choice.stripe_bytes);
    comment("Chosen for " + range(chosen[i].bytes, chosen[last].bytes) + ": " + how +
            (choice.reason.empty() ? "" : " (" + choice.reason + ")"));
  }
}

void print_header(const Options& options) {
  if (options.osu) {
    comment("OSU columns, out of place: mean across ranks, fastest rank, slowest rank");
    comment(format("%-8s%22s%18s%18s%12s", "Size", "Avg Latency(us)", "Min Latency(us)", "Max Latency(us)", "Iterations"));
    return;
  }
  comment("");
  comment(format("%10s  %12s  %8s  %6s  %6s           out-of-place                       in-place", "", "", "", "", ""));
  comment(format("%10s  %12s  %8s  %6s  %6s  %7s  %6s  %6s  %6s  %7s  %6s  %6s  %6s", "size", "count", "type", "redop", "root",
                 "time", "algbw", "busbw", "#wrong", "time", "algbw", "busbw", "#wrong"));
  comment(format("%10s  %12s  %8s  %6s  %6s  %7s  %6s  %6s  %6s  %7s  %6s  %6s", "(B)", "(elements)", "", "", "", "(us)", "(GB/s)",
                 "(GB/s)", "", "(us)", "(GB/s)", "(GB/s)"));
}

void print_row(const Options& options, const Row& row) {
  const Workload& work = row.work;
  if (options.osu) {
    const Timing& t = row.out_of_place;
    std::printf("%-10zu%22.2f%18.2f%18.2f%12d\n", work.bytes(), t.time_us, t.fastest_rank_us, t.slowest_rank_us, t.iterations);
  } else {
    const std::string redop(reduces(work.kind) ? op_name(work.op) : "none");
    std::printf("%12zu  %12zu  %8s  %6s  %6d%s%s\n", work.bytes(), work.count, type_name(work.type).data(), redop.c_str(),
                work.root, timing_columns(row, &row.out_of_place).c_str(),
                timing_columns(row, row.in_place ? &*row.in_place : nullptr).c_str());
  }
  std::fflush(stdout);
}

void print_codec(const CodecFigures& figures) {
  std::string text = format("codec %s: %s sent by a rank, ratio %.2f; relative error %.2g of one call", figures.spec.c_str(),
                            describe_bytes(figures.wire_bytes).c_str(), figures.ratio(), figures.error_once);
  if (figures.error_mean) text += format(", %.2g of the mean of %d", *figures.error_mean, kCodecCalls);
  if (figures.how.starts_with("none")) text += "; " + figures.how;
  comment(text);
}

uint64_t wrong_values(const std::vector<Row>& rows) {
  uint64_t wrong = 0;
  for (const Row& row : rows) {
    wrong += row.out_of_place.wrong.value_or(0);
    if (row.in_place) wrong += row.in_place->wrong.value_or(0);
  }
  return wrong;
}

double mean_bus_bandwidth(const std::vector<Row>& rows) {
  double sum = 0;
  int timings = 0;
  for (const Row& row : rows) {
    sum += row.busbw(row.out_of_place) + (row.in_place ? row.busbw(*row.in_place) : 0);
    timings += row.in_place ? 2 : 1;
  }
  return timings > 0 ? sum / timings : 0;
}

void print_footer(const Options& options, const std::vector<Row>& rows) {
  if (options.osu) return;
  const uint64_t wrong = wrong_values(rows);
  comment(format("%-20s : %llu %s", "Out of bounds values", static_cast<unsigned long long>(wrong), wrong > 0 ? "FAILED" : "OK"));
  comment(format("%-20s : %g ", "Avg bus bandwidth", mean_bus_bandwidth(rows)));
  comment("");
}

void print_fastest(const std::vector<Sweep>& sweeps) {
  struct Best {
    const Sweep* sweep;
    const Row* row;
  };
  std::map<size_t, std::vector<Best>> by_size;
  for (const Sweep& sweep : sweeps)
    for (const Row& row : sweep.rows) by_size[row.work.bytes()].push_back({&sweep, &row});
  for (auto& [bytes, all] : by_size) {
    std::ranges::sort(all, {}, [](const Best& best) { return best.row->out_of_place.p50_us; });
    std::string line = "Fastest at " + describe_bytes(bytes) + " by median: " + all.front().sweep->algorithm;
    for (size_t i = 0; i < all.size(); ++i)
      line += (i == 0 ? ", " : "; " + all[i].sweep->algorithm + " ") + duration(all[i].row->out_of_place.p50_us);
    comment(line);
  }
}

void print_closing(const Options& options, const std::vector<Row>& rows, const MemcpyLimit& limit) {
  if (rows.empty()) return;
  // The best of the largest size.
  const Row& largest =
      *std::ranges::max_element(rows, {}, [](const Row& row) { return std::pair(row.work.bytes(), -row.out_of_place.time_us); });
  const Timing& timing = largest.out_of_place;
  std::string text = format("%d rank%s", largest.work.ranks, largest.work.ranks == 1 ? "" : "s") +
                     (options.on_device ? ", buffers on devices" : over(largest.choice.transports)) + ": ";
  if (options.kind != Kind::barrier) text += describe_bytes(largest.work.bytes()) + " ";
  text += with_hyphens(options.kind) + " in " + duration(timing.time_us);
  if (largest.work.bytes() >= 1 << 20) {
    const double algbw = largest.algbw(timing);
    text += format(", %.1f GB/s algorithm bandwidth", algbw);
    if (limit.best_gbps() > 0)
      text += format(" = %.0f %% of this %s's memcpy", 100 * algbw / limit.best_gbps(), options.on_device ? "device" : "machine");
  }
  const uint64_t wrong = wrong_values(rows);
  const bool checked = std::ranges::any_of(rows, [](const Row& row) { return row.out_of_place.wrong.has_value(); });
  if (wrong > 0)
    text += format("; %llu values are WRONG.", static_cast<unsigned long long>(wrong));
  else
    text += checked ? "; all results correct." : options.kind == Kind::barrier ? "." : "; results not checked.";
  comment(text);
}

}  // namespace tutti::bench
