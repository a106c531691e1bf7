#include "launcher.h"

#include <unistd.h>

#include <cstring>

#include "words.h"

namespace tutti {
namespace {

constexpr int kMostRanks = 1 << 16;

const std::string* variable(const Environment& environment, std::string_view name) {
  const auto found = environment.find(name);
  return found == environment.end() || found->second.empty() ? nullptr : &found->second;
}

Status wrong(const std::string& text) { return Status(Code::invalid_argument, text); }

Result<int> number_of(const Environment& environment, std::string_view name, std::string_view launcher) {
  const std::string* text = variable(environment, name);
  if (text == nullptr) return wrong(std::string(launcher) + " did not set " + std::string(name));
  const auto number = parse_number(*text);
  if (!number || *number > kMostRanks)
    return wrong(std::string(name) + "=" + in_quotes(*text) + " is not a number of a rank or of ranks");
  return static_cast<int>(*number);
}

Status check_rank(const Launch& launch) {
  if (launch.size >= 1 && launch.size <= kMostRanks && launch.rank >= 0 && launch.rank < launch.size) return {};
  return wrong("rank " + std::to_string(launch.rank) + " of " + std::to_string(launch.size) + " (from " + launch.source +
               "): ranks are 0 to size-1, sizes 1 to " + std::to_string(kMostRanks));
}

// A launcher's variables that hold rank and size.
Result<Launch> told(const Environment& environment, std::string_view rank, std::string_view size, std::string_view launcher) {
  Launch launch;
  launch.source = launcher;
  const auto r = number_of(environment, rank, launcher), s = number_of(environment, size, launcher);
  if (!r.ok()) return r.status();
  if (!s.ok()) return s.status();
  launch.rank = *r;
  launch.size = *s;
  return launch;
}

// torchrun's agent keeps MASTER_PORT for its own store, so the meeting is at the next port.
Result<Launch> from_torchrun(const Environment& environment) {
  auto launch = told(environment, "RANK", "WORLD_SIZE", "torchrun");
  if (!launch.ok()) return launch;
  const std::string* host = variable(environment, "MASTER_ADDR");
  const std::string* port = variable(environment, "MASTER_PORT");
  const auto number = port ? parse_number(*port) : std::nullopt;
  if (host == nullptr || !number || *number == 0 || *number > 65534)
    return wrong("torchrun's RANK is set, but MASTER_ADDR=" + in_quotes(host ? *host : "") +
                 " and MASTER_PORT=" + in_quotes(port ? *port : "") + " do not name a host and a port; set TUTTI_STORE=host:port");
  const bool bare_v6 = host->find(':') != std::string::npos && host->front() != '[';
  launch->place = Place::store;
  launch->store = (bare_v6 ? '[' + *host + ']' : *host) + ':' + std::to_string(*number + 1);
  if (const std::string* run = variable(environment, "TORCHELASTIC_RUN_ID")) launch->job = *run;
  return launch;
}

// srun without PMIx tells ranks who they are but not where to meet.
Result<Launch> from_slurm(const Environment& environment) {
  const bool step = variable(environment, "SLURM_STEP_NUM_TASKS") != nullptr;
  auto launch = told(environment, "SLURM_PROCID", step ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS", "Slurm");
  if (!launch.ok()) return launch;
  for (const char* name : {"SLURM_JOB_ID", "SLURM_STEP_ID"})
    if (const std::string* text = variable(environment, name)) launch->job += (launch->job.empty() ? "" : ".") + *text;
  return launch;
}

Result<Launch> from_launcher(const Environment& environment) {
  if (variable(environment, "RANK") && variable(environment, "WORLD_SIZE")) return from_torchrun(environment);
  if (variable(environment, "SLURM_PROCID") && variable(environment, "SLURM_NTASKS")) return from_slurm(environment);
  Launch alone;
  alone.source = "no launcher";
  return alone;
}

Result<Launch> who(const BirthOptions& options) {
  const auto given = [](int rank, int size, const char* source) {
    Launch launch;
    launch.rank = rank;
    launch.size = size;
    launch.source = source;
    return launch;
  };
  if (options.rank >= 0 || options.size >= 0) {
    if (options.rank < 0 || options.size < 0) return wrong("a config with only one of rank and size: set both, or neither");
    return given(options.rank, options.size, "config");
  }
  if (options.setting_rank >= 0 || options.setting_size >= 0) {
    if (options.setting_rank < 0) return wrong("TUTTI_SIZE is set but TUTTI_RANK is not: set both, or neither");
    if (options.setting_size < 0) return wrong("TUTTI_RANK is set but TUTTI_SIZE is not: set both, or neither");
    return given(options.setting_rank, options.setting_size, "TUTTI_RANK");
  }
  return from_launcher(options.environment);
}

}  // namespace

Environment process_environment() {
  Environment environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const char* equals = std::strchr(*entry, '=');
    if (equals != nullptr) environment.emplace(std::string(static_cast<const char*>(*entry), equals), equals + 1);
  }
  return environment;
}

Result<Launch> find_launch(const BirthOptions& options) {
  const int places = (options.unique_id ? 1 : 0) + (options.store.empty() ? 0 : 1) + (options.callbacks ? 1 : 0);
  if (places > 1) return wrong("a config with more than one of id, store and callbacks: set one");
  auto launch = who(options);
  if (!launch.ok()) return launch;
  const Status valid = check_rank(*launch);
  if (!valid.ok()) return valid;
  if (options.unique_id) {
    launch->place = Place::unique_id;
  } else if (options.callbacks) {
    launch->place = Place::callbacks;
  } else if (!options.store.empty() || !options.setting_store.empty()) {
    launch->place = Place::store;
    launch->store = options.store.empty() ? options.setting_store : options.store;
  }
  if (launch->place == Place::alone && launch->size > 1)
    return wrong(
        "rank " + std::to_string(launch->rank) + " of " + std::to_string(launch->size) + " (from " + launch->source +
        ") does not know where to meet the others: set TUTTI_STORE=host:port (of rank 0) or file:/path/that/all/ranks/see");
  if (launch->size == 1 && launch->place != Place::unique_id) launch->place = Place::alone;
  return launch;
}

}  // namespace tutti
