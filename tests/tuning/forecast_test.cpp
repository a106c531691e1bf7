// The choice of algorithms by prediction: for given numbers of the machine it is exact, without a clock.
#include "forecast.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "algorithms.h"

namespace tutti {
namespace {

using testing::HasSubstr;

RouteTerms terms_of(int size, std::vector<int> host = {}) {
  RouteTerms terms;
  terms.size = size;
  terms.team = Team(size);
  terms.single_host = host.empty();
  terms.team.host = std::move(host);
  const PoolShape shape = pool_shape(size, terms.single_host ? static_cast<uint32_t>(size) : 1, 0, 0);
  terms.slot_bytes = shape.slot_bytes;
  terms.slots = shape.slots;
  return terms;
}

MachineProfile machine_with(double latency_s, double byte_s) {
  MachineProfile profile = MachineProfile::standard(true);
  profile.inside = profile.between = {latency_s / 10, latency_s, byte_s, 0, true};
  profile.cores = 64;
  return profile;
}

std::string chosen(const RouteTerms& terms, const MachineProfile& profile, uint64_t bytes,
                   Collective collective = Collective::all_reduce, std::string_view wanted = "") {
  Forecaster forecaster(terms, profile);
  const auto choice = route(terms, {collective, bytes, wanted}, &forecaster);
  EXPECT_TRUE(choice.ok()) << choice.status().message();
  return choice.ok() ? std::string(choice->name) : "";
}

TEST(Forecast, SizeClassesAreHalvesOfOctaves) {
  EXPECT_EQ(class_begin(size_class(1 << 20)), 1u << 20);
  for (uint64_t bytes = 1; bytes < 5000; ++bytes) {
    EXPECT_LE(class_begin(size_class(bytes)), bytes);
    EXPECT_GT(class_begin(size_class(bytes) + 1), bytes);
  }
  EXPECT_EQ(size_class(UINT64_MAX), 127u);
  const Forecast forecast{0, "ring", 1, 3, "link"};
  EXPECT_EQ(forecast.seconds(1024), 1);
  EXPECT_EQ(forecast.seconds(1024 + 256), 2);
  EXPECT_EQ(forecast.seconds(0), 1);  // a barrier
}

TEST(Forecast, TheFastestIsChosen) {
  for (const int size : {2, 3, 8}) {
    const RouteTerms terms = terms_of(size, [&] {
      std::vector<int> hosts;
      for (int rank = 0; rank < size; ++rank) hosts.push_back(rank);
      return hosts;
    }());
    for (const auto& profile : {machine_with(1e-3, 1e-10), machine_with(1e-7, 1e-7)}) {
      for (const uint64_t bytes : {4u, 5000u, 16u << 20}) {
        Forecaster forecaster(terms, profile);
        const auto& forecasts = forecaster.of(Collective::all_reduce, bytes);
        ASSERT_GE(forecasts.size(), 5u);
        const auto found = std::ranges::find(forecasts, chosen(terms, profile, bytes), &Forecast::name);
        ASSERT_NE(found, forecasts.end());
        for (const Forecast& other : forecasts) EXPECT_LE(found->seconds(bytes), 1.05 * other.seconds(bytes)) << other.name;
        // Others of the class share them.
        EXPECT_EQ(&forecaster.of(Collective::all_reduce, class_begin(size_class(bytes))), &forecasts);
      }
    }
  }
}

TEST(Forecast, TheMachineDecides) {
  const RouteTerms terms = terms_of(8, {0, 1, 2, 3, 4, 5, 6, 7});
  MachineProfile busy = machine_with(1e-9, 1e-12);
  busy.inside.overhead_s = busy.between.overhead_s = 1e-3;
  EXPECT_EQ(chosen(terms, busy, 1000), "doubling");                          // nothing but messages: fewest
  EXPECT_NE(chosen(terms, machine_with(1e-9, 1e-8), 64 << 20), "doubling");  // nothing but bytes
}

// Two ranks, and bytes that are dear to reduce: doubling reduces all of them once, the ring half of them, in twice as many messages.
TEST(Forecast, FixedSizesBreakTies) {
  const RouteTerms terms = terms_of(2, {0, 1});
  const auto machine = [](double latency_s) {
    MachineProfile profile = machine_with(latency_s, 1e-9);
    profile.reduce_byte_s = 5e-9;
    return profile;
  };
  const auto doubling_by_ring = [&](double latency_s) {
    Forecaster forecaster(terms, machine(latency_s));
    const auto& forecasts = forecaster.of(Collective::all_reduce, 64 << 10);
    const auto of = [&](std::string_view name) { return std::ranges::find(forecasts, name, &Forecast::name)->seconds(64 << 10); };
    return of("doubling") / of("ring");
  };
  // Latencies at which the ring, whose steps are dearer the longer the latency, is a little and clearly faster at 64 KiB.
  double slow = 0, tie = 0;
  for (double latency = 1e-6; latency < 1e-3; latency *= 1.01) {
    const double ratio = doubling_by_ring(latency);
    if (ratio > 1.1) slow = latency;
    if (ratio > 1.01 && ratio < 1.04) tie = latency;
  }
  ASSERT_GT(slow, 0);
  ASSERT_GT(tie, slow);
  EXPECT_NE(chosen(terms, machine(slow), 64 << 10), "doubling");
  EXPECT_EQ(chosen(terms, machine(tie), 64 << 10), "doubling");
  EXPECT_NE(chosen(terms, machine(tie), 90 << 10), "doubling");  // there the ring is clearly faster, and what is usual
  Forecaster forecaster(terms, machine(tie));
  const auto choice = route(terms, {Collective::all_reduce, 64 << 10}, &forecaster);
  EXPECT_THAT(choice->reason, testing::MatchesRegex("predicted [0-9.]+ .+s, mostly [a-z]+; tied with [a-z]+ [0-9.]+ .+s"));
  RouteTerms without = terms;  // what is forbidden wins no tie
  without.rules = *parse_algorithm_rules("^doubling");
  EXPECT_NE(chosen(without, machine(tie), 64 << 10), "doubling");
}

TEST(Forecast, TheReasonTellsWhatNext) {
  const RouteTerms terms = terms_of(4);
  Forecaster forecaster(terms, MachineProfile::standard(false));
  const auto choice = route(terms, {Collective::all_reduce, 1 << 20}, &forecaster);
  ASSERT_TRUE(choice.ok());
  EXPECT_THAT(choice->reason, testing::MatchesRegex("predicted [0-9.]+ .+s, mostly [a-z]+; next [a-z]+ [0-9.]+ .+s"));
  EXPECT_LT(choice->reason.size(), 104u);  // the room in tutti_stats
  EXPECT_GT(choice->seconds, 0);
}

TEST(Forecast, FlatOnlyWhereItServes) {
  EXPECT_EQ(chosen(terms_of(2), MachineProfile::standard(false), 4), "flat");
  const RouteTerms two_hosts = terms_of(2, {0, 1});
  EXPECT_NE(chosen(two_hosts, MachineProfile::standard(false), 4), "flat");
  // The largest flat exchange of 8 ranks lies inside a size class.
  const RouteTerms eight = terms_of(8);
  Forecaster forecaster(eight, MachineProfile::standard(false));
  for (uint64_t bytes = 1024; bytes < 65536; bytes += 64) {
    const auto choice = route(eight, {Collective::all_reduce, bytes}, &forecaster);
    ASSERT_TRUE(choice.ok());
    EXPECT_TRUE(choice->algorithm != kFlat || flat_serves(eight, Collective::all_reduce, bytes)) << bytes;
  }
}

// Elsewhere the longer messages may still be the faster way.
TEST(Forecast, WhatIsRoundedOnceIsDirectWithinAHost) {
  const auto profile = MachineProfile::standard(false);
  const auto rounded_once = [&](const RouteTerms& terms, Collective collective, uint64_t bytes, std::string_view wanted = "") {
    Forecaster forecaster(terms, profile);
    const auto choice = route(terms, {collective, bytes, wanted, true}, &forecaster);
    return choice.ok() ? std::string(choice->name) : choice.status().message();
  };
  RouteTerms host = terms_of(4);
  const RouteTerms hosts = terms_of(4, {0, 0, 1, 1});
  for (const Collective collective : {Collective::all_reduce, Collective::reduce, Collective::reduce_scatter})
    for (const uint64_t bytes : {100'000u, 1u << 20, 64u << 20}) {
      EXPECT_EQ(rounded_once(host, collective, bytes), "direct");
      EXPECT_EQ(rounded_once(hosts, collective, bytes), chosen(hosts, profile, bytes, collective));
      EXPECT_EQ(rounded_once(terms_of(2), collective, bytes), chosen(terms_of(2), profile, bytes, collective));
    }
  EXPECT_EQ(rounded_once(host, Collective::all_reduce, 4), "flat");
  EXPECT_EQ(rounded_once(host, Collective::all_reduce, 1 << 20, "tree"), "tree");
  host.rules = *parse_algorithm_rules("^direct");
  EXPECT_NE(rounded_once(host, Collective::all_reduce, 1 << 20), "direct");
}

TEST(Forecast, EveryCollectiveHasOne) {
  const RouteTerms terms = terms_of(4, {0, 0, 1, 1});
  for (int i = 0; i + 1 < kCollectives; ++i)
    EXPECT_NE(chosen(terms, MachineProfile::standard(false), 1 << 16, static_cast<Collective>(i)), "");
}

TEST(Forecast, OverridesWin) {
  RouteTerms terms = terms_of(4);
  const auto profile = MachineProfile::standard(false);
  EXPECT_EQ(chosen(terms, profile, 1 << 20, Collective::all_reduce, "tree"), "tree");
  terms.file = *parse_tuning_file("tutti-tuning 1\nall_reduce ranks=4 bytes=1M- use=recursive lanes=1 stripe=4K\n", "f");
  EXPECT_EQ(chosen(terms, profile, 1 << 20), "recursive");
  EXPECT_NE(chosen(terms, profile, 1000), "recursive");
  Forecaster forecaster(terms, profile);
  const auto ruled = route(terms, {Collective::all_reduce, 1 << 20}, &forecaster);
  EXPECT_THAT(ruled->reason, HasSubstr("TUTTI_TUNING_FILE, line 2"));
  const Cut pieces = cut(terms, 1 << 18, 1, ruled->wish);
  EXPECT_EQ(pieces.lanes, 1u);
  EXPECT_EQ(pieces.stripe_bytes, 4096u);
  terms.rules = *parse_algorithm_rules("doubling@1M-");
  EXPECT_EQ(chosen(terms, profile, 1 << 20), "doubling");
  terms.rules = *parse_algorithm_rules("^recursive");
  EXPECT_NE(chosen(terms, profile, 1 << 20), "recursive");
  terms.deterministic = true;
  EXPECT_EQ(chosen(terms, profile, 1 << 20), "direct");
}

TEST(Forecast, AFileCannotAskForMoreLanesThanThereAreSlotsFor) {
  const RouteTerms terms = terms_of(4);
  EXPECT_EQ(cut(terms, 1 << 20, 1, {64, 1 << 20}).lanes, standard_lanes(true));
  EXPECT_LE(cut(terms, 1 << 20, 1, {64, 1 << 20}).stripe_bytes, terms.slot_bytes);
}

}  // namespace
}  // namespace tutti
