#include "map_command.h"

#include <algorithm>

#include "byte_units.h"
#include "crossover_map.h"
#include "output.h"
#include "progress_line.h"
#include "scenario_command.h"
#include "selection.h"
#include "words.h"

namespace tutti {

struct MapCommand::Options {
  ScenarioTexts scenario{.ranks = "2-256"};
  std::string collective = "all_reduce", title, from = "256", to = "256M", file;
  uint64_t factor = 4;
  int root = 0;
};

MapCommand::MapCommand(CLI::App& app)
    : command_(app.add_subcommand("map", "A picture (SVG): the fastest algorithm by size and number of ranks")),
      options_(std::make_unique<Options>()) {
  Options& o = *options_;
  command_->add_option("-c,--collective", o.collective, "all_reduce if not given");
  command_->add_option("-r,--root", o.root, "of collectives that have one; 0 if not given");
  command_->add_option("-n,--ranks", o.scenario.ranks, "a range; those that double are shown; 2-256 if not given");
  command_->add_option("--from", o.from, "the smallest size; 256 if not given");
  command_->add_option("--to", o.to, "the greatest size; 256M if not given");
  command_->add_option("--factor", o.factor, "from size to size; 4 if not given")->check(CLI::Range(2, 1024));
  command_->add_option("--title", o.title, "of the picture; the collective if not given");
  command_->add_option("-o,--output", o.file, "the file to write; to the terminal if not given");
  add_scenario_options(*command_, o.scenario);
}

MapCommand::~MapCommand() = default;
bool MapCommand::chosen() const { return command_->parsed(); }

int MapCommand::run() {
  Options& o = *options_;
  const auto algorithms = select_algorithms(o.collective, "");
  if (!algorithms.ok()) return fail(algorithms.status(), kMisused);
  const auto ranks = parse_ranks(o.scenario.ranks);
  if (!ranks.ok()) return fail(ranks.status(), kMisused);
  const auto from = parse_bytes(o.from), to = parse_bytes(o.to);
  for (const auto* size : {&from, &to})
    if (!size->ok()) return fail(size->status(), kMisused);
  if (*from == 0 || *from > *to || *to > uint64_t{1} << 50)
    return fail(Status(Code::invalid_argument, "--from must be at least 1 and at most --to, and that no more than 1024T"),
                kMisused);
  if (o.root < 0 || o.root >= ranks->first)
    return fail(Status(Code::invalid_argument, "--root must be a rank of every row"), kMisused);

  CrossoverMap map;
  for (const Algorithm& algorithm : *algorithms) map.algorithms.push_back(algorithm.name);
  for (uint64_t bytes = *from; bytes <= *to; bytes *= o.factor) map.sizes.push_back(bytes);
  ProgressLine line;
  for (int size = ranks->first; size <= ranks->last; size *= 2) {
    ScenarioTexts texts = o.scenario;
    texts.ranks = std::to_string(size);
    const auto scenario = scenario_of(texts);
    if (!scenario.ok()) return fail(scenario.status(), kMisused);
    const std::string where = std::to_string(size) + " ranks, ";
    const auto told = [&](const Algorithm& algorithm, uint64_t bytes, double done) { line.tell(where, algorithm, bytes, done); };
    map.rows.push_back({*scenario, price(*algorithms, *scenario, map.sizes, o.root, told)});
  }
  map.title = o.title.empty() ? o.collective : o.title;
  map.subtitle = map.rows.back().scenario.machine_summary();
  return write(o.file, draw_svg(map));
}

}  // namespace tutti
