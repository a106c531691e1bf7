// The simulator against the formulas where nothing is shared, and laws that hold of every plan.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "all_plans.h"
#include "machines.h"
#include "simulator.h"

namespace tutti {
namespace {

using enum Collective;

using test::hosts_of, test::kMicro, test::kNano, test::kWhole;

Machine ordinary(int ranks, int per_host) {
  Machine machine = hosts_of(ranks, per_host);
  machine.intra_host = {.overhead_s = 0.1 * kMicro, .latency_s = 0.2 * kMicro};
  machine.inter_host = {
      .overhead_s = 1 * kMicro, .latency_s = 10 * kMicro, .byte_s = 0.2 * kNano, .processor_byte_s = 0.1 * kNano, .streams = true};
  machine.interface_byte_s = 0.1 * kNano;
  machine.reduce_byte_s = 0.1 * kNano;
  machine.copy_byte_s = 0.05 * kNano;
  return machine;
}

Team team_on(const Machine& machine) {
  Team team(static_cast<int>(machine.host.size()));
  team.host = machine.host;
  return team;
}

double in_one_piece(const Outline& outline, const Machine& machine, uint64_t bytes) {
  return predict(outline, machine, {.bytes = bytes, .lanes = 1, .stripe_bytes = kWhole}).seconds;
}

// Whole cache lines in every block.
uint64_t even_bytes(const Outline& outline) { return uint64_t{outline.blocks()} * outline.size() * 64 * 16; }

class EveryAlgorithm : public testing::TestWithParam<Algorithm> {
 protected:
  // n bytes of the formulas, in blocks of the plan.
  static double share(const Outline& outline, uint64_t blocks) {
    const double parts = outline.collective() == all_to_all ? outline.size() : outline.blocks();
    return static_cast<double>(blocks) / parts;
  }
};

TEST_P(EveryAlgorithm, LatencyAloneCostsTheRounds) {
  const Algorithm& algorithm = GetParam();
  const CostModel& model = algorithm.cost;
  const auto check = [&](int p, int per_host) {
    Machine machine = hosts_of(p, per_host);
    machine.inter_host.latency_s = machine.intra_host.latency_s = 1 * kMicro;
    const Outline outline = outline_of(algorithm, team_on(machine), 0);
    const uint64_t rounds = model.rounds.value(static_cast<uint64_t>(p), static_cast<uint64_t>(p / per_host));
    EXPECT_NEAR(in_one_piece(outline, machine, even_bytes(outline)) / kMicro, static_cast<double>(rounds), 1e-6)
        << p << " ranks, " << per_host << " on a host";
  };
  for (const int p : {2, 3, 7, 8, 12, 33}) check(p, p);
  for (const int hosts : {2, 3, 4, 7}) check(4 * hosts, 4);
}

// Each rank's interface, reductions and messages one after the other: what the busiest rank does is the least that it
// can cost.
TEST_P(EveryAlgorithm, NoRankIsFasterThanItsShare) {
  const Algorithm& algorithm = GetParam();
  const CostModel& model = algorithm.cost;
  if (algorithm.collective == barrier) GTEST_SKIP() << "no data";
  const bool evenly = !has_root(algorithm.collective) && !is_scan(algorithm.collective) &&
                      (algorithm.name == "ring" || algorithm.name == "recursive");
  for (const int p : {2, 4, 8, 16}) {
    const Outline outline = outline_of(algorithm, p, 0);
    const auto ranks = static_cast<uint64_t>(p);
    const uint64_t bytes = even_bytes(outline);
    const auto n = static_cast<double>(bytes) * kNano;
    Machine machine = hosts_of(p, 1);
    machine.interface_byte_s = 1 * kNano;
    const double moved = in_one_piece(outline, machine, bytes) / n, least = share(outline, model.data.value(ranks, 1));
    EXPECT_GE(moved, least - 1e-6) << p << " ranks";
    machine = hosts_of(p, 1);
    machine.reduce_byte_s = 1 * kNano;
    const double reduced = in_one_piece(outline, machine, bytes) / n, fewest = share(outline, model.reduced.value(ranks, 1));
    EXPECT_GE(reduced, fewest - 1e-6) << p << " ranks";
    machine = hosts_of(p, 1);
    machine.inter_host.overhead_s = 1 * kMicro;
    EXPECT_GE(in_one_piece(outline, machine, bytes) / kMicro, static_cast<double>(model.messages.value(ranks, 1)) - 1e-6)
        << p << " ranks";
    if (evenly) {
      EXPECT_NEAR(moved, least, 1e-4) << p << " ranks";
      EXPECT_NEAR(reduced, fewest, 1e-4) << p << " ranks";
    }
  }
}

TEST_P(EveryAlgorithm, MoreBytesAreNeverFaster) {
  for (const Machine& machine : {ordinary(8, 1), ordinary(8, 4), ordinary(8, 8)}) {
    const Outline outline = outline_of(GetParam(), team_on(machine), 0);
    double last = 0;
    for (uint64_t bytes = 4096; bytes <= 64 << 20; bytes *= 4) {
      const double seconds = in_one_piece(outline, machine, bytes);
      EXPECT_GE(seconds, last) << bytes;
      last = seconds;
    }
  }
}

// Where messages queue for an interface, a faster part elsewhere can change their order for the worse, a little.
TEST_P(EveryAlgorithm, BetterHardwareIsNotSlower) {
  const Outline outline = outline_of(GetParam(), team_on(hosts_of(12, 4)), 0);
  for (const bool shared : {false, true}) {
    Machine base = ordinary(12, 4);
    if (!shared) base.interface_byte_s = 0;
    const double tolerance = shared ? 0.1 : 1e-9;
    for (const uint64_t bytes : {uint64_t{1000}, uint64_t{100'000}, uint64_t{10'000'000}}) {
      const double before = in_one_piece(outline, base, bytes);
      const auto better = [&](const char* what, auto improve) {
        Machine machine = base;
        improve(machine);
        EXPECT_LE(in_one_piece(outline, machine, bytes), before * (1 + tolerance)) << what << ", " << bytes;
      };
      better("latency", [](Machine& m) { m.inter_host.latency_s /= 2; });
      better("link", [](Machine& m) { m.inter_host.byte_s /= 2; });
      better("interface", [](Machine& m) { m.interface_byte_s /= 2; });
      better("sockets", [](Machine& m) { m.inter_host.processor_byte_s /= 2; });
      better("overhead", [](Machine& m) { m.inter_host.overhead_s = m.intra_host.overhead_s = 0; });
      better("memory", [](Machine& m) { m.copy_byte_s = m.reduce_byte_s = 0; });
    }
  }
}

TEST_P(EveryAlgorithm, TheNumbersOfHostsAreNames) {
  const Outline outline = outline_of(GetParam(), team_on(hosts_of(12, 4)), 0);
  const Machine machine = ordinary(12, 4);
  Machine renamed = machine;
  for (int& host : renamed.host) host = 2 - host;
  EXPECT_DOUBLE_EQ(in_one_piece(outline, machine, 1 << 20), in_one_piece(outline, renamed, 1 << 20));
}

INSTANTIATE_TEST_SUITE_P(Simulator, EveryAlgorithm, testing::ValuesIn(algorithms().begin(), algorithms().end()),
                         [](const auto& test) { return label(test.param); });

}  // namespace
}  // namespace tutti
