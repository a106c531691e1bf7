#include "simulation.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "byte_units.h"
#include "quantities.h"
#include "spaces.h"

namespace tutti {
namespace {

constexpr uint64_t kEffort = 1 << 18;

void mark_fastest(std::vector<PricedRun>& runs) {
  for (PricedRun& run : runs)
    run.fastest = std::ranges::none_of(runs, [&](const PricedRun& other) {
      return other.bytes == run.bytes && other.prediction.seconds < run.prediction.seconds;
    });
}

std::string row(const char* format, const std::vector<std::string>& cells) {
  char text[256];
  std::snprintf(text, sizeof text, format, cells[0].c_str(), cells[1].c_str(), cells[2].c_str(), cells[3].c_str(), cells[4].c_str(),
                cells[5].c_str(), cells[6].c_str(), cells[7].c_str());
  return text;
}

std::string decimal(double value, const char* format = "%.3g") {
  char text[48];
  std::snprintf(text, sizeof text, value >= 999.5 ? "%.0f" : format, value);
  return text;
}

}  // namespace

std::vector<PricedRun> price(std::span<const Algorithm> algorithms, const Scenario& scenario, std::span<const uint64_t> sizes,
                             int root, const Progress& told) {
  std::vector<PricedRun> runs;
  for (const Algorithm& algorithm : algorithms) {
    const Outline outline = outline_of(algorithm, scenario.team, root);
    for (const uint64_t bytes : sizes) {
      PricedRun& run = runs.emplace_back(PricedRun{algorithm.name, bytes, scenario.work(outline, bytes), {}});
      run.work.effort = kEffort;
      Watcher watcher;
      if (told) watcher = [&](double done) { told(algorithm, bytes, done); };
      run.prediction = predict(outline, scenario.machine, run.work, watcher);
    }
  }
  std::ranges::stable_sort(runs, {}, [&](const PricedRun& run) { return std::ranges::find(sizes, run.bytes) - sizes.begin(); });
  mark_fastest(runs);
  return runs;
}

double bus_factor(Collective collective, int ranks) {
  const double others = static_cast<double>(ranks - 1) / ranks;
  switch (collective) {
    case Collective::all_reduce: return 2 * others;
    case Collective::reduce_scatter:
    case Collective::all_gather:
    case Collective::gather:
    case Collective::scatter:
    case Collective::all_to_all: return others;
    default: return 1;
  }
}

std::string price_table(Collective collective, const Scenario& scenario, std::span<const PricedRun> runs) {
  constexpr const char* kFormat = "%8s  %-14s %10s %9s %9s %11s %12s  %s\n";
  std::string text = "# " + std::string(name(collective)) + ", " + scenario.summary() + "\n";
  text += "#" + row(kFormat, {"size", "algorithm", "time", "algbw", "busbw", "messages", "out of host", "bound by"}).substr(1);
  text += "#" + row(kFormat, {"(B)", "", "", "(GB/s)", "(GB/s)", "", "", ""}).substr(1);
  while (text.ends_with(" \n")) text.erase(text.size() - 2, 1);
  for (const PricedRun& run : runs) {
    const Prediction& p = run.prediction;
    const bool idle = p.seconds == 0;
    const double algbw = idle ? 0 : run.algbw() * 1e-9;
    const double total = p.path.total();
    std::string bound_by = idle ? "-" : std::string(bound(p.path));
    for (const auto& [part, what] : {std::pair{p.path.processor_s, "processor"},
                                     {p.path.latency_s, "latency"},
                                     {p.path.link_s, "link"},
                                     {p.path.interface_s, "interface"},
                                     {p.path.memory_s, "memory"}})
      if (!idle && bound_by == what) bound_by += " " + decimal(100 * part / total, "%.0f") + "%";
    text += row(kFormat, {format_bytes(run.bytes), std::string(run.algorithm) + (run.fastest ? " *" : ""),
                          describe_seconds(p.seconds), decimal(algbw), decimal(algbw * bus_factor(collective, scenario.team.size)),
                          std::to_string(p.messages), describe_amount(p.busiest_interface), bound_by});
  }
  return text + "# * the fastest of its size; out of host: bytes that leave the busiest host\n";
}

std::string price_json(Collective collective, const Scenario& scenario, int root, std::span<const PricedRun> runs) {
  nlohmann::ordered_json json;
  json["collective"] = name(collective);
  json["ranks"] = scenario.team.size;
  json["hosts"] = scenario.team.hosts();
  if (has_root(collective)) json["root"] = root;
  json["machine"] = nlohmann::ordered_json::parse(write_machine(scenario.machine));
  json["results"] = nlohmann::ordered_json::array();
  for (const PricedRun& run : runs) {
    const Prediction& p = run.prediction;
    const double algbw = p.seconds > 0 ? run.algbw() * 1e-9 : 0;
    json["results"].push_back({{"size", run.bytes},
                               {"algorithm", run.algorithm},
                               {"seconds", p.seconds},
                               {"alg_bw", algbw},
                               {"bus_bw", algbw * bus_factor(collective, scenario.team.size)},
                               {"messages", p.messages},
                               {"bytes_intra_host", p.bytes_intra_host},
                               {"bytes_inter_host", p.bytes_inter_host},
                               {"bytes_out_of_busiest_host", p.busiest_interface},
                               {"lanes", run.work.lanes},
                               {"stripe_bytes", run.work.stripe_bytes},
                               {"path",
                                {{"processor_s", p.path.processor_s},
                                 {"latency_s", p.path.latency_s},
                                 {"link_s", p.path.link_s},
                                 {"interface_s", p.path.interface_s},
                                 {"memory_s", p.path.memory_s}}},
                               {"bound", bound(p.path)},
                               {"fastest", run.fastest}});
  }
  return json.dump(2) + "\n";
}

}  // namespace tutti
