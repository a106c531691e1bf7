#include "simulate_command.h"

#include "byte_units.h"
#include "output.h"
#include "progress_line.h"
#include "scenario_command.h"
#include "selection.h"
#include "simulation.h"
#include "spaces.h"
#include "words.h"

namespace tutti {
namespace {

Result<std::vector<uint64_t>> parse_sizes(const std::string& text) {
  std::vector<uint64_t> sizes;
  for (const std::string_view part : split(text, ',')) {
    const Result<uint64_t> bytes = parse_bytes(part);
    if (!bytes.ok()) return Status(Code::invalid_argument, "--size: " + bytes.status().message());
    if (*bytes > uint64_t{1} << 50)
      return Status(Code::invalid_argument, "--size: " + in_quotes(part) + " is more than any memory holds");
    sizes.push_back(*bytes);
  }
  return sizes;
}

}  // namespace

struct SimulateCommand::Options {
  ScenarioTexts scenario;
  std::string collective = "all_reduce", algorithm, sizes = "1K,64K,1M,64M", json;
  int root = 0;
  bool show_machine = false;
};

SimulateCommand::SimulateCommand(CLI::App& app)
    : command_(app.add_subcommand("simulate", "What the algorithms of a collective cost on a machine that need not be at hand")),
      options_(std::make_unique<Options>()) {
  Options& o = *options_;
  command_->add_option("-c,--collective", o.collective, "all_reduce if not given");
  command_->add_option("-a,--algorithm", o.algorithm, "only this one; all of the collective if not given");
  command_->add_option("-r,--root", o.root, "of collectives that have one; 0 if not given");
  command_->add_option("-s,--size", o.sizes,
                       "bytes of the whole vector or of all blocks, or a list of such; 1K,64K,1M,64M if not given");
  command_->add_option("-J,--json", o.json, "write JSON to this file (- for the terminal) instead of the table");
  command_->add_option("-n,--ranks", o.scenario.ranks, "how many; 8 if not given");
  add_scenario_options(*command_, o.scenario);
  command_->add_flag("--show-machine", o.show_machine, "print the machine as --machine reads it, and simulate nothing");
}

SimulateCommand::~SimulateCommand() = default;
bool SimulateCommand::chosen() const { return command_->parsed(); }

int SimulateCommand::run() {
  Options& o = *options_;
  const auto scenario = scenario_of(o.scenario);
  if (!scenario.ok()) return fail(scenario.status(), kMisused);
  if (o.show_machine) return write("", write_machine(scenario->machine));
  const auto rows = select_algorithms(o.collective, o.algorithm);
  if (!rows.ok()) return fail(rows.status(), kMisused);
  const Collective collective = rows->front().collective;
  const auto sizes = parse_sizes(collective == Collective::barrier ? "0" : o.sizes);
  if (!sizes.ok()) return fail(sizes.status(), kMisused);
  if (o.root < 0 || o.root >= scenario->team.size)
    return fail(Status(Code::invalid_argument,
                       "--root " + std::to_string(o.root) + " is not among " + std::to_string(scenario->team.size) + " ranks"),
                kMisused);
  std::vector<PricedRun> runs;
  {
    ProgressLine line;
    runs = price(*rows, *scenario, *sizes, o.root,
                 [&](const Algorithm& algorithm, uint64_t bytes, double done) { line.tell("", algorithm, bytes, done); });
  }
  if (o.json.empty()) return write("", price_table(collective, *scenario, runs));
  return write(o.json, price_json(collective, *scenario, o.root, runs));
}

}  // namespace tutti
