#include "machine_profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "algorithms.h"
#include "measurements.h"
#include "pool_shape.h"
#include "pricing.h"
#include "probe.h"
#include "tuning_cache.h"

namespace tutti {
namespace {

using testing::HasSubstr;

MachineProfile odd_profile() {
  MachineProfile profile = MachineProfile::standard(false);
  profile.intra_host.latency_s = 1.0 / 3e6;
  profile.intra_host_scale[3] = profile.inter_host_scale[0] = 0.7;
  profile.neighbours = 3;
  profile.inter_host.streams = false;  // not part of the text
  return profile;
}

TEST(MachineProfile, LinesAreReadBackExactly) {
  const auto lines = profile_lines(odd_profile(), "this build, here");
  EXPECT_EQ(measured_for(lines), "this build, here");
  const auto again = read_profile(lines);
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(*again, odd_profile());
}

TEST(MachineProfile, WhatIsCorruptIsRefused) {
  const auto good = profile_lines(odd_profile(), "k");
  for (auto end = good.begin(); end != good.end(); ++end) EXPECT_FALSE(read_profile({good.begin(), end}).ok());
  const auto with = [&](const std::string& from, const std::string& to) {
    auto lines = good;
    for (std::string& line : lines)
      if (line.starts_with(from)) line.replace(0, from.size(), to);
    return read_profile(lines).status().message();
  };
  EXPECT_THAT(with("cores ", "cores -"), HasSubstr("is no possible value"));
  EXPECT_THAT(with("switch ", "switch nan"), HasSubstr("is no possible value"));
  EXPECT_THAT(with("call ", "fall "), HasSubstr("expected machine call"));
  EXPECT_THAT(with("neighbours 3", "neighbours 0"), HasSubstr("is no possible value"));
  EXPECT_THAT(with("neighbours 3", "neighbours 3x"), HasSubstr("is no possible value"));
  EXPECT_THAT(with("measured for ", "for "), HasSubstr("no machine profile of this version"));
}

TEST(MachineProfile, BytesCostByTheSizeOfTheCall) {
  const MachineProfile::Scale scale{2, 3, 1, 0.5};
  EXPECT_EQ(scale_at(scale, 0), 2);
  EXPECT_EQ(scale_at(scale, 4 << 10), 2);
  EXPECT_EQ(scale_at(scale, 16 << 10), 2.5);
  EXPECT_EQ(scale_at(scale, 64 << 10), 3);
  EXPECT_EQ(scale_at(scale, 256 << 10), 2);
  EXPECT_EQ(scale_at(scale, 1 << 20), 1);
  EXPECT_EQ(scale_at(scale, UINT64_MAX), 0.5);
  for (const bool streams : {false, true}) {
    MachineProfile profile = MachineProfile::standard(streams);
    profile.intra_host_scale = scale;
    profile.inter_host_scale = {5, 1, 1, 1};
    const Machine machine = machine_for(profile, Team(2), 4 << 10);
    EXPECT_EQ(machine.copy_byte_s, profile.copy_byte_s * (streams ? 1 : 2));
    EXPECT_EQ(machine.intra_host.processor_byte_s, profile.intra_host.processor_byte_s * 2);
    EXPECT_EQ(machine.inter_host.byte_s, profile.inter_host.byte_s * 5);
    EXPECT_EQ(machine.interface_byte_s, machine.inter_host.byte_s);
    EXPECT_EQ(machine.intra_host.latency_s, profile.intra_host.latency_s);
    EXPECT_EQ(machine_for(profile, Team(2)).inter_host.byte_s, profile.inter_host.byte_s);
  }
}

TEST(TuningCache, FilesAreWrittenWhole) {
  std::string folder = (std::filesystem::temp_directory_path() / "tutti-cache-XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const std::string path = cache_path(folder, "k");
  EXPECT_NE(path, cache_path(folder, "l"));
  EXPECT_THAT(read_tuning_text(path).status().message(), HasSubstr("opening the tuning file " + path));
  ASSERT_TRUE(write_tuning_text(path, "one").ok());
  ASSERT_TRUE(write_tuning_text(path, "two\n").ok());  // replaces
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 1);
  EXPECT_EQ(*read_tuning_text(path), "two\n");
  ASSERT_TRUE(write_tuning_text(path, std::string(100'000, '#')).ok());
  EXPECT_THAT(read_tuning_text(path).status().message(), HasSubstr("is larger than"));
  EXPECT_FALSE(write_tuning_text(folder + "/not/there", "x").ok());
  std::filesystem::remove_all(folder);
}

TEST(Measurements, BytesAreReadBack) {
  Measurements measurements;
  measurements.intra_host.ring = 1e-6;
  measurements.reduce_byte_s = 1e-10;
  measurements.cores = 2;
  measurements.machine = 77;
  measurements.inter_host.processor_byte_s = 3e-10;
  const std::string bytes = encode_measurements(measurements);
  const auto again = decode_measurements(bytes);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->intra_host.ring, 1e-6);
  EXPECT_EQ(again->cores, 2);
  EXPECT_EQ(again->machine, 77u);
  EXPECT_EQ(again->inter_host.processor_byte_s, 3e-10);
  for (size_t cut = 0; cut < bytes.size(); ++cut) EXPECT_FALSE(decode_measurements(bytes.substr(0, cut)).ok());
  EXPECT_FALSE(decode_measurements(bytes + "x").ok());
  EXPECT_FALSE(decode_measurements(std::string(bytes.size(), '\xff')).ok());  // not-a-numbers
}

TEST(Measurements, ThePairsAreTheFirstOfTheirKind) {
  Team team(5);
  EXPECT_EQ(probe_pairs(team).intra_host[1], 1);
  EXPECT_EQ(probe_pairs(team).inter_host[0], -1);
  team.host = {0, 1, 1, 2, 0};
  const ProbePairs pairs = probe_pairs(team);
  EXPECT_EQ(pairs.intra_host[0], 0);
  EXPECT_EQ(pairs.intra_host[1], 4);
  EXPECT_EQ(pairs.inter_host[0], 0);
  EXPECT_EQ(pairs.inter_host[1], 1);
  team.host = {0, 1, 2, 3, 4};
  EXPECT_EQ(probe_pairs(team).intra_host[0], -1);
}

// Whoever takes turns on one machine's cores, on one host of it or on several.
TEST(MachineProfile, SwitchesGrowWithTheRanksOfAMachine) {
  MachineProfile profile = MachineProfile::standard(true);
  profile.switch_s = 1e-6;
  profile.cores = 2;
  Team team(4);
  EXPECT_EQ(machine_for(profile, team).switch_s, 1e-6);
  team.host = {0, 1, 2, 3};
  EXPECT_EQ(machine_for(profile, team).switch_s, 0);
  profile.neighbours = 4;
  EXPECT_EQ(machine_for(profile, team).switch_s, 1e-6);
  team.host = {0, 0, 0, 1};  // three and one are four, not six
  profile.neighbours = 2;
  EXPECT_EQ(machine_for(profile, team).switch_s, 1e-6);
}

// The prediction for two ranks by ring is the time that was measured.
TEST(Measurements, TheProfileExplainsThem) {
  for (const bool streams : {false, true}) {
    RouteTerms terms;
    terms.size = 2;
    terms.team = Team(2);
    terms.slot_bytes = pool_shape(2, 2, 0, 0).slot_bytes;
    Measurements measurements;
    measurements.intra_host = {2e-6, 3e-6, 300e-6, {8e-6, 50e-6, 500e-6, 1500e-6}};
    measurements.copy_byte_s = 0.1e-9;
    measurements.reduce_byte_s = 0.05e-9;
    measurements.cores = 2;
    const MachineProfile profile = conclude({measurements, Measurements()}, terms, streams);
    EXPECT_NEAR(profile.call_s, 1e-6, 1e-9);
    EXPECT_NEAR(profile.intra_host.latency_s + 2 * profile.intra_host.overhead_s, 1e-6, 1e-9);
    EXPECT_EQ(profile.intra_host.streams, streams);
    Pricing pricing(terms, profile);
    for (size_t i = 0; i < MachineProfile::kSizes.size(); ++i) {
      const uint64_t bytes = MachineProfile::kSizes[i];
      const double ring = pricing.of(*find_algorithm(Collective::all_reduce, "ring"), bytes).seconds;
      EXPECT_NEAR(ring, measurements.intra_host.rings[i], measurements.intra_host.rings[i] / 100) << bytes;
    }
  }
}

// Two hosts whose link is the limit: their times tell nothing of the processor, what was measured of it does, and
// explains as much.
TEST(Measurements, TheProcessorBehindASlowLinkIsWhatWasMeasured) {
  RouteTerms terms;
  terms.size = 2;
  terms.team = Team(2);
  terms.team.host = {0, 1};
  terms.slot_bytes = pool_shape(2, 1, 0, 0).slot_bytes;
  Measurements measurements;
  measurements.inter_host = {5e-6, 8e-6, 1000e-6, {10e-6, 70e-6, 1000e-6, 0}};
  measurements.cores = 2;
  const MachineProfile unknown = conclude({measurements, Measurements()}, terms, false);
  EXPECT_LT(unknown.inter_host.processor_byte_s, 0.1e-9);
  measurements.inter_host.processor_byte_s = 0.3e-9;
  const MachineProfile known = conclude({measurements, Measurements()}, terms, false);
  EXPECT_EQ(known.inter_host.processor_byte_s, 0.3e-9);
  EXPECT_NEAR(known.inter_host.byte_s, unknown.inter_host.byte_s, unknown.inter_host.byte_s / 10);
  const auto ring = [&](const MachineProfile& profile) {
    return Pricing(terms, profile).of(*find_algorithm(Collective::all_reduce, "ring"), 1 << 20).seconds;
  };
  EXPECT_NEAR(ring(known), 1000e-6, 10e-6);

  // Disturbed: a processor that alone would take longer than the ring did.  The link keeps a rate near the broadcast's.
  measurements.inter_host.processor_byte_s = 5e-9;
  const MachineProfile disturbed = conclude({measurements, Measurements()}, terms, false);
  EXPECT_GE(disturbed.inter_host.byte_s, unknown.inter_host.byte_s / 2);
  EXPECT_LE(disturbed.inter_host.byte_s, unknown.inter_host.byte_s * 2);
}

}  // namespace
}  // namespace tutti
