#include "launcher_claims.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "vocabulary.h"
#include "words.h"

namespace tutti {
namespace {

constexpr std::string_view kSlurm = "Slurm", kPmix = "PMIx", kPmi = "hydra (PMI)", kTorchrun = "torchrun";

using Level = LauncherLevel;

constexpr std::string_view kUsePmix = "let the launcher offer PMIx, which sets PMIX_RANK and PMIX_NAMESPACE";
constexpr std::string_view kUsePmi = "let the launcher offer PMI-1, which sets PMI_FD, as mpiexec.hydra does";

struct Row {
  std::string_view name;
  Level level;
  std::string_view rank, size, hint;
  std::array<std::string_view, 5> signs;  // further variables that only its ranks have
};

// docs/launchers.md has the same rows.
constexpr Row kRows[] = {
    {kTorchrun, Level::group, "RANK", "WORLD_SIZE", "start the ranks with torchrun", {"LOCAL_RANK", "LOCAL_WORLD_SIZE"}},
    {"Open MPI", Level::job, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", kUsePmix, {"OMPI_COMM_WORLD_LOCAL_RANK"}},
    {"MVAPICH", Level::job, "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", kUsePmi, {"MV2_COMM_WORLD_LOCAL_RANK"}},
    {"MVAPICH 3", Level::job, "MVP_COMM_WORLD_RANK", "MVP_COMM_WORLD_SIZE", kUsePmi, {"MVP_COMM_WORLD_LOCAL_RANK"}},
    {"IBM JSM", Level::job, "JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE", kUsePmix, {"JSM_NAMESPACE_LOCAL_RANK"}},
    {"Platform MPI", Level::job, "MPI_RANKID", "MPI_NRANKS", kUsePmi, {}},
    {"Horovod", Level::job, "HOROVOD_RANK", "HOROVOD_SIZE", kUsePmix, {"HOROVOD_LOCAL_RANK"}},
    {kPmi, Level::job, "PMI_RANK", "PMI_SIZE", kUsePmi, {"PMI_FD", "PMI_PORT", "PMI_ID", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"}},
    {kPmix, Level::job, "PMIX_RANK", "PMIX_NAMESPACE", kUsePmix, {}},  // its namespace stands for the size
    {kSlurm, Level::allocation, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "start the ranks with srun --mpi=pmix", {"SLURM_STEP_ID"}},
    {"Flux", Level::allocation, "FLUX_TASK_RANK", "FLUX_JOB_SIZE", kUsePmi, {"FLUX_TASK_LOCAL_ID"}},
    {"Cray PALS", Level::allocation, "PALS_RANKID", "PALS_NRANKS", kUsePmi, {"PALS_LOCAL_RANKID"}},
    {"Cray ALPS", Level::allocation, "ALPS_APP_PE", "ALPS_APP_NPES", kUsePmi, {}},
};

// Batch scripts, shells of salloc and the like are steps to Slurm, too, with numbers from here on.
constexpr uint64_t kFirstSpecialStep = 0xFFFF'FFF0;

bool has(const Environment& environment, std::string_view name) { return variable(environment, name) != nullptr; }

// srun's PMI-2 uses the names of PMI-1 for another protocol.  hydra sets MPI_LOCALRANKID too, also where srun has
// started its proxies.
bool pmi_is_slurms(const Environment& environment) {
  return in_slurm_step(environment) && !has(environment, "MPI_LOCALRANKID") && !has(environment, "FLUX_TASK_RANK");
}

// Slurm's own PMIx, which mpirun's helpers and their ranks inherit where srun starts them.
bool pmix_is_slurms(const Environment& environment) {
  const std::string* space = variable(environment, "PMIX_NAMESPACE");
  return space != nullptr && space->starts_with("slurm.") && in_slurm_step(environment);
}

LauncherRendezvous rendezvous_of(const Environment& environment, const Row& row) {
  const auto all = [&](std::initializer_list<std::string_view> names) {
    return std::ranges::all_of(names, [&](std::string_view name) { return has(environment, name); });
  };
  if (row.name == kTorchrun && all({"MASTER_ADDR", "MASTER_PORT"})) return LauncherRendezvous::master_port;
  if (row.name == kPmix && all({"PMIX_RANK", "PMIX_NAMESPACE"})) return LauncherRendezvous::pmix;
  if (row.name == kPmi && all({"PMI_FD", "PMI_RANK", "PMI_SIZE"})) return LauncherRendezvous::pmi;
  return LauncherRendezvous::none;
}

std::string name_of(const Environment& environment, const Row& row) {
  if (row.name != kPmi) return std::string(row.name);
  if (has(environment, "FLUX_TASK_RANK")) return "Flux (PMI)";
  return has(environment, "PMI_FD") || has(environment, "MPI_LOCALRANKID") ? "hydra (PMI)" : "PMI";
}

// torchrun's names are anybody's: a RANK that is a word, where there is no WORLD_SIZE, is somebody else's.
bool rank_is_a_word(const Environment& environment) {
  const std::string* rank = variable(environment, "RANK");
  return rank != nullptr && !parse_number(*rank) && !has(environment, "WORLD_SIZE") && !has(environment, "LOCAL_RANK");
}

// Variables of no rank: those of a batch script, where rank 0 is the script itself, and those that mean something else.
bool is_foreign(const Environment& environment, const Row& row) {
  if (row.name == kTorchrun) return rank_is_a_word(environment);
  if (row.name == kPmi) return pmi_is_slurms(environment);
  if (row.name != kSlurm || in_slurm_step(environment)) return false;
  const std::string* rank = variable(environment, row.rank);
  return rank == nullptr || *rank == "0";
}

class ClaimReader {
 public:
  ClaimReader(const Environment& environment, const Row& row) : environment_(environment) {
    claim_.launcher = name_of(environment, row);
    claim_.level = row.name == kPmix && pmix_is_slurms(environment) ? LauncherLevel::allocation : row.level;
    claim_.hint = row.hint;
    claim_.rendezvous = rendezvous_of(environment, row);
  }

  // False: the variable is not set.
  bool note(std::string_view name) {
    const std::string* text = variable(environment_, name);
    if (text == nullptr) return false;
    claim_.seen += (claim_.seen.empty() ? "" : ", ") + std::string(name) + "=" + (parse_number(*text) ? *text : in_quotes(*text));
    return true;
  }
  void miss(std::string_view name) { claim_.missing += (claim_.missing.empty() ? "" : " and ") + std::string(name); }

  Status read(std::string_view name, std::optional<int>& value) {
    if (!note(name)) {
      miss(name);
      return {};
    }
    const std::string& text = *variable(environment_, name);
    const auto number = parse_number(text);
    if (!number || *number > kMostRanks)
      return Status(Code::invalid_argument,
                    std::string(name) + "=" + in_quotes(text) + " (" + claim_.launcher + ") is not a number of a rank or of ranks");
    value = static_cast<int>(*number);
    return {};
  }

  LauncherClaim& claim() { return claim_; }

 private:
  const Environment& environment_;
  LauncherClaim claim_;
};

Result<LauncherClaim> read_claim(const Environment& environment, const Row& row) {
  ClaimReader reader(environment, row);
  if (Status status = reader.read(row.rank, reader.claim().rank); !status.ok()) return status;
  Status status;
  if (row.name == kPmix) {
    if (!reader.note(row.size)) reader.miss(row.size);
  } else if (row.name == kSlurm && !has(environment, row.size) && has(environment, "SLURM_NTASKS")) {
    status = reader.read("SLURM_NTASKS", reader.claim().size);
  } else {
    status = reader.read(row.size, reader.claim().size);
  }
  if (!status.ok()) return status;
  for (const std::string_view sign : row.signs)
    if (!sign.empty()) reader.note(sign);
  if (row.name == kSlurm && !in_slurm_step(environment)) {  // a number above 0, but nobody who gave it
    reader.miss("SLURM_STEP_ID");
    reader.claim().size.reset();
  }
  return std::move(reader.claim());
}

}  // namespace

bool LauncherClaim::contradicts(const LauncherClaim& other) const {
  return (rank && other.rank && *rank != *other.rank) || (size && other.size && *size != *other.size);
}

std::string LauncherClaim::says() const {
  const std::string who = rank ? "rank " + std::to_string(*rank) : "a rank";
  return launcher + " says " + who + (size ? " of " + std::to_string(*size) : "") + " (" + seen + ")";
}

const std::string* variable(const Environment& environment, std::string_view name) {
  const auto found = environment.find(name);
  return found == environment.end() || found->second.empty() ? nullptr : &found->second;
}

bool in_slurm_step(const Environment& environment) {
  const std::string* step = variable(environment, "SLURM_STEP_ID");
  const auto number = step != nullptr ? parse_number(*step) : std::nullopt;
  return number && *number < kFirstSpecialStep;
}

Result<std::vector<LauncherClaim>> launcher_claims(const Environment& environment) {
  std::vector<LauncherClaim> claims;
  for (const Row& row : kRows) {
    if (is_foreign(environment, row)) continue;
    auto claim = read_claim(environment, row);
    if (!claim.ok()) return claim.status();
    if (!claim->seen.empty()) claims.push_back(std::move(*claim));
  }
  std::ranges::stable_sort(claims, std::ranges::greater(), &LauncherClaim::level);
  return claims;
}

const LauncherClaim* chosen_claim(const std::vector<LauncherClaim>& claims) {
  const LauncherClaim* best = nullptr;
  for (const LauncherClaim& claim : claims) {
    if (!claim.complete() || (best != nullptr && best->level != claim.level)) continue;
    if (best == nullptr || (!best->size && claim.size)) best = &claim;
  }
  return best;
}

std::optional<int> launched_rank(const Environment& environment) {
  if (const std::string* text = variable(environment, "TUTTI_RANK")) {
    const auto rank = parse_number(*text);
    return rank && *rank < kMostRanks ? static_cast<int>(*rank) : -1;
  }
  const auto claims = launcher_claims(environment);
  if (!claims.ok()) return -1;
  const LauncherClaim* best = chosen_claim(*claims);
  return best != nullptr ? best->rank : std::nullopt;
}

Environment process_environment() {
  Environment environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const char* equals = std::strchr(*entry, '=');
    if (equals != nullptr) environment.emplace(std::string(static_cast<const char*>(*entry), equals), equals + 1);
  }
  return environment;
}

}  // namespace tutti
