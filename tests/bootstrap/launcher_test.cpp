// The meaning of each launcher's variables, and the sentences when they cannot work.
#include "launcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>


#include "bootstrap_fixture.h"

namespace tutti {
namespace {

using testing::HasSubstr;

Result<Launch> launch_of(Environment environment) {
  JoinOptions options;
  options.environment = std::move(environment);
  return find_launch(options);
}

TEST(Launcher, NoneIsAlone) {
  const auto launch = launch_of({{"PATH", "/bin"}});
  ASSERT_TRUE(launch.ok());
  EXPECT_EQ(launch->size, 1);
  EXPECT_EQ(launch->place, Place::alone);
  EXPECT_EQ(launch->source, "no launcher");
}

const Environment kTorchrun = {
    {"RANK", "2"}, {"WORLD_SIZE", "4"}, {"MASTER_ADDR", "node7"}, {"MASTER_PORT", "29500"}, {"TORCHELASTIC_RUN_ID", "abc"}};

TEST(Launcher, TorchrunMeetsAtTheNextPort) {
  const auto launch = launch_of(kTorchrun);
  ASSERT_TRUE(launch.ok()) << launch.status().message();
  EXPECT_EQ(launch->rank, 2);
  EXPECT_EQ(launch->size, 4);
  EXPECT_EQ(launch->source, "torchrun");
  EXPECT_EQ(launch->place, Place::store);
  EXPECT_EQ(launch->store, "node7:29501");
  EXPECT_EQ(launch->job, "abc");
}

TEST(Launcher, TorchrunWithAnIPv6Master) {
  Environment environment = kTorchrun;
  environment["MASTER_ADDR"] = "fd00::1";
  EXPECT_EQ(launch_of(environment)->store, "[fd00::1]:29501");
}

TEST(Launcher, TorchrunWithoutMasterNeedsAStore) {
  Environment environment = kTorchrun;
  environment.erase("MASTER_PORT");
  EXPECT_THAT(launch_of(environment).status().message(),
              HasSubstr("MASTER_PORT=\"\" do not name a host and a port; set TUTTI_STORE"));
  JoinOptions options;
  options.environment = environment;
  options.setting_store = "file:/shared/meet";
  const auto launch = find_launch(options);
  ASSERT_TRUE(launch.ok()) << launch.status().message();
  EXPECT_EQ(launch->store, "file:/shared/meet");
  EXPECT_EQ(launch->rank, 2);
}

TEST(Launcher, ConfigBeatsSettingsBeatLaunchers) {
  JoinOptions options;
  options.environment = kTorchrun;
  options.setting_rank = 5;
  options.setting_size = 6;
  options.setting_store = "node1:1";
  auto launch = find_launch(options);
  ASSERT_TRUE(launch.ok());
  EXPECT_EQ(launch->rank, 5);
  EXPECT_EQ(launch->source, "TUTTI_RANK");
  EXPECT_EQ(launch->store, "node1:1");
  options.rank = 7;
  options.size = 8;
  options.store = "node2:2";
  launch = find_launch(options);
  ASSERT_TRUE(launch.ok());
  EXPECT_EQ(launch->rank, 7);
  EXPECT_EQ(launch->source, "config");
  EXPECT_EQ(launch->store, "node2:2");
}

TEST(Launcher, RankWithoutStoreSaysWhatToSet) {
  JoinOptions options;
  options.setting_rank = 0;
  options.setting_size = 2;
  EXPECT_THAT(find_launch(options).status().message(),
              HasSubstr("rank 0 of 2 (from TUTTI_RANK) does not know where to meet the others: set TUTTI_STORE=host:port"));
}

TEST(Launcher, HalfOfAPairIsAnError) {
  JoinOptions options;
  options.setting_rank = 0;
  EXPECT_THAT(find_launch(options).status().message(), HasSubstr("TUTTI_RANK is set but TUTTI_SIZE is not"));
  options.setting_rank = -1;
  options.setting_size = 2;
  EXPECT_THAT(find_launch(options).status().message(), HasSubstr("TUTTI_SIZE is set but TUTTI_RANK is not"));
  options.rank = 1;
  EXPECT_THAT(find_launch(options).status().message(), HasSubstr("only one of rank and size"));
}

TEST(Launcher, RankMustBeBelowSize) {
  JoinOptions options;
  options.rank = 2;
  options.size = 2;
  options.store = "node1:1";
  EXPECT_THAT(find_launch(options).status().message(), HasSubstr("rank 2 of 2 (from config)"));
  EXPECT_THAT(launch_of({{"RANK", "x"}, {"WORLD_SIZE", "2"}}).status().message(), HasSubstr("RANK=\"x\""));
}

TEST(Launcher, OnePlaceAtMost) {
  JoinOptions options;
  options.rank = 0;
  options.size = 2;
  options.store = "node1:1";
  options.unique_id = "x";
  EXPECT_THAT(find_launch(options).status().message(), HasSubstr("more than one of id, store and callbacks"));
}

const Environment kSlurm = {{"SLURM_PROCID", "3"}, {"SLURM_NTASKS", "8"}, {"SLURM_JOB_ID", "77"}, {"SLURM_STEP_ID", "1"}};

TEST(Launcher, SlurmWithoutPmixNeedsAStore) {
  EXPECT_THAT(launch_of(kSlurm).status().message(),
              HasSubstr("rank 3 of 8 (from Slurm: SLURM_PROCID=3, SLURM_NTASKS=8, SLURM_STEP_ID=1) does not know where to meet"));
  JoinOptions options;
  options.environment = kSlurm;
  options.setting_store = "node1:29400";
  const auto launch = find_launch(options);
  ASSERT_TRUE(launch.ok());
  EXPECT_EQ(launch->rank, 3);
  EXPECT_EQ(launch->size, 8);
  EXPECT_EQ(launch->job, "77.1");
}

TEST(Launcher, SlurmsStepCountsIfItIsPartOfAnAllocation) {
  Environment environment = kSlurm;
  environment["SLURM_PROCID"] = "0";
  environment["SLURM_STEP_NUM_TASKS"] = "1";
  EXPECT_EQ(launch_of(environment)->place, Place::alone);
}

TEST(Launcher, SlurmsPmi2IsNotTakenForHydras) {
  Environment environment = kSlurm;
  environment.insert({{"PMI_FD", "9"}, {"PMI_RANK", "3"}, {"PMI_SIZE", "8"}});
  EXPECT_THAT(launch_of(environment).status().message(), HasSubstr("from Slurm"));
  environment["MPI_LOCALRANKID"] = "0";  // hydra, whose proxies srun has started
  const auto launch = launch_of(environment);
  ASSERT_TRUE(launch.ok());
  EXPECT_EQ(launch->source, "hydra (PMI)");
  EXPECT_EQ(launch->place, Place::launcher);
}

TEST(Launcher, OpenMpiWithAStoreNeedsNoPmix) {
  JoinOptions options;
  options.environment = {{"PMIX_RANK", "1"}, {"PMIX_NAMESPACE", "n"}, {"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "2"}};
  options.setting_store = "node1:1";
  const auto launch = find_launch(options);
  ASSERT_TRUE(launch.ok());
  EXPECT_EQ(launch->source, "Open MPI");
  EXPECT_EQ(launch->rank, 1);
}

TEST(Launcher, RestartsAreOtherJobs) {
  Environment environment = kTorchrun;
  environment["TORCHELASTIC_RESTART_COUNT"] = "2";
  EXPECT_EQ(launch_of(environment)->job, "abc (restart 2)");
  environment["GROUP_WORLD_SIZE"] = "1";
  EXPECT_EQ(launch_of(environment)->job, "abc (restart 2)");
  environment["GROUP_WORLD_SIZE"] = "2";  // agents count their own restarts
  EXPECT_EQ(launch_of(environment)->job, "abc");
  environment.erase("TORCHELASTIC_RUN_ID");
  environment.erase("GROUP_WORLD_SIZE");
  EXPECT_EQ(launch_of(environment)->job, "torchrun (restart 2)");
  JoinOptions options;
  options.environment = kSlurm;
  options.environment["SLURM_RESTART_COUNT"] = "1";
  options.setting_store = "node1:29400";
  EXPECT_EQ(find_launch(options)->job, "77.1 (restart 1)");
}

// ---- launchers that are half there: an error, never a rank 0 of 1 ----

struct Half {
  Environment environment;
  std::vector<std::string> words;  // of the sentence
};

void expect_refused(const Environment& environment, const std::vector<std::string>& words) {
  const auto launch = launch_of(environment);
  ASSERT_FALSE(launch.ok()) << environment.begin()->first << ": rank " << launch->rank << " of " << launch->size;
  EXPECT_EQ(launch.status().code(), Code::invalid_argument) << launch.status().message();
  for (const std::string& word : words) EXPECT_THAT(launch.status().message(), HasSubstr(word));
}

TEST(Launcher, APartOfALaunchersVariablesIsAnError) {
  const std::string all = "set TUTTI_RANK, TUTTI_SIZE and TUTTI_STORE=host:port";
  const Half kHalves[] = {
      {{{"RANK", "1"}, {"MASTER_ADDR", "node7"}, {"MASTER_PORT", "29500"}}, {"RANK=1 (torchrun), but not WORLD_SIZE", all}},
      {{{"WORLD_SIZE", "4"}}, {"WORLD_SIZE=4", "but not RANK"}},
      {{{"LOCAL_RANK", "1"}}, {"LOCAL_RANK=1", "but not RANK and WORLD_SIZE"}},
      {{{"OMPI_COMM_WORLD_SIZE", "4"}}, {"OMPI_COMM_WORLD_SIZE=4 (Open MPI), but not OMPI_COMM_WORLD_RANK", all}},
      {{{"OMPI_COMM_WORLD_RANK", "0"}}, {"but not OMPI_COMM_WORLD_SIZE"}},
      {{{"PMI_SIZE", "4"}}, {"PMI_SIZE=4 (PMI), but not PMI_RANK"}},
      {{{"PMI_FD", "7"}}, {"PMI_FD=7", "but not PMI_RANK and PMI_SIZE"}},
      {{{"PMI_PORT", "node7:4242"}, {"PMI_ID", "1"}}, {"PMI_PORT=\"node7:4242\"", "mpiexec.hydra"}},
      {{{"MPI_LOCALRANKID", "0"}, {"MPI_LOCALNRANKS", "2"}}, {"MPI_LOCALNRANKS=2"}},
      {{{"MV2_COMM_WORLD_RANK", "1"}}, {"MVAPICH", "but not MV2_COMM_WORLD_SIZE"}},
      {{{"FLUX_JOB_SIZE", "4"}}, {"but not FLUX_TASK_RANK"}},
      {{{"PALS_NRANKS", "4"}}, {"but not PALS_RANKID"}},
      {{{"ALPS_APP_PE", "3"}}, {"ALPS_APP_PE=3", all}},
      {{{"JSM_NAMESPACE_SIZE", "4"}}, {"but not JSM_NAMESPACE_RANK"}},
      {{{"PMIX_RANK", "1"}}, {"PMIX_RANK=1 (PMIx), but not PMIX_NAMESPACE"}},
      {{{"PMIX_NAMESPACE", "x"}}, {"PMIX_NAMESPACE=\"x\" (PMIx), but not PMIX_RANK"}},
      {{{"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "4"}}, {"SLURM_PROCID=1", "but not SLURM_STEP_ID", "srun"}},
      {{{"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "4"}}, {"but not SLURM_PROCID"}},
  };
  for (const Half& half : kHalves) expect_refused(half.environment, half.words);
}

// Of launchers that say rank and size.
const Environment kComplete[] = {
    {{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "4"}},
    {{"PMI_RANK", "1"}, {"PMI_SIZE", "4"}, {"PMI_PORT", "127.0.0.1:1"}},
    {{"MV2_COMM_WORLD_RANK", "1"}, {"MV2_COMM_WORLD_SIZE", "4"}},
    {{"MVP_COMM_WORLD_RANK", "1"}, {"MVP_COMM_WORLD_SIZE", "4"}},
    {{"SLURM_PROCID", "1"}, {"SLURM_JOB_ID", "7"}, {"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "4"}},
    {{"FLUX_TASK_RANK", "1"}, {"FLUX_JOB_SIZE", "4"}},
    {{"PALS_RANKID", "1"}, {"PALS_NRANKS", "4"}},
    {{"JSM_NAMESPACE_RANK", "1"}, {"JSM_NAMESPACE_SIZE", "4"}},
    {{"HOROVOD_RANK", "1"}, {"HOROVOD_SIZE", "4"}},
    {{"MPI_RANKID", "1"}, {"MPI_NRANKS", "4"}},
};

TEST(Launcher, WithoutAPlaceToMeetIsAnErrorAndWithOneEnough) {
  for (const Environment& environment : kComplete) {
    expect_refused(environment,
                   {"rank 1 of 4 (from ", "=1, ", "does not know where to meet the others: set TUTTI_STORE=host:port"});
    JoinOptions options;
    options.environment = environment;
    options.setting_store = "node1:29400";
    const auto launch = find_launch(options);
    ASSERT_TRUE(launch.ok()) << launch.status().message();
    EXPECT_EQ(launch->rank, 1);
    EXPECT_EQ(launch->size, 4);
    EXPECT_EQ(launch->store, "node1:29400");
    options.setting_store.clear();
    options.unique_id = "an id";
    ASSERT_TRUE(find_launch(options).ok());
    EXPECT_EQ(find_launch(options)->place, Place::unique_id);
  }
}

TEST(Launcher, JobsOfOneRankAreAlone) {
  for (const Environment& of_four : kComplete) {
    Environment environment;
    for (const auto& [name, value] : of_four) environment[name] = value == "4" ? "1" : value == "1" ? "0" : value;
    const auto launch = launch_of(environment);
    ASSERT_TRUE(launch.ok()) << launch.status().message();
    EXPECT_EQ(launch->place, Place::alone);
    EXPECT_EQ(launch->size, 1);
  }
  Environment known = {{"PMIX_RANK", "0"}, {"PMIX_NAMESPACE", "x"}, {"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "1"}};
  EXPECT_EQ(launch_of(known)->place, Place::alone) << "PMIx need not be asked";
  EXPECT_EQ(launch_of({{"WORLD_SIZE", "1"}})->place, Place::alone);
}

TEST(Launcher, NumbersOutOfRangeAreErrors) {
  expect_refused({{"OMPI_COMM_WORLD_RANK", "5"}, {"OMPI_COMM_WORLD_SIZE", "4"}}, {"rank 5 of 4", "OMPI_COMM_WORLD_RANK=5"});
  expect_refused({{"PMI_RANK", "0"}, {"PMI_SIZE", "65537"}}, {"PMI_SIZE=\"65537\""});
  expect_refused({{"FLUX_TASK_RANK", "-1"}, {"FLUX_JOB_SIZE", "4"}}, {"FLUX_TASK_RANK=\"-1\""});
  JoinOptions options;
  options.rank = 0;
  options.size = 65537;
  options.store = "node1:1";
  EXPECT_THAT(find_launch(options).status().message(), HasSubstr("sizes 1 to 65536"));
}

TEST(Launcher, AWordNamedRankIsSomebodyElses) { EXPECT_EQ(launch_of({{"RANK", "captain"}})->place, Place::alone); }

TEST(Launcher, ExplicitRanksBeatHalves) {
  JoinOptions options;
  options.environment = {{"OMPI_COMM_WORLD_SIZE", "4"}, {"PMI_FD", "7"}, {"RANK", "x"}, {"WORLD_SIZE", "9"}};
  options.setting_rank = 0;
  options.setting_size = 1;
  EXPECT_EQ(find_launch(options)->place, Place::alone);
}

TEST(Launcher, LaunchersThatDisagreeAreBothNamed) {
  expect_refused({{"OMPI_COMM_WORLD_RANK", "1"}, {"OMPI_COMM_WORLD_SIZE", "4"}, {"PMI_RANK", "0"}, {"PMI_SIZE", "2"}},
                 {"Open MPI says rank 1 of 4 (OMPI_COMM_WORLD_RANK=1", "PMI says rank 0 of 2 (PMI_RANK=0, PMI_SIZE=2)"});
  Environment environment = kTorchrun;
  environment.insert({{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "2"}});
  expect_refused(environment, {"torchrun says rank 2 of 4", "Open MPI says rank 0 of 2"});
  environment["GROUP_WORLD_SIZE"] = "2";  // an agent in each rank of mpirun
  EXPECT_EQ(launch_of(environment)->rank, 2);
  environment = kSlurm;
  environment["WORLD_SIZE"] = "9";  // in part, but inside
  expect_refused(environment, {"Slurm says rank 3 of 8", "torchrun says a rank of 9 (WORLD_SIZE=9)"});
}

// srun has started mpirun's helpers, or torchrun's agents.
TEST(Launcher, LaunchersInsideOthersAreRight) {
  JoinOptions options;
  options.environment = {{"SLURM_PROCID", "1"},
                         {"SLURM_NTASKS", "2"},
                         {"SLURM_STEP_ID", "1"},
                         {"PMIX_RANK", "1"},
                         {"OMPI_COMM_WORLD_RANK", "5"},
                         {"OMPI_COMM_WORLD_SIZE", "16"},
                         {"PMIX_NAMESPACE", "slurm.pmix.77.1"}};
  options.setting_store = "node1:1";
  const auto launch = find_launch(options);
  ASSERT_TRUE(launch.ok()) << launch.status().message();
  EXPECT_EQ(launch->rank, 5);
  Environment environment = kSlurm;
  environment.insert(kTorchrun.begin(), kTorchrun.end());
  EXPECT_EQ(launch_of(environment)->source, "torchrun");
}

// ---- Slurm's batch scripts ----

// The log where a process turns out to be alone.
std::string logged(Environment environment, const std::string& store) {
  JoinOptions options;
  options.environment = std::move(environment);
  options.setting_store = store;
  options.log = Log(LogLevel::info, "tutti", 2);
  testing::internal::CaptureStderr();
  const auto launch = find_launch(options);
  std::string text = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(launch.ok() && launch->place == Place::alone);
  return text;
}

TEST(Launcher, AProgramInABatchScriptIsAlone) {
  Environment script = {{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}};
  EXPECT_THAT(logged(script, ""), HasSubstr("info: SLURM_NTASKS is 4, but srun did not start this process, so it is alone"));
  EXPECT_THAT(logged(script, "node1:1"), HasSubstr("warn: a place to meet is given, but no rank"));
  for (const char* special : {"4294967290", "4294967291", "4294967292"}) {  // interactive, batch, extern
    script["SLURM_STEP_ID"] = special;
    EXPECT_THAT(logged(script, ""), HasSubstr("is alone"));
  }
  EXPECT_EQ(logged({{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "1"}, {"SLURM_PROCID", "0"}}, ""), "");
}

TEST(Launcher, APlaceWithoutARankIsAWarning) {
  EXPECT_THAT(logged({}, "node1:1"), HasSubstr("neither TUTTI_RANK and TUTTI_SIZE nor a launcher say one. This process is alone"));
}

TEST(Launcher, ToolsLearnWhetherTheyWereLaunched) {
  EXPECT_EQ(launched_rank({{"TUTTI_RANK", "3"}}), 3);
  EXPECT_EQ(launched_rank({{"TUTTI_RANK", "x"}}), -1);
  EXPECT_EQ(launched_rank(kSlurm), 3);
  EXPECT_EQ(launched_rank(kTorchrun), 2);
  EXPECT_EQ(launched_rank({{"PMIX_RANK", "1"}, {"PMIX_NAMESPACE", "x"}}), 1);
  EXPECT_EQ(launched_rank({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}}), std::nullopt);
  EXPECT_EQ(launched_rank({{"PMI_SIZE", "4"}}), std::nullopt);
}

}  // namespace
}  // namespace tutti
