#include "json_report.h"

#include <ctime>
#include <fstream>

#include "table.h"

extern char** environ;

namespace tutti::bench {
namespace {

using nlohmann::ordered_json;

std::string time_of_day() {
  const std::time_t now = std::time(nullptr);
  tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

// The settings that bear on the results.
ordered_json settings() {
  ordered_json list = ordered_json::array();
  for (char** entry = environ; *entry != nullptr; ++entry)
    if (std::string_view(*entry).starts_with("TUTTI_")) list.push_back(*entry);
  return list;
}

ordered_json of(const Row& row, const Timing& timing) {
  return {{"time", timing.time_us},
          {"alg_bw", row.algbw(timing)},
          {"bus_bw", row.busbw(timing)},
          {"nwrong", timing.wrong ? ordered_json(*timing.wrong) : ordered_json(nullptr)},
          {"min", timing.min_us},
          {"p50", timing.p50_us},
          {"p95", timing.p95_us},
          {"p99", timing.p99_us},
          {"fastest_rank", timing.fastest_rank_us},
          {"slowest_rank", timing.slowest_rank_us},
          {"iterations", timing.iterations}};
}

ordered_json of(const CodecFigures& codec) {
  return {{"spec", codec.spec},
          {"how", codec.how},
          {"wire_bytes", codec.wire_bytes},
          {"ratio", codec.ratio()},
          {"error_once", codec.error_once},
          {"error_mean", codec.error_mean ? ordered_json(*codec.error_mean) : ordered_json(nullptr)},
          {"calls_of_mean", kCodecCalls}};
}

}  // namespace

Result<JsonReport> JsonReport::create(const std::string& path, int argc, char** argv) {
  JsonReport report;
  report.path_ = path;
  if (!std::ofstream(path)) return system_error("opening " + path + " for the results");
  report.document_ = {{"version", 1},
                      {"start_time", time_of_day()},
                      {"args", std::vector<std::string>(argv, argv + argc)},
                      {"env", settings()},
                      {"tutti_version", tutti_version()}};
  return report;
}

void JsonReport::describe(const Options& options, const Roster& roster, const std::vector<DeviceInfo>& devices,
                          const Rotation& rotation, const MemcpyLimit& limit) {
  ordered_json ranks = ordered_json::array();
  for (size_t r = 0; r < roster.ranks.size(); ++r) {
    const RankInfo& rank = roster.ranks[r];
    const int cores = CPU_COUNT(&rank.cores);
    ranks.push_back({{"rank", r}, {"pid", rank.pid}, {"hostname", rank.host}, {"cores", cores}});
    if (devices.empty()) continue;
    ranks.back()["device"] = devices[r].device;
    ranks.back()["device_pci"] = devices[r].pci_bus_id;
    ranks.back()["device_name"] = devices[r].name;
  }
  document_["config"] = {{"collective", name(options.kind)},
                         {"ranks", roster.ranks.size()},
                         {"host", roster.ranks.front().host},
                         {"transport", options.transport},
                         {"algorithm", options.algorithm},
                         {"codec", options.codec},
                         {"minimum_bytes", options.min_bytes},
                         {"maximum_bytes", options.max_bytes},
                         {"step_factor", options.step_bytes > 0 ? ordered_json(nullptr) : ordered_json(options.factor)},
                         {"step_bytes", options.step_bytes > 0 ? ordered_json(options.step_bytes) : ordered_json(nullptr)},
                         {"warmup_iters", options.warmup},
                         {"iterations", options.iterations ? ordered_json(*options.iterations) : ordered_json(nullptr)},
                         {"validation", options.check},
                         {"average", static_cast<int>(options.across)},
                         {"rotated_bytes", rotation.bytes()},
                         {"huge_pages", rotation.huge_pages()},
                         {"memory", options.on_device ? "cuda" : "host"},
                         {"launch", name(options.launch)},
                         {"threads", options.threads},
                         {"devices", ranks}};
  document_["memcpy"] = {{"bytes", limit.bytes}, {"gb_per_s", limit.plain_gbps}, {"non_temporal_gb_per_s", limit.streamed_gbps}};
  document_["results"] = ordered_json::array();
}

void JsonReport::add(const Row& row, const std::string& requested_algorithm) {
  const Workload& work = row.work;
  document_["results"].push_back({{"size", work.bytes()},
                                  {"count", work.count},
                                  {"type", type_name(work.type)},
                                  {"redop", reduces(work.kind) ? op_name(work.op) : "none"},
                                  {"root", std::to_string(work.root)},
                                  {"out_of_place", of(row, row.out_of_place)},
                                  {"in_place", row.in_place ? of(row, *row.in_place) : ordered_json(nullptr)},
                                  {"codec", row.codec ? of(*row.codec) : ordered_json(nullptr)},
                                  {"algorithm", row.choice.algorithm},
                                  {"requested_algorithm", requested_algorithm},
                                  {"reason", row.choice.reason},
                                  {"transport", row.choice.transports},
                                  {"lanes", row.choice.lanes},
                                  {"stripe_bytes", row.choice.stripe_bytes},
                                  {"placement", row.placement},
                                  {"round_trip_ns", {row.round_trip_before_ns, row.round_trip_after_ns}}});
}

Status JsonReport::write(const std::vector<Row>& rows) {
  const uint64_t wrong = wrong_values(rows);
  document_["out_of_bounds"] = {{"count", wrong}, {"okay", wrong == 0}};
  document_["average_bus_bandwidth"] = {{"bandwidth", mean_bus_bandwidth(rows)}, {"okay", "unchecked"}};
  document_["end_time"] = time_of_day();
  std::ofstream file(path_);
  file << document_.dump(1) << '\n';
  file.flush();
  return file ? Status() : system_error("writing the results to " + path_);
}

}  // namespace tutti::bench
