#include "launcher.h"

#include <algorithm>

#include "launcher_claims.h"
#include "vocabulary.h"
#include "words.h"

namespace tutti {
namespace {

constexpr const char* kSayAll = "set TUTTI_RANK, TUTTI_SIZE and TUTTI_STORE=host:port (of rank 0)";
constexpr const char* kSayWhere = "set TUTTI_STORE=host:port (of rank 0) or file:/path/that/all/ranks/see";

using Claims = std::vector<LauncherClaim>;

Status wrong(const std::string& text) { return Status(Code::invalid_argument, text); }

std::string value_of(const Environment& environment, std::string_view name) {
  const std::string* value = variable(environment, name);
  return value != nullptr ? *value : "";
}

std::string described(const Launch& launch) {
  return "rank " + std::to_string(launch.rank) + " of " + std::to_string(launch.size) + " (from " + launch.source +
         (launch.seen.empty() ? "" : ": " + launch.seen) + ")";
}

Status check_rank(const Launch& launch) {
  constexpr int kMost = static_cast<int>(kMostRanks);
  if (launch.size >= 1 && launch.size <= kMost && launch.rank >= 0 && launch.rank < launch.size) return {};
  return wrong(described(launch) + ": ranks are 0 to size-1, sizes 1 to " + std::to_string(kMost));
}

// ---- the launchers' claims together ----

// Some but not all of the variables of one of several ranks.
bool is_half(const LauncherClaim& claim) {
  const bool alone = claim.size == 1 && claim.rank.value_or(0) == 0;
  return !claim.complete() && !alone;
}

// One torchrun in each rank of mpirun: its ranks are other ones, and it says how many agents its group has.
bool started_group(const Environment& environment, const LauncherClaim& group, const LauncherClaim& outer) {
  if (group.level != LauncherLevel::group || outer.level == LauncherLevel::group || !outer.size) return false;
  return parse_number(value_of(environment, "GROUP_WORLD_SIZE")) == static_cast<uint64_t>(*outer.size);
}

// Launchers of one level, or a launcher and one inside it, must agree; an allocation's tasks may be what others start
// their ranks in.
Status check_agreement(const Environment& environment, const Claims& claims, const LauncherClaim& best) {
  for (const LauncherClaim& other : claims) {
    const bool outer = other.level == LauncherLevel::allocation && best.level != LauncherLevel::allocation;
    if (outer || !best.contradicts(other) || started_group(environment, best, other)) continue;
    return wrong(best.says() + ", but " + other.says() + ": unset the variables of the one that did not start this process, or " +
                 kSayAll);
  }
  return {};
}

// ---- jobs ----

// A restarted job may use the address of the job before, whose processes may still be there.
std::string with_restart(const std::string& job, const std::string& launcher, const std::string& count) {
  if (count.empty()) return job;
  return (job.empty() ? launcher : job) + " (restart " + count + ")";
}

// Each of torchrun's agents counts its own restarts, so only where there is one do all ranks have the same number.
std::string torchrun_job(const Environment& environment) {
  const auto agents = parse_number(value_of(environment, "GROUP_WORLD_SIZE"));
  const bool counted_alike = !agents || *agents == 1;
  return with_restart(value_of(environment, "TORCHELASTIC_RUN_ID"), "torchrun",
                      counted_alike ? value_of(environment, "TORCHELASTIC_RESTART_COUNT") : "");
}

std::string slurm_job(const Environment& environment) {
  std::string job;
  for (const char* name : {"SLURM_JOB_ID", "SLURM_STEP_ID"})
    if (const std::string* text = variable(environment, name)) job += (job.empty() ? "" : ".") + *text;
  return with_restart(job, "Slurm", value_of(environment, "SLURM_RESTART_COUNT"));
}

// ---- rendezvous places ----

// torchrun's agent keeps MASTER_PORT for its own store, so the rendezvous is at the next port.
Status use_master_port(const Environment& environment, Launch& launch) {
  const std::string host = value_of(environment, "MASTER_ADDR"), port = value_of(environment, "MASTER_PORT");
  const auto number = parse_number(port);
  if (host.empty() || !number || *number == 0 || *number > 65534)
    return wrong("torchrun's RANK is set, but MASTER_ADDR=" + in_quotes(host) + " and MASTER_PORT=" + in_quotes(port) +
                 " do not name a host and a port; set TUTTI_STORE=host:port");
  const bool bare_v6 = host.find(':') != std::string::npos && host.front() != '[';
  launch.place = Place::store;
  launch.store = (bare_v6 ? '[' + host + ']' : host) + ':' + std::to_string(*number + 1);
  launch.store_is = "MASTER_PORT + 1";
  return {};
}

// The launcher's key store and its variables must agree about rank and size.
Status use_key_store(const LauncherClaim& best, std::unique_ptr<LauncherStore> store, const std::string& source,
                         Launch& launch) {
  launch.source = source;
  LauncherClaim stated;
  stated.launcher = source;
  stated.rank = store->rank();
  stated.size = store->size();
  stated.seen = "asked";
  if (best.contradicts(stated)) return wrong(best.says() + ", but " + stated.says() + "; " + kSayAll);
  launch.rank = *stated.rank;
  launch.size = *stated.size;
  launch.place = Place::launcher;
  launch.launcher_store = std::move(store);
  return {};
}

// The address of PMIx's server has a name for each of its versions.
bool has_prefix(const Environment& environment, std::string_view prefix) {
  const auto found = environment.lower_bound(prefix);
  return found != environment.end() && found->first.starts_with(prefix);
}

Status use_pmix(const Environment& environment, const LauncherClaim& best, const LauncherClaim& pmix, Launch& launch) {
  auto store = open_pmix();
  const bool usable = store.status().code() != Code::unsupported && has_prefix(environment, "PMIX_SERVER_URI");
  if (store.status().code() == Code::invalid_argument) return store.status();
  if (!store.ok())
    return Status(usable ? store.status().code() : Code::invalid_argument,
                  "the launcher offers PMIx (" + pmix.seen + "), but " + store.status().message() +
                      "; set TUTTI_STORE=host:port (of rank 0)" + (best.size ? "" : ", TUTTI_RANK and TUTTI_SIZE"));
  return use_key_store(best, std::move(*store), &best == &pmix ? "PMIx" : best.launcher + " (PMIx)", launch);
}

Status use_pmi(const Environment& environment, const LauncherClaim& best, const LauncherClaim& pmi, Launch& launch) {
  const auto fd = parse_number(value_of(environment, "PMI_FD"));
  if (!fd || *fd > INT32_MAX) return wrong("PMI_FD is no descriptor (" + pmi.seen + "); " + kSayWhere);
  return use_key_store(best, open_pmi(static_cast<int>(*fd), *pmi.rank, *pmi.size), pmi.launcher, launch);
}

Status use_rendezvous_of(const Environment& environment, const LauncherClaim& best, const LauncherClaim& by, Launch& launch) {
  switch (by.rendezvous) {
    case LauncherRendezvous::master_port: return use_master_port(environment, launch);
    case LauncherRendezvous::pmix: return use_pmix(environment, best, by, launch);
    case LauncherRendezvous::pmi: return use_pmi(environment, best, by, launch);
    case LauncherRendezvous::none: break;
  }
  return {};
}

// ---- which rank this process is ----

// In a batch script or a shell of an allocation, Slurm's variables speak of tasks that are not there.
std::string in_allocation(const Environment& environment) {
  const std::string tasks = value_of(environment, "SLURM_NTASKS");
  if (in_slurm_step(environment) || tasks.empty() || tasks == "1") return "";
  return "SLURM_NTASKS is " + tasks + ", but srun did not start this process";
}

// A place to meet is no proof of other ranks: single programs, too, run where it is set.
Launch alone(const JoinOptions& options, bool placed) {
  Launch launch;
  launch.source = "no launcher";
  const std::string allocation = in_allocation(options.environment);
  if (placed)
    options.log.warn("a place to meet is given, but no rank: neither TUTTI_RANK and TUTTI_SIZE nor a launcher say one" +
                     (allocation.empty() ? "" : "; " + allocation + " (srun ./program)") + ". This process is alone: rank 0 of 1.");
  else if (!allocation.empty())
    options.log.info(allocation + ", so it is alone: rank 0 of 1; start the ranks with srun");
  return launch;
}

// `placed`: where to meet is known otherwise.
Result<Launch> from_launcher(const JoinOptions& options, bool placed) {
  const Environment& environment = options.environment;
  const auto claims = launcher_claims(environment);
  if (!claims.ok()) return claims.status();
  const LauncherClaim* best = chosen_claim(*claims);
  if (best == nullptr) {
    const auto half = std::ranges::find_if(*claims, is_half);
    if (half == claims->end()) return alone(options, placed);
    return wrong("the environment has " + half->seen + " (" + half->launcher + ")" +
                 (half->missing.empty() ? "" : ", but not " + half->missing) + ": " + std::string(half->hint) + ", or " + kSayAll +
                 "; to run alone, set TUTTI_RANK=0 and TUTTI_SIZE=1");
  }
  if (const Status agreed = check_agreement(environment, *claims, *best); !agreed.ok()) return agreed;
  Launch launch;
  launch.rank = *best->rank;
  launch.size = best->size.value_or(0);
  launch.source = best->launcher;
  launch.seen = best->seen;
  if (best->launcher == "torchrun") launch.job = torchrun_job(environment);
  if (best->launcher == "Slurm") launch.job = slurm_job(environment);
  if (best->size) {
    if (const Status valid = check_rank(launch); !valid.ok()) return valid;
    if (placed || *best->size == 1) return launch;
  }
  for (const LauncherClaim& by : *claims) {
    if (by.rendezvous == LauncherRendezvous::none || best->contradicts(by)) continue;
    if (const Status used = use_rendezvous_of(environment, *best, by, launch); !used.ok()) return used;
    return launch;
  }
  if (best->launcher == "torchrun") return use_master_port(environment, launch);
  return wrong(described(launch) + " does not know where to meet the others: " + kSayWhere + ", or " + std::string(best->hint));
}

Result<Launch> who(const JoinOptions& options, bool placed) {
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
  return from_launcher(options, placed);
}

}  // namespace

Result<Launch> find_launch(const JoinOptions& options) {
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
    launch->store_is.clear();
  }
  if (launch->place == Place::alone && launch->size > 1)
    return wrong(described(*launch) + " does not know where to meet the others: " + kSayWhere);
  if (launch->size == 1 && launch->place != Place::unique_id) launch->place = Place::alone;
  return launch;
}

}  // namespace tutti
