// The table of predictions and the choices that follow from it: for given numbers of the machine they are exact,
// without a clock.
#include "table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "algorithms.h"
#include "pricing.h"
#include "route.h"

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
  profile.intra_host = profile.inter_host = {latency_s / 10, latency_s, byte_s, 0, true};
  profile.cores = 64;
  return profile;
}

RouteTerms with_table(RouteTerms terms, const MachineProfile& profile) {
  terms.table = table_of(terms, profile);
  return terms;
}

std::string chosen(const RouteTerms& terms, const MachineProfile& profile, uint64_t bytes,
                   Collective collective = Collective::all_reduce, std::string_view wanted = "") {
  const auto found = route(with_table(terms, profile), {collective, bytes, wanted});
  EXPECT_TRUE(found.ok()) << found.status().message();
  return found.ok() ? std::string(found->name) : "";
}

// Every size of every collective has a line for each of its algorithms, and no line but flat's covers another of the
// same algorithm.
TEST(Table, CoversEverySizeOnce) {
  for (const RouteTerms& terms : {terms_of(3), terms_of(4, {0, 0, 1, 1}), terms_of(20, std::vector<int>(20, 0))}) {
    const auto table = table_of(terms, MachineProfile::standard(false));
    for (const Algorithm& algorithm : algorithms()) {
      if (!is_priced(algorithm.collective)) continue;
      if (algorithm.name == "hierarchical" && terms.team.hosts() == 1) continue;
      uint64_t end = 0;
      for (const TuningRule& line : table) {
        if (line.collective != algorithm.collective || line.algorithm != algorithm.name) continue;
        EXPECT_EQ(line.from, end) << algorithm.name;
        EXPECT_GT(line.from_ns, 0u);
        EXPECT_NE(line.bound, "");
        end = line.to;
      }
      EXPECT_EQ(end, UINT64_MAX) << algorithm.name;
    }
  }
}

// It travels to the other ranks as text, and may fill a file.
TEST(Table, IsReadBackFromItsText) {
  MachineProfile profile = machine_with(1e-5, 1e-9);
  profile.intra_host_scale = profile.inter_host_scale = {9, 0.3, 1, 5};  // prices far from straight lines
  for (const RouteTerms& terms : {terms_of(2), terms_of(8, {0, 0, 0, 0, 1, 1, 2, 2})}) {
    const auto table = table_of(terms, profile);
    const std::string text = format_tuning_file({table, profile_lines(profile, std::string(200, 'k'))});
    const auto again = parse_tuning_file(text, "f");
    ASSERT_TRUE(again.ok()) << again.status().message();
    EXPECT_EQ(format_tuning_file(*again), text);
    EXPECT_EQ(again->rules.size(), table.size());
    EXPECT_TRUE(read_profile(again->machine).ok());
  }
}

TEST(Table, TheFastestIsChosen) {
  for (const int size : {2, 3, 8}) {
    std::vector<int> hosts;
    for (int rank = 0; rank < size; ++rank) hosts.push_back(rank);
    const RouteTerms terms = terms_of(size, std::move(hosts));
    for (const auto& profile : {machine_with(1e-3, 1e-10), machine_with(1e-7, 1e-7)}) {
      Pricing pricing(terms, profile);
      for (const uint64_t bytes : {1000u, 5000u, 16u << 20}) {
        const auto found = route(with_table(terms, profile), {Collective::all_reduce, bytes});
        ASSERT_TRUE(found.ok());
        const double price = pricing.of(found->algorithm, bytes).seconds;
        EXPECT_NEAR(found->seconds, price, price / 8);
        for (uint8_t other = 0; other < algorithms().size(); ++other) {
          if (algorithms()[other].collective != Collective::all_reduce) continue;
          EXPECT_LE(price, 1.15 * pricing.of(other, bytes).seconds) << algorithms()[other].name;
        }
      }
    }
  }
}

// Choices by the table, priced by the simulator at the call's own size, beside the best one.  Over a wider grid the
// means are 1.003 of up to 8 ranks, and 1.02 of 16.
double mean_of_choice_by_best(const RouteTerms& terms, const MachineProfile& profile, double& worst) {
  const RouteTerms with = with_table(terms, profile);
  double sum = 0;
  int count = 0;
  const auto price = [&](uint8_t algorithm, uint64_t bytes) {
    const Outline outline = outline_of(algorithms()[algorithm], terms.team, 0);
    const Cut pieces = cut(terms, bytes / outline.blocks(), outline.widest_run());
    const Work work{bytes, pieces.lanes, pieces.stripe_bytes, 16384};
    return predict(outline, machine_for(profile, terms.team, bytes), work).seconds + profile.call_s;
  };
  for (const Collective collective : {Collective::all_reduce, Collective::reduce_scatter, Collective::broadcast})
    for (const uint64_t bytes : {700u, 10'000u, 30'000u, 100'000u, 400'000u, 3'000'000u, 50'000'000u}) {
      if (flat_serves(terms, collective, bytes)) continue;
      double best = 1e9;
      for (uint8_t i = 0; i < algorithms().size(); ++i)
        if (algorithms()[i].collective == collective) best = std::min(best, price(i, bytes));
      const double ratio = price(route(with, {collective, bytes})->algorithm, bytes) / best;
      worst = std::max(worst, ratio);
      sum += ratio;
      ++count;
    }
  return sum / count;
}

TEST(Table, ChoicesAreNearTheBest) {
  const auto on_hosts = [](int size, int hosts) {
    std::vector<int> host;
    for (int rank = 0; rank < size; ++rank) host.push_back(rank * hosts / size);
    return terms_of(size, std::move(host));
  };
  MachineProfile crowded = MachineProfile::standard(false), network = MachineProfile::standard(true);
  crowded.cores = 2;
  crowded.intra_host_scale = {3, 1.2, 1, 1.1};
  network.cores = 16;
  network.inter_host = {4e-6, 15e-6, 0.1e-9, 0.3e-9, true};
  for (const MachineProfile& profile : {crowded, network}) {
    double worst = 0;
    for (RouteTerms terms :
         {terms_of(2), terms_of(3), terms_of(4), on_hosts(2, 2), on_hosts(4, 2), on_hosts(8, 2), on_hosts(8, 8)}) {
      if (profile.intra_host.streams) terms.loopback = std::exchange(terms.single_host, false);
      EXPECT_LE(mean_of_choice_by_best(terms, profile, worst), 1.02);
    }
    EXPECT_LE(worst, 1.25);
    for (const RouteTerms& terms : {terms_of(16), on_hosts(16, 4)}) EXPECT_LE(mean_of_choice_by_best(terms, profile, worst), 1.08);
    EXPECT_LE(worst, 1.6);
  }
}

TEST(Table, HasNoLimitOnRanks) {
  std::vector<int> hosts;
  for (int rank = 0; rank < 300; ++rank) hosts.push_back(rank / 8);
  const RouteTerms terms = terms_of(300, std::move(hosts));
  const MachineProfile profile = machine_with(2e-5, 1e-9);
  EXPECT_NE(chosen(terms, profile, 256), "ring");  // 598 rounds
  EXPECT_NE(chosen(terms, profile, 64 << 20), "doubling");
  const auto found = route(with_table(terms, profile), {Collective::all_reduce, 64 << 20});
  EXPECT_GT(found->seconds, 1.9 * (64 << 20) * 1e-9);  // each byte comes in and goes out
}

TEST(Table, TheMachineDecides) {
  const RouteTerms terms = terms_of(8, {0, 1, 2, 3, 4, 5, 6, 7});
  MachineProfile busy = machine_with(1e-9, 1e-12);
  busy.intra_host.overhead_s = busy.inter_host.overhead_s = 1e-3;
  EXPECT_EQ(chosen(terms, busy, 1000), "doubling");                          // nothing but messages: fewest
  EXPECT_NE(chosen(terms, machine_with(1e-9, 1e-8), 64 << 20), "doubling");  // nothing but bytes
}

// Two ranks, and bytes that are dear to reduce: doubling reduces all of them once, the ring half of them, in twice as
// many messages.
TEST(Table, FixedSizesBreakTies) {
  RouteTerms terms = terms_of(2, {0, 1});
  terms.rules = *parse_algorithm_rules("^exchange");  // of two ranks the same as doubling
  const auto machine = [](double latency_s) {
    MachineProfile profile = machine_with(latency_s, 1e-9);
    profile.reduce_byte_s = 5e-9;
    return profile;
  };
  const auto doubling_by_ring = [&](double latency_s) {
    const MachineProfile profile = machine(latency_s);
    Pricing pricing(terms, profile);
    const auto of = [&](std::string_view name) {
      return pricing.of(*find_algorithm(Collective::all_reduce, name), 64 << 10).seconds;
    };
    return of("doubling") / of("ring");
  };
  // Latencies at which the ring, whose steps are dearer the longer the latency, is a little and clearly faster at 64
  // KiB.
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
  const auto found = route(with_table(terms, machine(tie)), {Collective::all_reduce, 64 << 10});
  EXPECT_THAT(found->reason, testing::MatchesRegex("predicted [0-9.]+ .+s, mostly [a-z]+; tied with [a-z]+ [0-9.]+ .+s"));
  RouteTerms without = terms;  // what is forbidden wins no tie
  without.rules = *parse_algorithm_rules("^doubling,^exchange");
  EXPECT_NE(chosen(without, machine(tie), 64 << 10), "doubling");
}

TEST(Table, TheReasonTellsWhatNext) {
  const RouteTerms terms = terms_of(4);
  const auto choice = route(with_table(terms, MachineProfile::standard(false)), {Collective::all_reduce, 1 << 20});
  ASSERT_TRUE(choice.ok());
  EXPECT_THAT(choice->reason, testing::MatchesRegex("predicted [0-9.]+ .+s, mostly [a-z]+; next [a-z]+ [0-9.]+ .+s"));
  EXPECT_LT(choice->reason.size(), 104u);  // the room in tutti_stats
  EXPECT_GT(choice->seconds, 0);
}

TEST(Table, FlatOnlyWhereItServes) {
  EXPECT_EQ(chosen(terms_of(2), MachineProfile::standard(false), 4), "flat");
  const RouteTerms two_hosts = terms_of(2, {0, 1});
  EXPECT_NE(chosen(two_hosts, MachineProfile::standard(false), 4), "flat");
  const RouteTerms eight = with_table(terms_of(8), MachineProfile::standard(false));
  for (uint64_t bytes = 1024; bytes < 65536; bytes += 64) {
    const auto choice = route(eight, {Collective::all_reduce, bytes});
    ASSERT_TRUE(choice.ok());
    EXPECT_TRUE(choice->algorithm != kFlat || flat_serves(eight, Collective::all_reduce, bytes)) << bytes;
  }
}

// Elsewhere the longer messages may still be the faster way.
TEST(Table, WhatIsRoundedOnceIsDirectWithinAHost) {
  const auto profile = MachineProfile::standard(false);
  const auto rounded_once = [&](const RouteTerms& terms, Collective collective, uint64_t bytes, std::string_view wanted = "") {
    const auto choice = route(with_table(terms, profile), {collective, bytes, wanted, true});
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

TEST(Table, EveryCollectiveHasAChoice) {
  const RouteTerms terms = terms_of(4, {0, 0, 1, 1});
  for (int i = 0; i + 1 < kCollectives; ++i)
    EXPECT_NE(chosen(terms, MachineProfile::standard(false), 1 << 16, static_cast<Collective>(i)), "");
}

TEST(Table, OverridesWin) {
  RouteTerms terms = terms_of(4);
  const auto profile = MachineProfile::standard(false);
  EXPECT_EQ(chosen(terms, profile, 1 << 20, Collective::all_reduce, "tree"), "tree");
  terms.file = parse_tuning_file("tutti-tuning 1\nall_reduce ranks=4 bytes=1M- use=recursive lanes=1 stripe=4K\n", "f")->rules;
  EXPECT_EQ(chosen(terms, profile, 1 << 20), "recursive");
  EXPECT_NE(chosen(terms, profile, 1000), "recursive");
  const auto ruled = route(with_table(terms, profile), {Collective::all_reduce, 1 << 20});
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

TEST(Table, AFileCannotAskForMoreLanesThanThereAreSlotsFor) {
  const RouteTerms terms = terms_of(4);
  EXPECT_EQ(cut(terms, 1 << 20, 1, {64, 1 << 20}).lanes, standard_lanes(true));
  EXPECT_LE(cut(terms, 1 << 20, 1, {64, 1 << 20}).stripe_bytes, terms.slot_bytes);
}

}  // namespace
}  // namespace tutti
