// The ladder of precedence: each rung decides where those above it are silent, for plain, lent and coded calls alike.
#include "route.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "algorithms.h"
#include "fixed_sizes.h"

namespace tutti {
namespace {

using testing::HasSubstr;

constexpr uint64_t kLarge = 8 << 20;

RouteTerms host_of(int size) {
  RouteTerms terms;
  terms.size = size;
  terms.team = Team(size);
  terms.slot_bytes = 64 << 10;
  return terms;
}

std::vector<TuningRule> file(const std::string& lines) { return parse_tuning_file("tutti-tuning 1\n" + lines, "f")->rules; }

Packed packed_into(size_t packet_bytes) {
  Packed packed;
  packed.bytes = 1 << 20;
  packed.packet_bytes = packet_bytes;
  packed.codec = "int8";
  packed.widest_run = [](uint8_t index) { return algorithms()[index].name == "tree" ? 8u : 1u; };
  return packed;
}

std::string why(const RouteTerms& terms, const CallKind& call) {
  const auto found = route(terms, call);
  return found.ok() ? std::string(found->name) + ": " + found->reason : found.status().message();
}

// From the last rung up: what is added silences all that was there.
TEST(Route, EachRungPrecedesThoseBelow) {
  RouteTerms terms = host_of(4);
  CallKind call{Collective::all_reduce, kLarge};
  EXPECT_EQ(why(terms, call), "ring: large, one host: one pass over the data");
  call.all_lent = true;
  EXPECT_EQ(why(terms, call), "direct: large, and all ranks' buffers are of tutti_alloc");
  terms.file = file("all_reduce bytes=1M- use=tree lanes=1\n");
  EXPECT_EQ(why(terms, call), "tree: TUTTI_TUNING_FILE, line 2");
  terms.rules = *parse_algorithm_rules("recursive");
  EXPECT_EQ(why(terms, call), "recursive: TUTTI_ALGORITHM");
  call.wanted = "doubling";
  EXPECT_EQ(why(terms, call), "doubling: option of the call");
  terms.deterministic = true;
  EXPECT_EQ(why(terms, call), "direct: TUTTI_DETERMINISTIC: rank order");
}

std::string why_on_device(const RouteTerms& terms, const CallKind& call) {
  const auto found = route_on_device(terms, call);
  return found.ok() ? std::string(found->name) + ": " + found->reason : found.status().message();
}

TEST(RouteOnDevice, EachRungPrecedesThoseBelow) {
  RouteTerms terms = host_of(4);
  CallKind call{Collective::all_reduce, kLarge};
  EXPECT_EQ(why_on_device(terms, call), "direct: devices close together: two hops");
  call.bytes = kStampedUntil / 3;  // which each of four sends to the others
  EXPECT_EQ(why_on_device(terms, call), "exchange: small, on devices: one hop");
  ++call.bytes;
  EXPECT_EQ(why_on_device(terms, call), "direct: devices close together: two hops");
  terms.file = file(
      "all_reduce bytes=0- use=tree lanes=1\n"
      "all_reduce bytes=0-1M use=recursive device=stamped lanes=3 stripe=4K\n");
  EXPECT_EQ(why(terms, call), "tree: TUTTI_TUNING_FILE, line 2");
  const auto of_file = route_on_device(terms, call);
  EXPECT_EQ(of_file->reason, "TUTTI_TUNING_FILE, line 3");
  EXPECT_EQ(of_file->name, "recursive");
  EXPECT_EQ(of_file->protocol, DeviceProtocol::stamped);
  EXPECT_EQ(of_file->wish.lanes, 3u);
  EXPECT_EQ(of_file->wish.stripe_bytes, 4096u);
  terms.rules = *parse_algorithm_rules("ring");
  EXPECT_EQ(why_on_device(terms, call), "ring: TUTTI_ALGORITHM");
  call.wanted = "doubling";
  EXPECT_EQ(why_on_device(terms, call), "doubling: option of the call");
  terms.deterministic = true;
  EXPECT_EQ(why_on_device(terms, call), "direct: TUTTI_DETERMINISTIC: rank order");
  call.bytes = 1000;
  EXPECT_EQ(why_on_device(terms, call), "exchange: TUTTI_DETERMINISTIC: rank order");
}

TEST(RouteOnDevice, WhatIsExcludedIsNotTaken) {
  RouteTerms terms = host_of(4);
  const CallKind small{Collective::all_reduce, 1000}, gather{Collective::all_gather, 1000};
  terms.rules = *parse_algorithm_rules("^exchange");
  EXPECT_EQ(why_on_device(terms, small), "direct: TUTTI_ALGORITHM excludes exchange");
  terms.rules = *parse_algorithm_rules("^exchange,^direct");
  EXPECT_EQ(why_on_device(terms, small), "ring: TUTTI_ALGORITHM excludes exchange");
  EXPECT_EQ(why_on_device(terms, gather), "ring: TUTTI_ALGORITHM excludes direct");
  terms.rules = *parse_algorithm_rules("^ring,^recursive,^direct,^hierarchical");
  EXPECT_EQ(why_on_device(terms, gather), "TUTTI_ALGORITHM excludes every algorithm for all_gather of 1000");
}

TEST(Route, TheSameLadderServesCallsWithACodec) {
  RouteTerms terms = host_of(4);
  const Packed packed = packed_into(1000);
  CallKind call{Collective::all_reduce, packed.bytes};
  call.packed = &packed;
  EXPECT_EQ(why(terms, call), "direct: few ranks: each sum is encoded once");
  // Only the last can carry it.
  terms.file = file("all_reduce use=flat\nall_reduce use=doubling\nall_reduce use=tree\n");
  EXPECT_EQ(why(terms, call), "tree: TUTTI_TUNING_FILE, line 4");
  terms.rules = *parse_algorithm_rules("recursive");
  EXPECT_EQ(why(terms, call), "recursive: TUTTI_ALGORITHM");
  call.wanted = "ring";
  EXPECT_EQ(why(terms, call), "ring: option of the call");
  call.wanted = "doubling";
  EXPECT_THAT(why(terms, call), HasSubstr("algorithm doubling cannot carry a codec"));
  call.wanted = "flat";
  EXPECT_THAT(why(terms, call), HasSubstr("algorithm flat cannot carry a codec"));
  call.wanted = "rign";
  EXPECT_THAT(why(terms, call), HasSubstr("did you mean \"ring\"?"));
  terms.deterministic = true;
  EXPECT_EQ(why(terms, call), "direct: TUTTI_DETERMINISTIC: one order");
}

TEST(Route, PacketsMustFitIntoSlots) {
  RouteTerms terms = host_of(4);
  const Packed packed = packed_into(10'000);
  CallKind call{Collective::all_reduce, packed.bytes, "tree"};
  call.packed = &packed;
  EXPECT_THAT(why(terms, call),
              HasSubstr("algorithm tree would send messages of at least 80000 with codec int8, and a slot holds 64K"));
  call.wanted = "";
  terms.rules = *parse_algorithm_rules("^ring,^direct,^recursive,^hierarchical");
  EXPECT_EQ(why(terms, call), "TUTTI_ALGORITHM excludes every algorithm that can carry codec int8");
}

TEST(Route, WhatIsExcludedIsTakenByNobodyBelow) {
  RouteTerms terms = host_of(4);
  terms.rules = *parse_algorithm_rules("^tree,^direct,^flat");
  terms.file = file("all_reduce use=tree\nall_reduce bytes=64K-128K use=recursive\n");
  EXPECT_EQ(why(terms, {Collective::all_reduce, kLarge, "", false, true}), "ring: large, one host: one pass over the data");
  EXPECT_EQ(why(terms, {Collective::all_reduce, 100'000}), "recursive: TUTTI_TUNING_FILE, line 3");
  EXPECT_EQ(why(terms, {Collective::all_reduce, 8}), "doubling: small, one host: fewest messages");
  EXPECT_EQ(why(terms, {Collective::all_reduce, kLarge, "direct"}), "direct: option of the call");
  terms.rules = *parse_algorithm_rules("^direct");
  EXPECT_EQ(why(terms, {Collective::gather, kLarge}), "tree: TUTTI_ALGORITHM excludes direct");
  terms.rules = *parse_algorithm_rules("^direct,^tree");
  EXPECT_EQ(why(terms, {Collective::gather, kLarge}), "TUTTI_ALGORITHM excludes every algorithm for gather of 8M");
}

TEST(Route, RanksAskWhetherBuffersAreLentOnlyWhereItDecides) {
  RouteTerms terms = host_of(4);
  const CallKind call{Collective::all_reduce, kLarge};
  EXPECT_TRUE(asks_whether_lent(terms, call));
  EXPECT_FALSE(asks_whether_lent(terms, {Collective::all_reduce, (4 << 20) - 1}));
  EXPECT_FALSE(asks_whether_lent(terms, {Collective::broadcast, kLarge}));
  EXPECT_FALSE(asks_whether_lent(terms, {Collective::all_reduce, kLarge, "ring"}));
  EXPECT_FALSE(asks_whether_lent(host_of(2), call));
  const Packed packed = packed_into(1000);
  CallKind coded = call;
  coded.packed = &packed;
  EXPECT_FALSE(asks_whether_lent(terms, coded));
  terms.single_host = false;
  EXPECT_FALSE(asks_whether_lent(terms, call));
  terms.single_host = true;
  const auto with = [&](const char* rules, const std::string& lines) {
    RouteTerms told = terms;
    told.rules = *parse_algorithm_rules(rules);
    told.file = file(lines);
    return asks_whether_lent(told, call);
  };
  // All of it is about other calls.
  EXPECT_TRUE(with("^tree,ring@0-4M,broadcast:tree", "all_reduce ranks=8 use=ring\nbroadcast use=tree\n"));
  EXPECT_FALSE(with("ring", ""));
  EXPECT_FALSE(with("^direct", ""));
  EXPECT_FALSE(with("", "all_reduce use=ring\n"));
  terms.deterministic = true;
  EXPECT_FALSE(asks_whether_lent(terms, call));
}

TEST(Route, FlatSaysWhereItServes) {
  EXPECT_EQ(why(host_of(2), {Collective::all_reduce, 8}), "flat: one host, at most 64K");
  EXPECT_THAT(why(host_of(4), {Collective::broadcast, 8, "flat"}),
              HasSubstr("algorithm flat serves all_reduce and barrier of at most 21824 within one host of 4 ranks only; this is "
                        "broadcast of 8"));
}

}  // namespace
}  // namespace tutti
