// tutti-tune: which algorithm is fastest where, measured; and a file that says so.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "clock.h"
#include "contest.h"
#include "launcher_claims.h"
#include "options.h"
#include "report.h"
#include "roster.h"
#include "starter.h"

namespace tutti::tune {
namespace {

constexpr size_t kRegion = 256 << 20;  // of the ranks of a host together, unless one call needs more
constexpr uint64_t kPatienceNs = 2'000'000'000;

Status write(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.close();
  return file ? Status() : system_error("writing " + path);
}

// On a terminal, what is being measured, over and over on one line.
class Progress {
 public:
  explicit Progress(bool shown) : shown_(shown && isatty(2)) {}
  void tell(size_t done, size_t all) {
    if (!shown_ || now_ns() - started_ < kPatienceNs) return;
    std::fprintf(stderr, "\rtutti-tune: %zu of %zu sizes measured, %.0f s\033[K\r", done, all,
                 static_cast<double>(now_ns() - started_) * 1e-9);
  }
  ~Progress() {
    if (shown_) std::fputs("\033[K", stderr);
  }

 private:
  bool shown_;
  uint64_t started_ = now_ns();
};

std::vector<bench::Workload> workloads(const Options& options, bench::Kind kind, const bench::Job& job) {
  std::vector<bench::Workload> list;
  for (const uint64_t bytes : options.sizes()) {
    const auto work = bench::Workload::of(kind, bytes, TUTTI_FLOAT32, TUTTI_SUM, 0, job.rank(), job.size());
    if (list.empty() || list.back().count != work.count) list.push_back(work);
  }
  return list;
}

Status run(const Options& options, const bench::Job& job) {
  if (options.ranks && *options.ranks != job.size())
    return Status(Code::invalid_argument, "the launcher started " + std::to_string(job.size()) + " ranks, but --ranks says " +
                                              std::to_string(*options.ranks) + "; leave it out under a launcher");
  const auto roster = bench::Roster::gather(job);
  if (!roster.ok()) return roster.status();
  const int hosts = roster->hosts();
  std::vector<bench::Workload> list;
  for (const bench::Kind kind : options.kinds)
    for (const bench::Workload& work : workloads(options, kind, job)) list.push_back(work);
  size_t largest = 0;
  for (const bench::Workload& work : list) largest = std::max(largest, work.buffer_bytes() + 256);
  auto region = Region::create(std::max(largest, kRegion / static_cast<size_t>(roster->ranks_here())));
  if (!region.ok()) return region.status();
  const std::string transports = job.stats().transports;
  std::vector<Contest> contests;
  Progress progress(job.first());
  for (const bench::Workload& work : list) {
    if (job.first() && (contests.empty() || contests.back().work.kind != work.kind))
      print_header(work.kind, job.size(), transports);
    auto contest = hold_contest(job, work, *region, hosts, options.rounds);
    if (!contest.ok()) return contest.status();
    contests.push_back(std::move(*contest));
    if (job.first()) print_row(contests.back());
    progress.tell(contests.size(), list.size());
  }
  if (!job.first()) return {};
  print_summary(contests);
  if (!options.json.empty())
    if (Status s = write(options.json, as_json(contests, hosts, transports)); !s.ok()) return s;
  if (options.output.empty()) return {};
  return write(options.output, format_tuning_file({rules_of(contests, hosts), {}}));
}

int complain(int rank, const Status& status) {
  std::fprintf(stderr, "tutti-tune: rank %d: %s\n", rank, status.message().c_str());
  return status.code() == Code::invalid_argument ? 2 : 1;
}

int run_rank(const Options& options, int rank) {
  if (!options.transport.empty()) setenv("TUTTI_TRANSPORT", options.transport.c_str(), 1);
  auto job = bench::Job::join();
  if (!job.ok()) return complain(rank, job.status());
  if (const Status status = run(options, *job); !status.ok()) {
    tutti_comm_abort(job->comm(), status.message().c_str());  // the other ranks must not wait for this one
    return complain(job->rank(), status);
  }
  const Status left = job->leave();
  return left.ok() ? 0 : complain(rank, left);
}

int start_or_join(int argc, char** argv) {
  Options options;
  const std::optional<int> rank = launched_rank(process_environment());
  if (const auto status = parse_options(argc, argv, rank.value_or(0) > 0, options)) return *status;
  if (rank) return run_rank(options, *rank);
  return bench::start_ranks(options.ranks.value_or(std::max(2, bench::usable_cores())), argv);
}

}  // namespace
}  // namespace tutti::tune

int main(int argc, char** argv) { return tutti::tune::start_or_join(argc, argv); }
