// Prices that can be computed by hand.
#include "simulator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "all_plans.h"
#include "machines.h"

namespace tutti {
namespace {

using testing::DoubleNear;
using enum Collective;

using test::hosts_of, test::kMicro, test::kNano, test::kWhole;

Machine separate_hosts(int ranks) { return hosts_of(ranks, 1); }

Prediction price(Collective collective, std::string_view name, int ranks, const Machine& machine, const Work& work) {
  return predict(outline_of(algorithm_of(collective, name), ranks, 0), machine, work);
}

double seconds(Collective collective, std::string_view name, int ranks, const Machine& machine, uint64_t bytes) {
  return price(collective, name, ranks, machine, {.bytes = bytes, .lanes = 1, .stripe_bytes = kWhole}).seconds;
}

auto about(double value) { return DoubleNear(value, value * 1e-5 + 1e-15); }

TEST(Simulator, OneMessage) {
  Machine machine = separate_hosts(2);
  machine.inter_host = {.overhead_s = 2 * kMicro, .latency_s = 10 * kMicro, .byte_s = 1 * kNano, .streams = true};
  const Prediction one = price(broadcast, "direct", 2, machine, {.bytes = 100'000, .lanes = 1, .stripe_bytes = kWhole});
  EXPECT_THAT(one.seconds, about((2 + 10 + 100 + 2) * kMicro));
  EXPECT_THAT(one.path.processor_s, about(4 * kMicro));
  EXPECT_THAT(one.path.latency_s, about(10 * kMicro));
  EXPECT_THAT(one.path.link_s, about(100 * kMicro));
  EXPECT_THAT(one.path.total(), about(one.seconds));
  EXPECT_EQ(bound(one.path), "link");
  EXPECT_EQ(one.messages, 1u);
  EXPECT_EQ(one.bytes_inter_host, 100'000);
  EXPECT_EQ(one.busiest_interface, 100'000);
  EXPECT_EQ(one.bytes_intra_host, 0);
}

TEST(Simulator, NothingToDo) {
  EXPECT_EQ(seconds(all_reduce, "ring", 1, separate_hosts(1), 1 << 20), 0);
  EXPECT_EQ(seconds(all_reduce, "ring", 4, separate_hosts(4), 0), 0);
}

TEST(Simulator, PlansThatDoNotEnd) {
  Outline outline(broadcast, 2);
  Plan waits(1);
  waits.recv(1, 0);
  outline.add(compile(waits, broadcast, 0, 2, 0));
  waits = Plan(1);
  waits.recv(0, 0);
  waits.send(0, 0);
  outline.add(compile(waits, broadcast, 1, 2, 0));
  EXPECT_EQ(predict(outline, separate_hosts(2), {.bytes = 64}).seconds, std::numeric_limits<double>::infinity());
}

// Slots are filled and emptied; a reduction happens in the slot that came, and its result goes on without a copy.
TEST(Simulator, SlotsOfOneHost) {
  Machine machine;
  machine.intra_host.latency_s = 1 * kMicro;
  machine.copy_byte_s = 0.1 * kNano;
  machine.reduce_byte_s = 0.25 * kNano;
  const uint64_t bytes = 2'000'000, half = bytes / 2;
  const Prediction ring = price(all_reduce, "ring", 2, machine, {.bytes = bytes, .lanes = 1, .stripe_bytes = kWhole});
  const double copy = half * machine.copy_byte_s, reduce = half * machine.reduce_byte_s;
  EXPECT_THAT(ring.seconds, about(copy + reduce + copy + 2 * kMicro));
  EXPECT_THAT(ring.path.memory_s, about(2 * copy + reduce));
  EXPECT_EQ(bound(ring.path), "memory");
}

TEST(Simulator, ByteStreamsCopyNothingButTheirProcessorWorksWhileTheLinkCarries) {
  Machine machine = separate_hosts(2);
  machine.copy_byte_s = 1;
  machine.inter_host = {.latency_s = 5 * kMicro, .byte_s = 1 * kNano, .processor_byte_s = 0.25 * kNano, .streams = true};
  EXPECT_THAT(seconds(broadcast, "direct", 2, machine, 1 << 20), about(5 * kMicro + (1 << 20) * kNano)) << "hidden behind the link";
  machine.inter_host.processor_byte_s = 2 * kNano;
  EXPECT_THAT(seconds(broadcast, "direct", 2, machine, 1 << 20), about(5 * kMicro + (1 << 20) * 2 * kNano))
      << "slower than the link";
}

TEST(Simulator, RingWithoutLatency) {
  for (const int p : {2, 3, 4, 8, 16, 61}) {
    Machine machine = separate_hosts(p);
    machine.inter_host.byte_s = 1 * kNano;
    const uint64_t bytes = 64 * 1000 * static_cast<uint64_t>(p);
    EXPECT_THAT(seconds(all_reduce, "ring", p, machine, bytes), about(2.0 * (p - 1) / p * static_cast<double>(bytes) * kNano)) << p;
  }
}

TEST(Simulator, DoublingTakesLogarithmicallyManyLatencies) {
  for (const int p : {2, 4, 8, 32, 128}) {
    Machine machine = separate_hosts(p);
    machine.inter_host.latency_s = 3 * kMicro;
    EXPECT_THAT(seconds(all_reduce, "doubling", p, machine, 8), about(3 * kMicro * std::log2(p))) << p;
  }
}

// Pairs of ranks, each pair across the same two interfaces.
TEST(Simulator, RanksShareTheInterfaceOfTheirHost) {
  Outline outline(point_to_point, 4);
  for (int rank = 0; rank < 4; ++rank) {
    Plan plan(1);
    if (rank < 2) plan.send(rank + 2, 0);
    if (rank >= 2) plan.recv(rank - 2, 0);
    outline.add(compile(plan, point_to_point, rank, 4, 0));
  }
  Machine machine = hosts_of(4, 2);
  machine.inter_host.byte_s = machine.interface_byte_s = 1 * kNano;
  const Work work{.bytes = 1'000'000, .lanes = 1, .stripe_bytes = kWhole};
  const Prediction shared = predict(outline, machine, work);
  EXPECT_THAT(shared.seconds, about(2e-3));
  EXPECT_THAT(shared.path.interface_s, about(1e-3));
  EXPECT_EQ(shared.busiest_interface, 2'000'000);
  machine.interface_byte_s = 0.5 * kNano;
  EXPECT_THAT(predict(outline, machine, work).seconds, about(1.5e-3)) << "the second one begins when the first has left";
  EXPECT_THAT(predict(
                  outline,
                  [&] {
                    auto m = machine;
                    m.host = {0, 1, 2, 3};
                    return m;
                  }(),
                  work)
                  .seconds,
              about(1e-3));
}

// Many senders, one receiver: its interface is what they share.
TEST(Simulator, IncastWaitsAtTheReceiver) {
  Machine machine = separate_hosts(5);
  machine.inter_host = {.latency_s = 1 * kMicro, .byte_s = 1 * kNano, .streams = true};
  machine.interface_byte_s = 1 * kNano;
  EXPECT_THAT(seconds(gather, "direct", 5, machine, 5 * 64'000), about(1 * kMicro + 4 * 64 * kMicro));
}

TEST(Simulator, CrowdedCoresTakeTurns) {
  Machine machine;
  machine.reduce_byte_s = 1 * kNano;
  const auto with = [&](int cores) {
    machine.cores = cores;
    return seconds(all_reduce, "doubling", 4, machine, 1'000'000);
  };
  EXPECT_THAT(with(0), about(2e-3));
  EXPECT_THAT(with(4), about(2e-3));
  EXPECT_THAT(with(2), about(4e-3));
  EXPECT_THAT(with(1), about(8e-3));
  machine.host = {0, 0, 1, 1};
  machine.inter_host.streams = true;
  EXPECT_THAT(with(1), about(4e-3)) << "each host has cores of its own";
  machine.one_machine = true;
  EXPECT_THAT(with(1), about(8e-3));
  machine.switch_s = 10 * kMicro;
  EXPECT_GT(with(1), 8e-3 + 4 * 10 * kMicro);
}

// A chain of two hops in k pieces: k + 1 times the piece.
TEST(Simulator, LanesPipeline) {
  Machine machine = separate_hosts(3);
  machine.inter_host.byte_s = 1 * kNano;
  for (const uint32_t lanes : {1u, 2u, 4u, 8u}) {
    const size_t piece = 1'024'000 / lanes;
    const double time = price(broadcast, "ring", 3, machine, {.bytes = 1'024'000, .lanes = lanes, .stripe_bytes = piece}).seconds;
    EXPECT_THAT(time, about((lanes + 1) * static_cast<double>(piece) * kNano)) << lanes;
  }
}

// A prolonged walk agrees with a whole one.
TEST(Simulator, ManyWavesAreProlonged) {
  for (const Algorithm& algorithm : algorithms()) {
    if (algorithm.collective == barrier) continue;
    Machine machine = hosts_of(8, 4);
    machine.intra_host = {.overhead_s = 0.1 * kMicro, .latency_s = 0.2 * kMicro};
    machine.inter_host = {.overhead_s = 1 * kMicro,
                       .latency_s = 10 * kMicro,
                       .byte_s = 0.1 * kNano,
                       .processor_byte_s = 0.05 * kNano,
                       .streams = true};
    machine.interface_byte_s = 0.1 * kNano;
    machine.reduce_byte_s = 0.1 * kNano;
    machine.copy_byte_s = 0.05 * kNano;
    Work work{.bytes = uint64_t{64} << 20, .lanes = 4, .stripe_bytes = 65536};
    const Prediction quick = price(algorithm.collective, algorithm.name, 8, machine, work);
    work.effort = ~uint64_t{0};
    const Prediction whole = price(algorithm.collective, algorithm.name, 8, machine, work);
    EXPECT_NEAR(quick.seconds / whole.seconds, 1, 0.03) << label(algorithm);
    EXPECT_NEAR(quick.bytes_inter_host / std::max(1.0, whole.bytes_inter_host), 1, 0.001) << label(algorithm);
    EXPECT_NEAR(quick.path.total() / quick.seconds, 1, 1e-4) << label(algorithm);
  }
}

}  // namespace
}  // namespace tutti
