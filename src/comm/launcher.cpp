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
Result<Launch> from_torchrun(const Environment& environment, bool placed) {
  auto launch = told(environment, "RANK", "WORLD_SIZE", "torchrun");
  if (!launch.ok() || placed) return launch;
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

Launch by_store(std::unique_ptr<LauncherStore> store, const char* source) {
  Launch launch;
  launch.rank = store->rank();
  launch.size = store->size();
  launch.source = source;
  launch.place = Place::launcher;
  launch.launcher_store = std::move(store);
  return launch;
}

// Open MPI's mpirun and Slurm's srun also say rank and size in variables of their own: enough where the place is known.
Result<Launch> from_pmix(const Environment& environment, bool placed) {
  const bool open_mpi = variable(environment, "OMPI_COMM_WORLD_RANK") != nullptr;
  const bool slurm = variable(environment, "SLURM_PROCID") != nullptr;
  if (placed && open_mpi) return told(environment, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "Open MPI");
  if (placed && slurm) return from_slurm(environment);
  auto store = open_pmix();
  if (!store.ok())
    return Status(store.status().code(),
                  "the launcher offers PMIx, but " + store.status().message() + "; set TUTTI_STORE=host:port (of rank 0)");
  return by_store(std::move(*store), open_mpi ? "Open MPI (PMIx)" : slurm ? "Slurm (PMIx)" : "PMIx");
}

Result<Launch> from_hydra(const Environment& environment) {
  const auto launch = told(environment, "PMI_RANK", "PMI_SIZE", "hydra (PMI)");
  if (!launch.ok()) return launch;
  const auto fd = number_of(environment, "PMI_FD", "hydra (PMI)");
  if (!fd.ok()) return fd.status();
  return by_store(open_pmi(*fd, launch->rank, launch->size), "hydra (PMI)");
}

// `placed`: where to meet is known otherwise.
Result<Launch> from_launcher(const Environment& environment, bool placed) {
  const auto has = [&](std::string_view name) { return variable(environment, name) != nullptr; };
  if (has("RANK") && has("WORLD_SIZE")) return from_torchrun(environment, placed);
  if (has("PMIX_RANK") && has("PMIX_NAMESPACE")) return from_pmix(environment, placed);
  // Slurm's PMI-2 uses the same names for another protocol; hydra sets MPI_LOCALRANKID too, also where Slurm starts its proxies.
  if (has("PMI_FD") && has("PMI_RANK") && has("PMI_SIZE") && (has("MPI_LOCALRANKID") || !has("SLURM_PROCID")))
    return from_hydra(environment);
  if (has("SLURM_PROCID") && has("SLURM_NTASKS")) return from_slurm(environment);
  Launch alone;
  alone.source = "no launcher";
  return alone;
}

Result<Launch> who(const BirthOptions& options, bool placed) {
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
  return from_launcher(options.environment, placed);
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
  auto launch = who(options, places > 0 || !options.setting_store.empty());
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
