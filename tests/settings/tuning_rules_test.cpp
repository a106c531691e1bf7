#include "tuning_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tutti {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

std::vector<TuningRule> tuning_rules_in(const std::string& lines) {
  const auto result = parse_tuning_file("tutti-tuning 1\n" + lines, "f");
  EXPECT_TRUE(result.ok()) << result.status().message();
  return result.ok() ? result->rules : std::vector<TuningRule>{};
}

std::string tuning_error(const std::string& content) {
  const auto result = parse_tuning_file(content, "f");
  EXPECT_FALSE(result.ok()) << content;
  return result.status().message();
}

// Of one line below the first.
std::string line_error(const std::string& line) {
  const std::string text = tuning_error("tutti-tuning 1\n" + line);
  EXPECT_THAT(text, StartsWith("f:2: "));
  return text;
}

TEST(TuningRules, EveryKeyIsRead) {
  const auto all = tuning_rules_in("# comment\n\nbroadcast  ranks=2-8 hosts=3 bytes=4K-1M use=tree lanes=3 stripe=128K \r\n");
  ASSERT_EQ(all.size(), 1u);
  const TuningRule& rule = all[0];
  EXPECT_EQ(rule.collective, Collective::broadcast);
  EXPECT_EQ(rule.least_ranks, 2);
  EXPECT_EQ(rule.most_ranks, 8);
  EXPECT_EQ(rule.least_hosts, 3);
  EXPECT_EQ(rule.most_hosts, 3);
  EXPECT_EQ(rule.from, 4096u);
  EXPECT_EQ(rule.to, 1u << 20);
  EXPECT_EQ(rule.algorithm, "tree");
  EXPECT_EQ(rule.lanes, 3u);
  EXPECT_EQ(rule.stripe_bytes, 128u << 10);
  EXPECT_EQ(rule.line, 4u);
  EXPECT_EQ(rule.device, std::nullopt);
  EXPECT_EQ(tuning_rules_in("all_reduce use=exchange device=stamped").at(0).device, DeviceProtocol::stamped);
  EXPECT_EQ(tuning_rules_in("all_reduce use=direct device=flagged").at(0).device, DeviceProtocol::flagged);
}

TEST(TuningRules, Matches) {
  const TuningRule rule = tuning_rules_in("all_reduce ranks=4- bytes=1K-2K use=ring").at(0);
  EXPECT_TRUE(rule.matches(Collective::all_reduce, 4, 1, 1024));
  EXPECT_TRUE(rule.matches(Collective::all_reduce, 1000, 7, 2047));
  EXPECT_FALSE(rule.matches(Collective::all_reduce, 3, 1, 1024));
  EXPECT_FALSE(rule.matches(Collective::all_reduce, 4, 1, 2048));
  EXPECT_FALSE(rule.matches(Collective::broadcast, 4, 1, 1024));
  EXPECT_FALSE(tuning_rules_in("all_reduce hosts=2 use=ring").at(0).matches(Collective::all_reduce, 4, 1, 0));
}

TEST(TuningRules, RefusedWithFileAndLine) {
  EXPECT_THAT(tuning_error(""), HasSubstr("f:1: the file is empty"));
  EXPECT_THAT(tuning_error("# nothing\nall_reduce use=ring"),
              HasSubstr("f:2: a tuning file begins with the line \"tutti-tuning 1\""));
  EXPECT_THAT(tuning_error("tutti-tuning 2\n"), HasSubstr("f:1: "));
  EXPECT_THAT(tuning_error("tutti-tuning 1\n" + std::string(kLongestTuningFile, '#')), HasSubstr("f is larger than 32 KiB"));
  EXPECT_THAT(line_error("all_reduce use=rign"), AllOf(HasSubstr("\"rign\" is no algorithm"), HasSubstr("did you mean \"ring\"?")));
  EXPECT_THAT(line_error("all_redcue use=ring"), HasSubstr("did you mean \"all_reduce\"?"));
  EXPECT_THAT(line_error("point_to_point use=ring"), HasSubstr("is no collective"));
  EXPECT_THAT(line_error("all_reduce ranks=2"), HasSubstr("use=algorithm is missing"));
  EXPECT_THAT(line_error("all_reduce use=ring use=tree"), HasSubstr("\"use\" stands there twice"));
  EXPECT_THAT(line_error("all_reduce rank=2 use=ring"), HasSubstr("\"rank\" is unknown"));
  EXPECT_THAT(line_error("all_reduce ring"), HasSubstr("expected key=value"));
  EXPECT_THAT(line_error("broadcast use=flat"), HasSubstr("flat serves all_reduce and barrier only"));
  for (const char* bad : {"ranks=0",  "ranks=",    "ranks=3-2",   "ranks=-2",      "ranks=99999999999",
                          "hosts=x",  "bytes=1K",  "bytes=2K-1K", "bytes=x-",      "lanes=0",
                          "lanes=65", "stripe=63", "stripe=100",  "stripe=2M",     "stripe=x",
                          "ns=0",     "ns=1-",     "ns=1-0",      "ns=1x",         "ns=99999999999999999",
                          "ns=1-2",   "bound=lnk", "bound=",      "device=stampd", "device="})
    line_error("all_reduce " + std::string(bad) + " use=ring");
}

TEST(TuningRules, PredictionsAreStraightInBetween) {
  const auto all = tuning_rules_in(
      "reduce bytes=1K-2K use=tree ns=1000-3000\n"
      "reduce bytes=1K-2K use=ring ns=3000-1000 bound=link\n"
      "reduce bytes=2K- use=ring ns=3000\n"
      "reduce use=direct ns=50\n"
      "reduce use=tree\n");
  EXPECT_EQ(all[0].predicted_ns(1024), 1000u);
  EXPECT_EQ(all[0].predicted_ns(1536), 2000u);
  EXPECT_EQ(all[0].predicted_ns(5000), 3000u);
  EXPECT_EQ(all[0].bound, "");
  EXPECT_EQ(all[1].predicted_ns(1536), 2000u);
  EXPECT_EQ(all[1].predicted_ns(0), 3000u);
  EXPECT_EQ(all[1].bound, "link");
  EXPECT_EQ(all[2].predicted_ns(2048), 3000u);  // and beyond in proportion
  EXPECT_EQ(all[2].predicted_ns(20480), 30000u);
  EXPECT_GT(all[2].predicted_ns(UINT64_MAX), uint64_t{1} << 60);
  EXPECT_TRUE(all[2].matches(Collective::reduce, UINT64_MAX));
  EXPECT_EQ(all[3].predicted_ns(1 << 20), 50u);
  EXPECT_EQ(all[4].predicted_ns(1 << 20), 0u);
}

TEST(TuningRules, TheMachinesLinesAreKept) {
  const auto file = parse_tuning_file("tutti-tuning 1\nmachine measured for x, y\nmachine cores 2\nbarrier use=tree\n", "f");
  ASSERT_TRUE(file.ok());
  EXPECT_THAT(file->machine, testing::ElementsAre("measured for x, y", "cores 2"));
  EXPECT_EQ(file->rules.at(0).line, 4u);
}

TEST(TuningRules, FormatIsReadBack) {
  const std::string text =
      "tutti-tuning 1\n"
      "all_reduce ranks=4 hosts=1 bytes=0-64K use=doubling\n"
      "all_reduce ranks=2-8 hosts=2- bytes=64K- use=ring lanes=2 stripe=256K\n"
      "barrier use=flat\n"
      "reduce bytes=0-64K use=tree ns=1200-900 bound=latency\n"
      "reduce bytes=64K- use=ring ns=900 bound=interface\n"
      "all_reduce bytes=0-256K use=exchange device=stamped\n";
  const auto parsed = parse_tuning_file(text, "f");
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  EXPECT_EQ(format_tuning_file(*parsed), text);
}

}  // namespace
}  // namespace tutti
