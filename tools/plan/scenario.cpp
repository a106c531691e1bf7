#include "scenario.h"

#include <fstream>
#include <iterator>
#include <vector>

#include "machine_profile.h"
#include "pool_shape.h"
#include "quantities.h"
#include "tuning_rules.h"
#include "words.h"

namespace tutti {
namespace {

constexpr int kMostCores = 4096;

// A rank on a recent core, and sockets of Linux.
Machine standard_machine() {
  Machine machine;
  machine.inter_host = {.overhead_s = 2e-6, .latency_s = 5e-6, .byte_s = 0.08e-9, .processor_byte_s = 0.2e-9, .streams = true};
  machine.intra_host = {.overhead_s = 0.1e-6, .latency_s = 0.2e-6};
  machine.interface_byte_s = 0.08e-9;
  machine.switch_s = 1.5e-6;
  machine.copy_byte_s = 0.1e-9;
  machine.reduce_byte_s = 0.1e-9;
  return machine;
}

Status set(const char* option, const std::string& text, Result<double> (*parse)(std::string_view), double& value) {
  if (text.empty()) return {};
  const Result<double> parsed = parse(text);
  if (!parsed.ok()) return Status(Code::invalid_argument, std::string(option) + ": " + parsed.status().message());
  value = *parsed;
  return {};
}

Status set_link(const std::string& text, Machine& machine) {
  if (text.empty()) return {};
  const auto parts = split(text, ',');
  if (parts.size() != 2)
    return Status(Code::invalid_argument, "--link takes a rate and a latency such as 100Gb/s,5us, not " + in_quotes(text));
  Status status = set("--link", std::string(parts[0]), parse_rate, machine.interface_byte_s);
  if (status.ok()) status = set("--link", std::string(parts[1]), parse_seconds, machine.inter_host.latency_s);
  machine.inter_host.byte_s = machine.interface_byte_s;
  return status;
}

// A file of TUTTI_TUNING_CACHE has the machine's numbers (src/tuning/machine_profile.h).
Status read_measured(const std::string& text, const Team& team, Machine& machine) {
  const auto file = parse_tuning_file(text, "it");
  if (!file.ok()) return file.status();
  Result<MachineProfile> profile = read_profile(file->machine);
  if (!profile.ok()) return profile.status();
  profile->inter_host.streams = true;
  profile->intra_host.streams = measured_for(file->machine).ends_with("intra-host streams");
  machine = machine_for(*profile, team);
  return {};
}

Status read_file(const std::string& file, const Team& team, Machine& machine) {
  if (file.empty()) return {};
  std::ifstream in(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in) return system_error("reading " + file);
  const Status status = text.starts_with("tutti-tuning") ? read_measured(text, team, machine) : read_machine(text, machine);
  return status.ok() ? status : Status(status.code(), file + ": " + status.message());
}

}  // namespace

Result<Scenario> make_scenario(const ScenarioOptions& options) {
  const auto wrong = [](const std::string& what) { return Status(Code::invalid_argument, what); };
  if (options.ranks_per_host < 1) return wrong("--ranks-per-host must be at least 1");
  if (options.stripe_bytes % 64 != 0) return wrong("--stripe must be a multiple of 64 bytes");
  if (options.cores < -1 || options.cores > kMostCores) return wrong("--cores must be from 0, which stands for enough, to 4096");
  if (options.lanes > 64) return wrong("--lanes must be at most 64");
  Scenario scenario{Team(options.ranks), standard_machine(), options.lanes, options.slot_bytes, options.stripe_bytes};
  Machine& machine = scenario.machine;
  for (int rank = 0; rank < options.ranks; ++rank) scenario.team.host.push_back(rank / options.ranks_per_host);
  Status status = read_file(options.machine_file, scenario.team, machine);
  if (status.ok()) status = set_link(options.link, machine);
  if (status.ok()) status = set("--flow", options.flow, parse_rate, machine.inter_host.byte_s);
  if (status.ok()) status = set("--overhead", options.overhead, parse_seconds, machine.inter_host.overhead_s);
  if (status.ok()) status = set("--sockets", options.sockets, parse_rate, machine.inter_host.processor_byte_s);
  if (status.ok()) status = set("--inside", options.inside, parse_seconds, machine.intra_host.latency_s);
  if (status.ok()) status = set("--inside-overhead", options.inside_overhead, parse_seconds, machine.intra_host.overhead_s);
  if (status.ok()) status = set("--copy", options.copy, parse_rate, machine.copy_byte_s);
  if (status.ok()) status = set("--reduce", options.reduce, parse_rate, machine.reduce_byte_s);
  if (status.ok()) status = set("--switch", options.change, parse_seconds, machine.switch_s);
  if (!status.ok()) return status;
  if (options.cores >= 0) machine.cores = options.cores;
  machine.host = scenario.team.host;
  return scenario;
}

Work Scenario::work(const Outline& outline, uint64_t bytes) const {
  RouteTerms terms;
  terms.size = team.size;
  terms.single_host = single_host();
  terms.lanes = lanes;
  terms.slot_bytes = pool_shape(team.size, terms.single_host ? static_cast<uint32_t>(team.size) : 1, lanes, slot_bytes).slot_bytes;
  const uint64_t parts = outline.collective() == Collective::all_to_all ? outline.size() : outline.blocks();
  const Cut cut = tutti::cut(terms, bytes / parts, outline.widest_run());
  return {.bytes = bytes, .lanes = cut.lanes, .stripe_bytes = stripe_bytes > 0 ? stripe_bytes : cut.stripe_bytes};
}

std::string Scenario::summary() const {
  const auto counted = [](int n, const char* what) { return std::to_string(n) + " " + what + (n == 1 ? "" : "s"); };
  std::string text = counted(team.size, "rank") + " on " + counted(team.hosts(), "host");
  if (machine.cores > 0) text += " of " + counted(machine.cores, "core");
  return text + "; " + machine_summary();
}

std::string Scenario::machine_summary() const {
  std::string text;
  if (!single_host())
    text =
        "between hosts " + describe_rate(machine.interface_byte_s) + ", " + describe_seconds(machine.inter_host.latency_s) + "; ";
  return text + "inside " + describe_seconds(machine.intra_host.latency_s) + ", copies " + describe_rate(machine.copy_byte_s) +
         ", reductions " + describe_rate(machine.reduce_byte_s);
}

}  // namespace tutti
