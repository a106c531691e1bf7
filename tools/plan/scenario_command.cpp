#include "scenario_command.h"

#include "byte_units.h"
#include "selection.h"

namespace tutti {
namespace {

Status set_bytes(const char* option, const std::string& text, uint64_t& value) {
  if (text.empty()) return {};
  const Result<uint64_t> bytes = parse_bytes(text);
  if (!bytes.ok()) return Status(Code::invalid_argument, std::string(option) + ": " + bytes.status().message());
  value = *bytes;
  return {};
}

}  // namespace

void add_scenario_options(CLI::App& command, ScenarioTexts& texts) {
  ScenarioOptions& o = texts.options;
  const auto option = [&](const char* name, auto& value, const char* text) {
    command.add_option(name, value, text)->group("Machine");
  };
  option("--ranks-per-host", o.ranks_per_host, "1 if not given");
  option("--link", o.link, "rate of a host's interface, and latency between hosts; 100Gb/s,5us if not given");
  option("--flow", o.flow, "rate of one connection; the interface's if not given");
  option("--overhead", o.overhead, "of the processor at each end of a message between hosts; 2us if not given");
  option("--sockets", o.sockets, "rate at which a processor feeds or empties connections, 0: no cost; 5GB/s if not given");
  option("--inside", o.inside, "latency between ranks of a host; 0.2us if not given");
  option("--inside-overhead", o.inside_overhead, "of the processor at each end of a message inside a host; 0.1us if not given");
  option("--copy", o.copy, "rate at which a rank copies memory; 10GB/s if not given");
  option("--reduce", o.reduce, "rate at which a rank reduces what it received; 10GB/s if not given");
  option("--cores", o.cores, "of a host; as many as it has ranks if not given");
  option("--switch", o.change, "time that a core of fewer than ranks takes to turn to another one; 1.5us if not given");
  option("--lanes", o.lanes, "stripes under way at once (TUTTI_LANES); what the engine takes if not given");
  option("--slot", texts.slot, "bytes of a message slot (TUTTI_SLOT_BYTES); what the engine takes if not given");
  option("--stripe", texts.stripe, "bytes of one block in a stripe; what the engine takes if not given");
  option("--machine", o.machine_file, 
         "a file that describes the machine: JSON, or one of TUTTI_TUNING_CACHE; the options above override it");
}

Result<Scenario> scenario_of(const ScenarioTexts& texts) {
  ScenarioOptions options = texts.options;
  const auto ranks = parse_ranks(texts.ranks);
  if (!ranks.ok()) return ranks.status();
  if (ranks->first != ranks->last) return Status(Code::invalid_argument, "this takes one number of ranks, not a range");
  options.ranks = ranks->first;
  Status status = set_bytes("--slot", texts.slot, options.slot_bytes);
  if (status.ok()) status = set_bytes("--stripe", texts.stripe, options.stripe_bytes);
  if (!status.ok()) return status;
  return make_scenario(options);
}

}  // namespace tutti
