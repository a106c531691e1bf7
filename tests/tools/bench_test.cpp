// tutti-bench as users and their parsers meet it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "bench_run.h"
#include "sanitized.h"

namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

// The launchers' variables around it do not concern the ranks that it starts itself.
TEST_F(Bench, StartsRanksInABatchScriptAndBesideHalfALauncher) {
  for (const char* around :
       {"SLURM_JOB_ID=7 SLURM_NTASKS=4 SLURM_PROCID=0", "SLURM_NTASKS=4 SLURM_PROCID=0 SLURM_STEP_ID=4294967291", "PMI_SIZE=4",
        "OMPI_COMM_WORLD_SIZE=4 WORLD_SIZE=4"}) {
    EXPECT_EQ(run("all_reduce --ranks 2 -b 4 -e 4 -n 5", around), 0) << around << ": " << output_;
    EXPECT_THAT(output_, HasSubstr("# 2 ranks over")) << around;
  }
}

TEST_F(Bench, BindsItsRanksToCoresOfTheirOwn) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  ASSERT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
  const int cores = CPU_COUNT(&allowed);
  const std::string own = "# Binding: each rank has cores of its own.\n", none = "# Binding: none, ranks share cores.\n";
  if (cores > 1) {
    EXPECT_EQ(run("barrier --ranks 2 -n 5"), 0) << output_;
    EXPECT_THAT(output_, HasSubstr(own));
  }
  EXPECT_EQ(run("barrier --ranks " + std::to_string(cores + 1) + " -n 5"), 0) << output_;
  EXPECT_THAT(output_, HasSubstr(none));
  EXPECT_EQ(run("barrier --ranks 2 -n 5 --bind none"), 0) << output_;
  EXPECT_THAT(output_, HasSubstr(none));
  EXPECT_EQ(run("barrier --bind socket"), 2);
  EXPECT_THAT(output_, HasSubstr("--bind takes core or none, not \"socket\""));
}

TEST_F(Bench, RanksMayBeThreads) {
  const std::string path = directory_ + "/out.json";
  ASSERT_EQ(run("all_reduce --ranks 3 --threads -b 4 -e 4K -f 32 -n 2 -w 1 -J " + path), 0) << output_;
  EXPECT_THAT(output_, HasSubstr("# 3 ranks over memory 2: 4 KiB all-reduce in "));
  EXPECT_THAT(rows(), SizeIs(3));
  for (const auto& row : rows()) EXPECT_EQ(row[8], "0");
  const auto json = nlohmann::json::parse(std::ifstream(path), nullptr, false);
  EXPECT_EQ(json["config"]["threads"], true);
  for (const auto& rank : json["config"]["devices"]) EXPECT_EQ(rank["pid"], json["config"]["devices"][0]["pid"]);
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
  if (CPU_COUNT(&allowed) > 1) {
    EXPECT_EQ(run("barrier --ranks 2 --threads -n 5"), 0) << output_;
    EXPECT_THAT(output_, HasSubstr("# Binding: each rank has cores of its own.\n"));
  }
  EXPECT_EQ(run("all_reduce --threads", "TUTTI_RANK=0 TUTTI_SIZE=1"), 2);
  EXPECT_THAT(output_, HasSubstr("--threads starts the ranks, and a launcher has started them already."));
}

TEST_F(Bench, TableIsThatOfNcclTests) {
  ASSERT_EQ(run("all_reduce --ranks 2 -b 4 -e 4K -f 32 -n 2 -w 1"), 0) << output_;
  EXPECT_THAT(output_,
              HasSubstr("\n"
                        "#       size         count      type   redop    root     time   algbw   busbw  #wrong     time   algbw"
                        "   busbw  #wrong\n"
                        "#        (B)    (elements)                               (us)  (GB/s)  (GB/s)             (us)  (GB/s)"
                        "  (GB/s)\n"));
  EXPECT_THAT(output_, HasSubstr("\n# Out of bounds values : 0 OK\n# Avg bus bandwidth    : "));
  const auto table = rows();
  ASSERT_THAT(table, SizeIs(3));
  const std::string sizes[] = {"4", "128", "4096"}, counts[] = {"1", "32", "1024"};
  for (size_t i = 0; i < 3; ++i) {
    ASSERT_THAT(table[i], SizeIs(13));  // parsers count from both ends
    EXPECT_EQ(table[i][0], sizes[i]);
    EXPECT_EQ(table[i][1], counts[i]);
    EXPECT_EQ(table[i][2], "float");
    EXPECT_EQ(table[i][3], "sum");
    EXPECT_EQ(table[i][4], "-1");
    for (const size_t column : {size_t{5}, size_t{9}}) EXPECT_GT(std::stod(table[i][column]), 0);
    for (const size_t column : {size_t{8}, size_t{12}}) EXPECT_EQ(table[i][column], "0");
  }
  EXPECT_THAT(output_, ContainsRegex("\n# 2 ranks over shared memory: 4 KiB all-reduce in .*; all results correct.\n"));
  EXPECT_THAT(output_, AllOf(HasSubstr("\n# Memcpy: "), HasSubstr("\n# Placement: "), HasSubstr("\n# Chosen for 4 B")));
  EXPECT_TRUE(nothing_left());
}

TEST_F(Bench, ColumnsKeepTheirWidths) {
  ASSERT_EQ(run("all_reduce --ranks 2 -b 4K -e 4K -n 1 -w 0"), 0) << output_;
  EXPECT_THAT(output_,
              ContainsRegex("\n        4096          1024     float     sum      -1  [ .0-9e+]{7}  [ .0-9e+]{6}  [ .0-9e+]{6}  "
                            "     0  [ .0-9e+]{7}  [ .0-9e+]{6}  [ .0-9e+]{6}       0\n"));
}

TEST_F(Bench, EveryCollectiveTypeOperatorAndRootIsRight) {
  for (const char* collective : {"all_reduce", "reduce_scatter", "all_gather", "broadcast", "reduce", "gather", "scatter",
                                 "all_to_all", "scan", "exscan", "barrier", "send_recv"}) {
    ASSERT_EQ(run(std::string(collective) + " --ranks 3 -b 4 -e 2000 -i 1997 -n 1 -w 0 -d all -o all -r all"), 0) << output_;
    EXPECT_THAT(output_, HasSubstr("# Out of bounds values : 0 OK\n"));
    for (const auto& row : rows()) {
      EXPECT_THAT(row, SizeIs(13));
      EXPECT_EQ(row[8], std::string_view(collective) == "barrier" ? "N/A" : "0");
    }
  }
}

TEST_F(Bench, SizesCountAllRanksSharesAsNcclTestsDo) {
  ASSERT_EQ(run("all_gather --ranks 2 -b 64 -e 64 -n 1 -w 0 -d half"), 0) << output_;
  ASSERT_THAT(rows(), SizeIs(1));
  EXPECT_EQ(rows()[0][0], "64");
  EXPECT_EQ(rows()[0][1], "16");
  EXPECT_EQ(rows()[0][3], "none");
  ASSERT_EQ(run("broadcast --ranks 2 -b 64 -e 64 -n 1 -w 0 -r 1"), 0) << output_;
  EXPECT_EQ(rows()[0][1], "16");
  EXPECT_EQ(rows()[0][4], "1");
}

TEST_F(Bench, SweepShowsEachAlgorithmAndTheFastest) {
  ASSERT_EQ(run("all_reduce --ranks 2 --algorithm all -b 64 -e 64 -n 1 -w 0"), 0) << output_;
  for (const char* algorithm : {"ring", "tree", "recursive", "doubling", "direct", "Tutti's choice"})
    EXPECT_THAT(output_, HasSubstr(std::string("\n# Algorithm: ") + algorithm + "\n"));
  EXPECT_THAT(output_, ContainsRegex("\n# Chosen for 64 B: ring over shm"));
  EXPECT_THAT(output_, ContainsRegex("\n# Fastest at 64 B by median: "));
}

TEST_F(Bench, OsuColumns) {
  ASSERT_EQ(run("all_reduce --ranks 2 --osu -b 4 -e 16 -n 3 -w 1 --transport tcp"), 0) << output_;
  EXPECT_THAT(output_, ContainsRegex("\n# Size +Avg Latency\\(us\\) +Min Latency\\(us\\) +Max Latency\\(us\\) +Iterations\n"));
  ASSERT_THAT(rows(), SizeIs(2));
  ASSERT_THAT(rows()[1], SizeIs(5));
  EXPECT_EQ(rows()[1][0], "16");
  EXPECT_EQ(rows()[1][4], "3");
  EXPECT_THAT(output_, HasSubstr("over TCP"));
}

TEST_F(Bench, Json) {
  const std::string path = directory_ + "/out.json";
  ASSERT_EQ(run("all_reduce --ranks 2 --algorithm ring -b 4 -e 64 -f 16 -n 4 -w 1 -J " + path), 0) << output_;
  const auto json = nlohmann::json::parse(std::ifstream(path), nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["tutti_version"], TUTTI_VERSION);
  EXPECT_EQ(json["config"]["ranks"], 2);
  EXPECT_FALSE(json["config"]["host"].get<std::string>().empty());
  EXPECT_THAT(json["config"]["devices"], SizeIs(2));
  EXPECT_EQ(json["out_of_bounds"]["count"], 0);
  EXPECT_EQ(json["out_of_bounds"]["okay"], true);
  EXPECT_GT(json["average_bus_bandwidth"]["bandwidth"], 0);
  EXPECT_GT(json["memcpy"]["gb_per_s"], 0);
  ASSERT_THAT(json["results"], SizeIs(2));
  const auto& row = json["results"][1];
  EXPECT_EQ(row["size"], 64);
  EXPECT_EQ(row["count"], 16);
  EXPECT_EQ(row["type"], "float");
  EXPECT_EQ(row["redop"], "sum");
  EXPECT_EQ(row["root"], "-1");
  EXPECT_EQ(row["algorithm"], "ring");
  EXPECT_EQ(row["transport"], "shm 1");
  EXPECT_GE(row["lanes"], 1);
  EXPECT_FALSE(row["placement"].get<std::string>().empty());
  for (const char* place : {"out_of_place", "in_place"}) {
    const auto& timing = row[place];
    EXPECT_GT(timing["time"], 0);
    EXPECT_EQ(timing["nwrong"], 0);
    EXPECT_EQ(timing["iterations"], 4);
    EXPECT_DOUBLE_EQ(timing["bus_bw"].get<double>(), timing["alg_bw"].get<double>());  // 2(p-1)/p is 1 for two ranks
    EXPECT_LE(timing["min"], timing["p50"]);
    EXPECT_LE(timing["p50"], timing["p95"]);
    EXPECT_LE(timing["p95"], timing["p99"]);
  }
}

// Every codec keeps its promises: the same bits everywhere, and nothing is missing but what the residuals hold.
TEST_F(Bench, EveryCodecIsTried) {
  const std::string sizes = tutti::test::fewer("-b 4 -e 40000 -i 39996", "-b 4 -e 4000 -i 3996");
  for (int i = 0; const char* codec : {"fp16", "bf16", "fp8_e4m3", "fp8_e5m2:round=stochastic", "int8", "int4:range=minmax", "int2",
                                       "qsgd", "qsgd:feedback=1", "terngrad", "sign", "sign:feedback=0", "topk:ratio=0.05",
                                       "topk:momentum=0.9", "randomk:ratio=0.05", "randomk:feedback=0,values=int8"}) {
    if (i++ % tutti::test::fewer(1, 5) != 0) continue;
    ASSERT_EQ(run("all_reduce --ranks 3 " + sizes + " -n 1 -w 0 -o sum,avg -d float,half --codec " + codec), 0) << output_;
    EXPECT_THAT(output_, HasSubstr("# Out of bounds values : 0 OK\n"));
    EXPECT_THAT(rows(), SizeIs(8));
    for (const auto& row : rows()) EXPECT_THAT(row, SizeIs(13));
    EXPECT_THAT(output_, ContainsRegex("\n# codec [^\n]* sent by a rank, ratio [0-9.]+; relative error [-0-9.e+]+ of one call"));
  }
}

TEST_F(Bench, CodecInJson) {
  const std::string path = directory_ + "/out.json";
  ASSERT_EQ(run("all_reduce --ranks 2 --transport tcp --codec int4 -b 1M -e 1M -n 2 -w 1 --huge-pages -J " + path), 0) << output_;
  const auto json = nlohmann::json::parse(std::ifstream(path), nullptr, false);
  ASSERT_TRUE(json.is_object());
  const auto& row = json["results"][0];
  EXPECT_EQ(row["size"], 1 << 20);  // algbw counts what the caller gives, not what travels
  EXPECT_NEAR(row["out_of_place"]["alg_bw"].get<double>(), (1 << 20) / row["out_of_place"]["time"].get<double>() / 1e3, 1e-9);
  const auto& codec = row["codec"];
  EXPECT_EQ(codec["spec"], "int4");
  EXPECT_EQ(json["config"]["huge_pages"], true);
  EXPECT_LT(codec["wire_bytes"], (1 << 20) / 7.5);
  EXPECT_NEAR(codec["ratio"].get<double>(), 7.8, 0.2);
  EXPECT_NEAR(codec["error_once"].get<double>(), 0.17, 0.03);  // of normal numbers, encoded twice
  EXPECT_LT(codec["error_mean"].get<double>(), codec["error_once"].get<double>() / 25);
  EXPECT_EQ(codec["calls_of_mean"], 50);
}

TEST_F(Bench, AutoCodecSaysNoInSharedMemory) {
  ASSERT_EQ(run("all_reduce --ranks 2 --transport shm --codec auto:int8 -b 1M -e 1M -n 2 -w 1"), 0) << output_;
  EXPECT_THAT(output_, ContainsRegex("\n# codec auto:int8: 1 MiB sent by a rank, ratio 1.00; [^\n]*; none: nothing is compressed"));
}

TEST_F(Bench, HelpListsCodecs) {
  ASSERT_EQ(run("--help"), 0);
  EXPECT_THAT(output_, AllOf(HasSubstr("--codec"), HasSubstr("fp8_e4m3"), HasSubstr("randomk")));
}

TEST_F(Bench, MistakesAreSentences) {
  const struct {
    const char *arguments, *sentence;
  } mistakes[] = {
      {"all_redcue", "There is no collective \"all_redcue\"; did you mean \"all_reduce\"?"},
      {"", "collective is required."},
      {"all_reduce -d flot", "There is no data type \"flot\"; did you mean \"float\"?"},
      {"all_reduce -o som", "There is no operator \"som\"; did you mean \"sum\"?"},
      {"all_reduce --ranks 0", "--ranks takes a number from 1 up, not \"0\"."},
      {"all_reduce -b 12Q", "-b takes a size of at least 1 such as 64K, not \"12Q\"."},
      {"all_reduce -b 1M -e 4", "The largest size, -e 4, is below the smallest, -b 1M."},
      {"all_reduce -i 4 -f 2", "Give -i or -f, not both."},
      {"all_reduce -f 1", "Sizes do not grow by a factor of 1: give -i as well, or another -f."},
      {"all_reduce -a 4", "-a takes 0 (rank 0), 1 (average), 2 (minimum) or 3 (maximum), not 4."},
      {"broadcast --ranks 2 -r 2", "Root 2 is not one of the 2 ranks."},
      {"all_reduce --codec ''", "--codec: in the codec \"\", the name of a codec is missing"},
      {"all_reduce --codec int7", "--codec: in the codec \"int7\", \"int7\" is no codec"},
      {"all_gather --codec int8", "--codec compresses all_reduce of sum or avg over float, half or bfloat16 only."},
      {"scan -o avg", "There is no avg of scans."},
      {"all_reduce -o band -d half,float", "band is an operator on the bits of integers: give an integer type with -d."},
      {"all_reduce --codec int8 -o max", "--codec compresses all_reduce of sum or avg over float, half or bfloat16 only."},
      {"all_reduce --codec int8 -d int32", "--codec compresses all_reduce of sum or avg over float, half or bfloat16 only."},
      {"all_reduce --frobnicate", "The following argument was not expected: --frobnicate."},
  };
  for (const auto& [arguments, sentence] : mistakes) {
    EXPECT_EQ(run(arguments), 2) << arguments;
    EXPECT_THAT(output_, StartsWith(std::string("tutti-bench: ") + sentence));
  }
  EXPECT_EQ(run("all_reduce --ranks 2 -J /nonexistent/out.json"), 1);
  EXPECT_THAT(output_, HasSubstr("/nonexistent/out.json"));
  EXPECT_EQ(run("all_reduce --ranks 2 --transport smh"), 2);
  EXPECT_THAT(output_, HasSubstr("did you mean \"shm\"?"));
  EXPECT_TRUE(nothing_left());
}

TEST_F(Bench, JoinsRanksThatOthersStarted) {
  ASSERT_EQ(run("all_reduce -b 4 -e 4 -n 1 -w 0", "TUTTI_RANK=0 TUTTI_SIZE=1"), 0) << output_;
  EXPECT_THAT(output_, HasSubstr("# 1 rank: 4 B all-reduce in "));
  EXPECT_EQ(run("all_reduce --ranks 2", "TUTTI_RANK=0 TUTTI_SIZE=1"), 2);
  EXPECT_THAT(output_, HasSubstr("The launcher started 1, but --ranks says 2; leave it out under a launcher."));
}

int number_after(const std::string& line, const std::string& word) {
  return std::atoi(line.substr(line.find(word) + word.size()).c_str());
}

TEST_F(Bench, SaysWhichRankWasKilled) {
  start("all_reduce --ranks 3 -b 4 -e 4 -n 10000000");
  const int pid = number_after(read_until(" Rank  1 Pid"), "Pid");
  ASSERT_GT(pid, 0) << output_;
  read_until("#        (B)");  // the table has begun
  kill(pid, SIGKILL);
  EXPECT_EQ(finish(), 128 + SIGKILL);
  EXPECT_THAT(output_, HasSubstr("tutti-bench: rank 1 (pid " + std::to_string(pid) + ") was killed by signal 9 (Killed).\n"));
  EXPECT_THAT(output_, ContainsRegex("tutti-bench: rank [02]: rank 1 "));
  EXPECT_TRUE(nothing_left());
}

TEST_F(Bench, AnInterruptEndsAllRanks) {
  start("all_reduce --ranks 2 -b 4 -e 4 -n 10000000");
  const int first = number_after(read_until(" Rank  0 Pid"), "Pid"), second = number_after(read_until(" Rank  1 Pid"), "Pid");
  ASSERT_GT(second, 0) << output_;
  std::ifstream status("/proc/" + std::to_string(first) + "/stat");
  int pid = 0, starter = 0;
  std::string name, state;
  status >> pid >> name >> state >> starter;
  ASSERT_EQ(pid, first);
  kill(starter, SIGINT);
  EXPECT_EQ(finish(), 128 + SIGINT);
  for (const int rank : {first, second}) EXPECT_NE(kill(rank, 0), 0) << rank << " still runs";
  EXPECT_TRUE(nothing_left());
}

}  // namespace
