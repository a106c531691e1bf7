// tutti-plan simulate as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "outcome.h"

namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::SizeIs;

Outcome plan(const std::string& arguments) { return outcome_of(TUTTI_PLAN " " + arguments); }

nlohmann::json json_of(const std::string& arguments) {
  return nlohmann::json::parse(plan(arguments + " --json -").output, nullptr, false);
}

// No costs but those that the test names.
constexpr const char* kBare = " --overhead 0 --sockets 0 --inside 0 --inside-overhead 0 --copy 0 --reduce 0 --lanes 1 --stripe 1G ";

std::string file(const std::string& name, const std::string& text) {
  const std::string path = testing::TempDir() + "tutti_plan_" + name;
  std::ofstream(path) << text;
  return path;
}

TEST(Simulate, Table) {
  const Outcome run = plan("simulate --ranks 16 --ranks-per-host 4 --link 100Gb/s,5us --size 1K,64M 2>&1");
  EXPECT_EQ(run.status, 0);
  EXPECT_THAT(run.output, AllOf(HasSubstr("# all_reduce, 16 ranks on 4 hosts; between hosts 12.5 GB/s, 5 us;"), HasSubstr("algbw"),
                                HasSubstr("1K  doubling *"), HasSubstr("64M  ring"), HasSubstr("64M  direct")));
}

TEST(Simulate, JsonHoldsTheCostModel) {
  const auto json = json_of("simulate -n 8 --link 8Gb/s,0 -s 8M -a ring" + std::string(kBare));
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["ranks"], 8);
  EXPECT_EQ(json["hosts"], 8);
  ASSERT_THAT(json["results"], SizeIs(1));
  const auto& ring = json["results"][0];
  const double bytes = 8 << 20;
  EXPECT_EQ(ring["algorithm"], "ring");
  EXPECT_EQ(ring["messages"], 8 * 14);
  EXPECT_NEAR(ring["seconds"].get<double>(), 2 * 7. / 8 * bytes * 1e-9, 1e-9);
  EXPECT_NEAR(ring["bus_bw"].get<double>(), 1, 1e-6);
  EXPECT_NEAR(ring["bytes_out_of_busiest_host"].get<double>(), 2 * 7. / 8 * bytes, 1);
  EXPECT_EQ(ring["bound"], "link");
  EXPECT_EQ(ring["fastest"], true);
  double path = 0;
  for (const auto& part : ring["path"]) path += part.get<double>();
  EXPECT_NEAR(path, ring["seconds"].get<double>(), 1e-8);
}

TEST(Simulate, OtherCollectivesAndRoots) {
  const auto json = json_of("simulate -c broadcast --root 3 -n 4 -s 1M");
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["root"], 3);
  EXPECT_GE(json["results"].size(), 4u);
  const auto barrier = json_of("simulate -c barrier -n 4");
  for (const auto& run : barrier["results"]) EXPECT_EQ(run["size"], 0);
}

TEST(Simulate, MachineFiles) {
  const Outcome shown = plan("simulate --show-machine --link 8Gb/s,7us --cores 3");
  const auto machine = nlohmann::json::parse(shown.output, nullptr, false);
  ASSERT_TRUE(machine.is_object());
  EXPECT_DOUBLE_EQ(machine["between"]["latency_s"].get<double>(), 7e-6);
  EXPECT_DOUBLE_EQ(machine["interface_byte_s"].get<double>(), 1e-9);
  const std::string path = file("machine.json", shown.output);
  EXPECT_EQ(plan("simulate --show-machine --machine " + path).output, shown.output);
  const Outcome faster = plan("simulate --show-machine --link 80Gb/s,7us --machine " + path);
  EXPECT_NE(faster.output, shown.output) << "options override the file";

  EXPECT_THAT(plan("simulate --machine " + file("typo.json", R"({"between": {"latency": 1}})") + " 2>&1").output,
              HasSubstr("\"latency\" is no member of \"between\""));
  EXPECT_THAT(plan("simulate --machine " + file("negative.json", R"({"copy_byte_s": -1})") + " 2>&1").output,
              HasSubstr("\"copy_byte_s\" must be a number of seconds, 0 to 1"));
  EXPECT_THAT(plan("simulate --machine " + file("broken.json", "{") + " 2>&1").output, HasSubstr("this is no JSON object"));
  EXPECT_THAT(plan("simulate --machine /absent 2>&1").output, HasSubstr("reading /absent: No such file"));
}

// As a communicator measured it and keeps it in TUTTI_TUNING_CACHE.
TEST(Simulate, MeasuredMachines) {
  std::string profile = "tutti-tuning 1\n";
  for (const char* line : {"measured for some build on some host, 1 hosts, 2 ranks, intra-host memory",
                           "intra_host.overhead 5e-07",
                           "intra_host.latency 6e-07",
                           "intra_host.byte 0",
                           "intra_host.processor_byte 0",
                           "inter_host.overhead 3e-06",
                           "inter_host.latency 2e-05",
                           "inter_host.byte 8e-10",
                           "inter_host.processor_byte 2e-10",
                           "call 7e-07",
                           "reduce_byte 9e-11",
                           "copy_byte 1.2e-10",
                           "switch 1e-06",
                           "cores 2",
                           "intra_host.4K 3",
                           "intra_host.64K 2",
                           "intra_host.4M 1",
                           "inter_host.4K 1",
                           "inter_host.64K 1",
                           "inter_host.4M 1",
                           "neighbours 1"})
    profile += std::string("machine ") + line + "\n";
  profile += "all_reduce use=ring ns=2000 bound=latency\n";
  const auto machine =
      nlohmann::json::parse(plan("simulate --show-machine --machine " + file("profile", profile)).output, nullptr, false);
  ASSERT_TRUE(machine.is_object());
  EXPECT_EQ(machine["inside"]["latency_s"], 6e-07);
  EXPECT_EQ(machine["inside"]["streams"], false);
  EXPECT_EQ(machine["between"]["streams"], true);
  EXPECT_EQ(machine["interface_byte_s"], 8e-10);
  EXPECT_EQ(machine["reduce_byte_s"], 9e-11);
  EXPECT_EQ(machine["cores"], 2);
  EXPECT_THAT(plan("simulate --machine " + file("half", profile.substr(0, profile.find("machine cores"))) + " 2>&1").output,
              HasSubstr("it is no machine profile of this version"));
  EXPECT_THAT(plan("simulate --machine " + file("head", "tutti-tuning 1") + " 2>&1").output, HasSubstr("it is no machine profile"));
}

TEST(Simulate, BadInputIsRefused) {
  const auto refused = [](const std::string& arguments, const std::string& why) {
    const Outcome run = plan("simulate " + arguments + " 2>&1");
    EXPECT_EQ(run.status, 2) << arguments;
    EXPECT_THAT(run.output, AllOf(HasSubstr("tutti-plan: "), HasSubstr(why))) << arguments;
  };
  refused("--link fast", "--link takes a rate and a latency such as 100Gb/s,5us, not \"fast\"");
  refused("--link 100Gb/s,5", "\"5\" is no time");
  refused("--link 100,5us", "\"100\" is no rate");
  refused("--reduce -1GB/s", "--reduce: \"-1GB/s\" is no rate");
  refused("--inside nan", "is no time");
  refused("--size 3x", "--size: \"3x\" is no size");
  refused("--size 1K,,2K", "--size: \"\" is no size");
  refused("--stripe 100", "--stripe must be a multiple of 64");
  refused("--ranks 4097", "at most 4096 ranks");
  refused("--ranks 2-4", "one number of ranks");
  refused("--ranks-per-host 0", "--ranks-per-host must be at least 1");
  refused("--cores -5", "--cores must be");
  refused("--lanes 100", "--lanes must be at most 64");
  refused("-c broadcast --root 8", "--root 8 is not among 8 ranks");
  refused("-a rign", "did you mean \"ring\"?");
  refused("-c allreduce", "did you mean \"all_reduce\"?");
  EXPECT_NE(plan("simulate --ranks-per-hots 3 2>/dev/null").status, 0);
  EXPECT_EQ(plan("simulate -n 2 -s 1K --json /absent/file 2>/dev/null").status, 1);
}

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST(Map, HasACellForEverySizeAndNumberOfRanks) {
  const Outcome map =
      plan("map --ranks 2-16 --ranks-per-host 2 --link 10Gb/s,20us --from 1K --to 16M --factor 16 --title Crossover");
  EXPECT_EQ(map.status, 0);
  EXPECT_TRUE(map.output.starts_with("<svg ") && map.output.ends_with("</svg>\n"));
  EXPECT_EQ(count(map.output, " rx=\"3\""), 4u * 4u);
  EXPECT_THAT(map.output, AllOf(HasSubstr(">Crossover<"), HasSubstr("between hosts 1.25 GB/s, 20 us"), HasSubstr(">4M<"),
                                HasSubstr(">doubling<"), Not(HasSubstr("\"nan")), Not(HasSubstr(">inf"))));
  const std::string path = testing::TempDir() + "tutti_plan_map.svg";
  EXPECT_EQ(plan("map --ranks 2-2 --to 1K -o " + path).status, 0);
  EXPECT_TRUE(std::ifstream(path).good());
}

TEST(Map, BadInputIsRefused) {
  for (const char* wrong : {"--from 0", "--from 1M --to 1K", "--from x", "--ranks 0-4", "--factor 1", "-c allreduce", "--link x",
                            "-c broadcast --root 2 --ranks 2-4"}) {
    const Outcome run = plan(std::string("map ") + wrong + " 2>&1 >/dev/null");
    EXPECT_EQ(run.status, 2) << wrong;
    EXPECT_FALSE(run.output.empty()) << wrong;
  }
  EXPECT_EQ(plan("map --ranks 2-2 --to 1K -o /absent/file 2>/dev/null").status, 1);
}

TEST(Print, OfSeveralHosts) {
  const Outcome printed = plan("print -a hierarchical --hosts 3,1 --rank 3");
  EXPECT_EQ(printed.status, 0);
  EXPECT_THAT(printed.output, HasSubstr("all_reduce hierarchical, rank 3 of 4 on host 1 of 2: "));
  EXPECT_EQ(plan("print -a ring --ranks 4 --rank 0").output, plan("print -a ring --hosts 4 --rank 0").output);
  EXPECT_NE(plan("print -a hierarchical --hosts 2,2").output, plan("print -a hierarchical --hosts 1,3").output);
  EXPECT_THAT(plan("draw -a hierarchical --hosts 2,2").output, HasSubstr(">all_reduce · hierarchical · 4 ranks on 2 hosts<"));
}

TEST(Print, BadInputIsRefused) {
  const auto refused = [](const std::string& arguments, const std::string& why) {
    const Outcome run = plan(arguments + " 2>&1");
    EXPECT_EQ(run.status, 2) << arguments;
    EXPECT_THAT(run.output, HasSubstr(why)) << arguments;
  };
  for (const std::string command : {"print ", "draw "}) {
    refused(command + "--hosts 2,", "--hosts takes the ranks on each host, such as 3,1,2, not \"2,\"");
    refused(command + "--hosts 0,2", "--hosts takes the ranks on each host");
    refused(command + "--hosts 4096,1", "--hosts 4096,1 are more than 4096 ranks");
    refused(command + "--hosts 2,2 --ranks 5", "--hosts 2,2 are 4 ranks, --ranks says 5; leave it out");
    refused(command + "--hosts 2,2 --root 4", "--root 4 is not among 4 ranks");
    refused(command + "--ranks 2-3", "this takes one number of ranks, not a range");
  }
}

}  // namespace
