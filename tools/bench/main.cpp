// tutti-bench: measures the collectives between real processes and checks what they compute.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "algorithms.h"
#include "bench_options.h"
#include "binding.h"
#include "json_report.h"
#include "launcher_claims.h"
#include "measure.h"
#include "starter.h"
#include "table.h"

namespace tutti::bench {
namespace {

// Everything one rank holds during its run.
struct Session {
  const Options& options;
  const Job& job;
  Roster roster;
  std::vector<DeviceInfo> devices;  // by rank; none: buffers are in the host's memory
  Rotation rotation;
  PlacementProbe probe;
  Stopwatch watch;
  MemcpyLimit limit;
  std::optional<JsonReport> json;  // rank 0, if asked for
  std::vector<Row> rows;
};

// Every combination that the options ask for, sizes fastest; sizes that round to the same count appear once.
std::vector<Workload> workloads(const Options& options, const Job& job) {
  std::vector<int> roots;
  for (int r = 0; r < job.size(); ++r)
    if (options.root ? *options.root == r : rooted(options.kind) || r == 0) roots.push_back(r);
  if (!rooted(options.kind)) roots = {0};
  const auto ops = reduces(options.kind) ? options.ops : std::vector{TUTTI_SUM};
  const auto types = options.kind == Kind::barrier ? std::vector{TUTTI_UINT8} : options.types;
  std::vector<Workload> list;
  for (const tutti_dtype type : types)
    for (const tutti_op op : ops) {
      if (!may_be_called(options.kind, op, type)) continue;  // of "all"
      for (const int root : roots) {
        const size_t first = list.size();
        for (const uint64_t bytes : options.sizes()) {
          const Workload work = Workload::of(options.kind, bytes, type, op, root, job.rank(), job.size());
          if (list.size() == first || list.back().count != work.count) list.push_back(work);
        }
      }
    }
  return list;
}

// Shows the choices for the first type, operator and root.
Status show_choices(Session& session, Bench& bench, const std::vector<Workload>& list, const std::string& algorithm) {
  std::vector<Chosen> chosen;
  for (const Workload& work : list) {
    if (work.type != list.front().type || work.op != list.front().op || work.root != list.front().root) break;
    const auto choice = bench.try_once(work, algorithm);
    if (!choice.ok()) return choice.status();
    chosen.push_back({work.bytes(), *choice});
  }
  if (session.job.first()) print_choices(chosen);
  return {};
}

Status run_table(Session& session, Bench& bench, const std::string& algorithm, std::vector<Row>& rows) {
  const auto list = workloads(session.options, session.job);
  if (Status s = show_choices(session, bench, list, algorithm); !s.ok()) return s;
  if (session.job.first()) print_header(session.options);
  for (const Workload& work : list) {
    const auto row = bench.measure(work, algorithm);
    if (!row.ok()) return row.status();
    rows.push_back(*row);
    if (session.job.first()) print_row(session.options, *row);
    if (session.job.first() && row->codec) print_codec(*row->codec);
    if (session.json) session.json->add(*row, algorithm);
  }
  if (session.job.first()) print_footer(session.options, rows);
  return {};
}

// A table for each algorithm of the collective, then one for what Tutti itself would choose.
Status run_sweep(Session& session, Bench& bench) {
  std::vector<Sweep> sweeps;
  std::vector<std::string> names;
  for (const Algorithm& algorithm : algorithms())
    if (tutti::name(algorithm.collective) == name(session.options.kind)) names.emplace_back(algorithm.name);
  names.emplace_back();
  for (const std::string& algorithm : names) {
    const std::string title = algorithm.empty() ? "Tutti's choice" : algorithm;
    if (session.job.first()) comment("");
    if (session.job.first()) comment("Algorithm: " + title);
    Sweep sweep{title, {}};
    Status s = run_table(session, bench, algorithm, sweep.rows);
    // Such a call fails alike on all ranks and changes nothing.
    if (s.code() == Code::unsupported && sweep.rows.empty() && !algorithm.empty()) {
      if (session.job.first()) comment("Not possible here: " + s.message());
      continue;
    }
    if (!s.ok()) return s;
    session.rows.insert(session.rows.end(), sweep.rows.begin(), sweep.rows.end());
    sweeps.push_back(std::move(sweep));
  }
  if (session.job.first()) print_fastest(sweeps);
  return {};
}

// In a device's memory: which, each rank tells all.
Result<Rotation> open_buffers(const Options& options, const Job& job, const Roster& roster, uint64_t largest,
                              std::vector<DeviceInfo>& devices) {
  const Rotation::Wish wish{options.rotate_bytes, largest, options.huge_pages};
  if (!options.on_device) return Rotation::create(job, roster, wish);
  const auto driver = Device::load_driver();
  if (!driver.ok()) return driver.status();
  auto device = Device::open(**driver, options.devices, roster.place_here());
  if (!device.ok()) return device.status();
  const auto mine = (*device)->info();
  if (!mine.ok()) return mine.status();
  auto all = job.gather(*mine);
  if (!all.ok()) return all.status();
  devices = std::move(*all);
  const auto is_mine = [&](const DeviceInfo& other) { return std::ranges::equal(other.uuid.bytes, mine->uuid.bytes); };
  const auto sharing = static_cast<int>(std::ranges::count_if(devices, is_mine));
  return Rotation::create(job, std::move(*device), sharing, wish);
}

Result<Session> open_session(const Options& options, const Job& job, int argc, char** argv) {
  if (options.ranks && *options.ranks != job.size())
    return Status(Code::invalid_argument, "The launcher started " + std::to_string(job.size()) + ", but --ranks says " +
                                              std::to_string(*options.ranks) + "; leave it out under a launcher.");
  if (rooted(options.kind) && options.root && *options.root >= job.size())
    return Status(Code::invalid_argument,
                  "Root " + std::to_string(*options.root) + " is not one of the " + std::to_string(job.size()) + " ranks.");
  std::optional<JsonReport> json;
  if (job.first() && !options.json.empty()) {
    auto report = JsonReport::create(options.json, argc, argv);
    if (!report.ok()) return report.status();
    json = std::move(*report);
  }
  auto roster = Roster::gather(job);
  if (!roster.ok()) return roster.status();
  size_t largest = 0;
  for (const Workload& work : workloads(options, job)) largest = std::max(largest, work.buffer_bytes());
  std::vector<DeviceInfo> devices;
  auto rotation = open_buffers(options, job, *roster, largest, devices);
  if (!rotation.ok()) return rotation.status();
  auto probe = PlacementProbe::create(job, *roster);
  if (!probe.ok()) return probe.status();
  const Stopwatch watch;
  const auto limit = measure_memcpy(job, *rotation, watch, std::max<uint64_t>(options.max_bytes, 1 << 20));
  if (!limit.ok()) return limit.status();
  return Session{
      options,         job, std::move(*roster), std::move(devices), std::move(*rotation), std::move(*probe), watch, *limit,
      std::move(json), {}};
}

// Returns the number of wrong values.
Result<uint64_t> run(const Options& options, const Job& job, int argc, char** argv) {
  auto opened = open_session(options, job, argc, argv);
  if (!opened.ok()) return opened.status();
  Session& session = *opened;
  const auto placement = session.probe.look(job, session.watch);
  if (!placement.ok()) return placement.status();
  if (job.first()) print_opening(options, session.roster, session.devices, session.rotation, session.limit, *placement);
  if (session.json) session.json->describe(options, session.roster, session.devices, session.rotation, session.limit);
  Bench bench(job, options, session.rotation, session.probe, session.watch);
  const Status measured = options.sweeps() ? run_sweep(session, bench) : run_table(session, bench, "", session.rows);
  if (!measured.ok()) {
    job.abort(measured);  // before memory is freed, for which the calls of other threads would have to end
    return measured;
  }
  if (job.first()) print_closing(options, session.rows, session.limit);
  if (session.json)
    if (Status s = session.json->write(session.rows); !s.ok()) return s;
  return std::max(wrong_values(session.rows), bench.wrong_here());
}

int complain(int rank, const Status& status) {
  std::fprintf(stderr, "tutti-bench: rank %d: %s\n", rank, status.message().c_str());
  return status.code() == Code::invalid_argument ? 2 : 1;
}

// Before communicators are created.  Each rank reads the same command line, so settings agree on all ranks whoever
// started them.
Status prepare_process(const Options& options) {
  if (!options.transport.empty()) setenv("TUTTI_TRANSPORT", options.transport.c_str(), 1);
  if (!options.algorithm.empty() && !options.sweeps()) setenv("TUTTI_ALGORITHM", options.algorithm.c_str(), 1);
  if (!options.on_device) return {};
  setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 0);  // streams of ranks that are threads must not share a queue
  return Device::load_driver().status();
}

int run_job(const Options& options, Job& job, int argc, char** argv) {
  const int rank = job.rank();
  const auto wrong = run(options, job, argc, argv);
  if (!wrong.ok()) {
    job.abort(wrong.status());  // the other ranks must not wait for this one
    return complain(rank, wrong.status());
  }
  if (Status s = job.leave(); !s.ok()) return complain(rank, s);
  return *wrong > 0 ? 1 : 0;
}

int run_rank(const Options& options, int rank, int argc, char** argv) {
  if (Status s = prepare_process(options); !s.ok()) return complain(rank, s);
  auto job = Job::join();
  return job.ok() ? run_job(options, *job, argc, argv) : complain(rank, job.status());
}

// Returns the first bad rank's exit status.
int run_threads(const Options& options, int ranks, int argc, char** argv) {
  if (Status s = prepare_process(options); !s.ok()) return complain(0, s);
  auto jobs = Job::start(ranks);
  if (!jobs.ok()) return complain(0, jobs.status());
  const std::vector<std::vector<int>> cores =
      options.binds ? share_out(ranks, usable_cores_and_threads()) : std::vector<std::vector<int>>(jobs->size());
  std::vector<int> results(jobs->size());
  std::vector<std::thread> threads;
  for (size_t rank = 0; rank < jobs->size(); ++rank)
    threads.emplace_back([&, rank] {
      bind_to(cores[rank]);
      results[rank] = run_job(options, (*jobs)[rank], argc, argv);
    });
  for (std::thread& thread : threads) thread.join();
  const auto bad = std::ranges::find_if(results, [](int result) { return result != 0; });
  return bad == results.end() ? 0 : *bad;
}

int start_or_join(int argc, char** argv) {
  Options options;
  const std::optional<int> rank = launched_rank(process_environment());
  if (const auto status = parse_options(argc, argv, rank.value_or(0) > 0, options)) return *status;
  if (rank && options.threads)
    return complain(*rank, Status(Code::invalid_argument, "--threads starts the ranks, and a launcher has started them already."));
  if (rank) return run_rank(options, *rank, argc, argv);
  const int ranks = options.ranks.value_or(std::max(2, usable_cores()));
  return options.threads ? run_threads(options, ranks, argc, argv) : start_ranks(ranks, argv, options.binds);
}

}  // namespace
}  // namespace tutti::bench

int main(int argc, char** argv) { return tutti::bench::start_or_join(argc, argv); }
