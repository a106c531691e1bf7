// The interpreter on threads of the processor, one for each thread of each lane of each rank: every plan of the
// registry.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "algorithms.h"
#include "cpu_machine.h"
#include "device_program.h"
#include "exercise.h"
#include "interpreter.h"
#include "sanitized.h"

namespace tutti {
namespace {

using cuda::Channel;
using cuda::Cpu;
using cuda::DeviceCall;
using cuda::DevicePeer;
using cuda::DeviceRegion;
using cuda::DeviceReport;
using cuda::LentRegion;
using cuda::Protocol;
using cuda::Vector;
using Kernel = void (*)(const Cpu&, const DeviceCall&);

template <class Format, class Op>
void interpret(const Cpu& machine, const DeviceCall& call) {
  cuda::Interpreter<Format, Op, Cpu>(machine, call).run();
}
constexpr Kernel kSumOfIntegers = &interpret<cuda::Plain<uint32_t>, cuda::Sum>;
constexpr Kernel kSumOfFloats = &interpret<cuda::Plain<float>, cuda::Sum>;
constexpr Kernel kSumOfBytes = &interpret<cuda::Plain<uint8_t>, cuda::Sum>;
constexpr Kernel kSumOfDoubles = &interpret<cuda::Plain<double>, cuda::Sum>;
constexpr Kernel kAverageOfHalves = &interpret<cuda::BrainFloat, cuda::Average>;

// The memory of all ranks' devices, and launches of theirs.
class DeviceWorld {
 public:
  // `message_bytes`: the longest.
  DeviceWorld(int size, uint32_t lanes, uint64_t message_bytes, Protocol protocol = Protocol::flagged)
      : size_(size),
        lanes_(lanes),
        slot_bytes_(protocol == Protocol::stamped ? cuda::stamped_slot_bytes(message_bytes) : message_bytes),
        protocol_(protocol) {
    const size_t pairs = static_cast<size_t>(size) * lanes;
    for (int rank = 0; rank < size; ++rank)
      ranks_.push_back({std::vector<Channel>(pairs),
                        std::vector<Vector>(pairs * cuda::kChannelSlots * slot_bytes_ / 16),
                        std::vector<DeviceRegion>(static_cast<size_t>(size) * cuda::kRegionsOfRank),
                        {},
                        {},
                        {},
                        {}});
  }

  // Later calls of the rank lend what they have in this memory, which all others know as the region of this number.
  void lend(int rank, std::span<const int32_t> memory, uint32_t number) {
    const auto bytes = std::as_bytes(memory);
    ranks_[static_cast<size_t>(rank)].lent.push_back({bytes.data(), bytes.size(), number});
    for (Rank& reader : ranks_) region(reader, rank, number) = {bytes.data(), bytes.size()};
  }
  // That one memory of a peer's is shorter than this peer takes it for.
  void cut(int reader, int owner, uint32_t number, uint64_t bytes) {
    region(ranks_[static_cast<size_t>(reader)], owner, number).bytes = bytes;
  }
  void lend_nothing() {
    for (Rank& rank : ranks_) {
      rank.lent.clear();
      std::ranges::fill(rank.regions, DeviceRegion{});
    }
  }

  // The call of one rank; memory that it needs stays with the world.
  DeviceCall call(int rank, const Program& program, const Binding& binding, uint32_t hash) {
    Rank& me = ranks_[static_cast<size_t>(rank)];
    DeviceCall call{};
    std::vector<DevicePeer> peers;
    for (const Program::Peer& peer : program.peers) peers.push_back(connect(rank, peer.rank));
    const Result<DeviceProgram> flat = flatten(program);
    EXPECT_TRUE(flat.ok()) << flat.status().message();
    me.program = describe(call, *flat, binding, peers);
    if (!me.program.empty()) call.header.program = me.program.data();
    me.scratch.assign(lanes_ * program.scratch_blocks * cuda::scratch_pitch(binding.stripe_bytes()) / 16 + 1, {});
    call.header.scratch = reinterpret_cast<std::byte*>(me.scratch.data());
    call.header.given_up = call.header.void_call = &given_up, call.header.report = me.reports;
    call.header.calls = &me.channels[static_cast<size_t>(rank) * lanes_];
    call.header.protocol = protocol_;
    call.header.slot_bytes = slot_bytes_, call.header.hash = hash, call.header.divisor = static_cast<uint32_t>(size_);
    call.header.rank = static_cast<uint32_t>(rank);
    call.header.regions = me.regions.data();
    call.header.least_loan = 1;
    std::ranges::copy(me.lent, call.header.lent);
    return call;
  }

  // One launch for each rank, or one for all of them.  `ended`: what its caller does once a rank's call has ended.
  void run(Kernel kernel, const std::vector<DeviceCall>& calls, uint32_t threads, bool in_one_launch,
           const std::function<void(int)>& ended = {}) {
    std::optional<DeviceCall> of_all;
    if (in_one_launch) of_all.emplace().world = calls.data();
    std::vector<std::thread> running;
    std::vector<std::unique_ptr<Block>> blocks;
    for (uint32_t rank = 0; rank < calls.size(); ++rank) {
      for (uint32_t lane = 0; lane < lanes_; ++lane) {
        blocks.push_back(std::make_unique<Block>(threads, cuda::interpreter_shared_bytes(calls[rank].header)));
        for (uint32_t thread = 0; thread < threads; ++thread)
          running.emplace_back([=, this, &block = *blocks.back(), &call = of_all ? *of_all : calls[rank]] {
            kernel(Cpu({lanes_, threads}, lane, thread, threads == 1 ? nullptr : &block.barrier, block.memory(),
                       in_one_launch ? rank : 0),
                   call);
          });
      }
    }
    const uint32_t of_rank = lanes_ * threads;
    std::vector<std::thread> callers;
    for (uint32_t rank = 0; rank < calls.size(); ++rank)
      callers.emplace_back([&, rank] {
        for (uint32_t n = 0; n < of_rank; ++n) running[rank * of_rank + n].join();
        if (ended) ended(static_cast<int>(rank));
      });
    for (std::thread& caller : callers) caller.join();
  }

  // Where one rank's messages from another lie, and what both count.
  std::span<Vector> slot(int rank, int peer, uint32_t lane, uint64_t number) {
    const size_t index = (static_cast<size_t>(peer) * lanes_ + lane) * cuda::kChannelSlots + number % cuda::kChannelSlots;
    return std::span(ranks_[static_cast<size_t>(rank)].slots).subspan(index * slot_bytes_ / 16, slot_bytes_ / 16);
  }
  void begin_counting_at(uint64_t number) {
    for (Rank& rank : ranks_)
      for (Channel& channel : rank.channels) channel.sent = channel.received = channel.taken = number;
  }

  uint64_t report(int rank) {  // the worst
    uint64_t* const reports = ranks_[static_cast<size_t>(rank)].reports;
    const uint64_t worse = std::atomic_ref(reports[1]).load();
    return worse != 0 ? worse : std::atomic_ref(reports[0]).load();
  }
  uint32_t given_up = 0;

 private:
  struct Rank {
    std::vector<Channel> channels;  // by peer and lane
    std::vector<Vector> slots;      // by peer, lane and slot
    std::vector<DeviceRegion> regions;
    std::vector<LentRegion> lent;
    std::vector<Vector> scratch;
    std::vector<std::byte> program;
    uint64_t reports[2] = {};
  };
  struct Block {
    Block(uint32_t threads, uint64_t bytes) : barrier(threads), shared(bytes / 16 + 1) {}
    std::byte* memory() { return reinterpret_cast<std::byte*>(shared.data()); }
    cuda::Barrier barrier;
    std::vector<Vector> shared;
  };

  static DeviceRegion& region(Rank& reader, int owner, uint32_t number) {
    return reader.regions[static_cast<size_t>(owner) * cuda::kRegionsOfRank + number];
  }

  DevicePeer connect(int rank, int peer) {
    Rank &mine = ranks_[static_cast<size_t>(rank)], &theirs = ranks_[static_cast<size_t>(peer)];
    const size_t area = lanes_ * cuda::kChannelSlots * slot_bytes_;
    const auto me = static_cast<size_t>(rank), other = static_cast<size_t>(peer);
    return {&mine.channels[other * lanes_], &theirs.channels[me * lanes_],
            reinterpret_cast<std::byte*>(mine.slots.data()) + other * area,
            reinterpret_cast<std::byte*>(theirs.slots.data()) + me * area, other};
  }

  int size_;
  uint32_t lanes_;
  uint64_t slot_bytes_;
  Protocol protocol_;
  std::vector<Rank> ranks_;
};

const Algorithm& algorithm_named(Collective collective, std::string_view name) {
  return algorithms()[*find_algorithm(collective, name)];
}

// How a stripe is cut so that every message fits a slot of a kilobyte, or of more where 64 bytes of each block do not.
struct Cut {
  Cut(const Algorithm& algorithm, int size, int root) {
    uint32_t widest = 1;
    for (int rank = 0; rank < size; ++rank) widest = std::max(widest, algorithm.plan(rank, Team(size), root).widest_run());
    while (cuda::message_bytes(stripe_bytes + 64, widest) <= slot_bytes) stripe_bytes += 64;
    slot_bytes = std::max(slot_bytes, cuda::message_bytes(stripe_bytes, widest));
  }
  size_t stripe_bytes = 64;
  uint64_t slot_bytes = 1024;
};

using InAProtocol = testing::TestWithParam<std::tuple<Algorithm, Protocol>>;
class InterpreterTest : public InAProtocol {};

enum class Loans : uint8_t { none, some, all };

// Of a call whose buffers these are.  Some: other buffers at each rank, and of some not all.
void lend(DeviceWorld& world, const test::Exercise& exercise, bool in_place, Loans loans, uint32_t salt) {
  world.lend_nothing();
  if (loans == Loans::none) return;
  for (size_t rank = 0; rank < exercise.outputs().size(); ++rank) {
    uint32_t number = 0;
    for (const std::span<const int32_t> buffer : {exercise.inputs()[rank], exercise.outputs()[rank]}) {
      const bool is_input = number++ == 0;
      const uint32_t kind = static_cast<uint32_t>(rank) + number + salt;
      if ((is_input && in_place) || buffer.empty() || (loans == Loans::some && kind % 3 == 0)) continue;
      const bool half = loans == Loans::some && kind % 3 == 1;
      world.lend(static_cast<int>(rank), half ? buffer.first((buffer.size() + 1) / 2) : buffer, number * 11 + salt % 10);
    }
  }
}

// One after another in the same channels, so that numbers go on; some end with all ranks in one launch.
void carry_out_every_size(const Algorithm& algorithm, Protocol protocol, Loans loans) {
  constexpr uint32_t kLanes = 2;
  uint32_t salt = 0;
  for (const int size : test::fewer<std::vector<int>>({2, 3, 4, 5, 8}, {2, 3, 5})) {
    for (const int root : {0, size - 1}) {
      const Cut cut(algorithm, size, root);
      DeviceWorld world(size, kLanes, cut.slot_bytes, protocol);
      for (const size_t count : {0u, 1u, 17u, 250u, 1000u, 5003u}) {
        test::Case c{&algorithm, Team(size), root, count, false, kLanes, cut.stripe_bytes};
        c.in_place = !each_rank_has_a_part(algorithm.collective) && ++salt % 2 == 0;
        SCOPED_TRACE(testing::Message() << size << " ranks, root " << root << ", " << count << " elements");
        test::Exercise exercise(c, static_cast<int>(salt));
        lend(world, exercise, c.in_place, loans, salt);
        std::vector<DeviceCall> calls;
        for (int rank = 0; rank < size; ++rank)
          calls.push_back(world.call(rank, exercise.program(rank), exercise.binding(rank), salt + 1));
        world.run(kSumOfIntegers, calls, 1 + salt % 3, salt % 4 == 0, [&](int rank) { exercise.use_up(rank); });
        if (algorithm.collective != Collective::barrier) exercise.expect_right();
        for (int rank = 0; rank < size; ++rank) {
          const auto report = DeviceReport::of(world.report(rank));
          ASSERT_NE(report.kind, DeviceReport::Kind::mismatch) << "rank " << rank << " of its peer " << report.peer;
        }
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(InterpreterTest, CarriesOutEveryPlan) {
  const auto& [algorithm, protocol] = GetParam();
  carry_out_every_size(algorithm, protocol, Loans::none);
}

class LoansTest : public testing::TestWithParam<std::tuple<Algorithm, Loans>> {};

TEST_P(LoansTest, CarryOutEveryPlan) {
  const auto& [algorithm, loans] = GetParam();
  carry_out_every_size(algorithm, Protocol::flagged, loans);
}

// What the engine makes of the same floats on the host, bit for bit: the same plans, and arithmetic in the same order.
class ReductionTest : public InAProtocol {};

TEST_P(ReductionTest, HasTheEnginesBits) {
  const auto& [algorithm, protocol] = GetParam();
  constexpr int kSize = 5;
  constexpr uint32_t kLanes = 2;
  const Cut cut(algorithm, kSize, 0);
  const test::Case c{&algorithm, Team(kSize), 0, 3001, false, kLanes, cut.stripe_bytes, DataType::float32};
  test::EngineWorld host(Team(kSize), test::Wiring::slots, test::shape_of(kSize, 4096, kLanes), 1);
  test::Exercise on_host(c, 9), on_device(c, 9);
  host.start([&](int rank, LinkTable& links) { return on_host.operation(rank, links); });
  const Status status = host.finish();
  ASSERT_TRUE(status.ok()) << status.message();
  DeviceWorld world(kSize, kLanes, cut.slot_bytes, protocol);
  std::vector<DeviceCall> calls;
  for (int rank = 0; rank < kSize; ++rank) calls.push_back(world.call(rank, on_device.program(rank), on_device.binding(rank), 1));
  world.run(kSumOfFloats, calls, 2, false);
  for (size_t rank = 0; rank < kSize; ++rank)
    if (algorithm.collective != Collective::reduce || rank == 0) {
      ASSERT_TRUE(std::ranges::equal(on_device.outputs()[rank], on_host.outputs()[rank])) << "rank " << rank;
    }
}

std::vector<Algorithm> reductions() {
  std::vector<Algorithm> result;
  for (const Algorithm& algorithm : algorithms())
    if (has_op(algorithm.collective)) result.push_back(algorithm);
  return result;
}

const auto kBoth = testing::Values(Protocol::flagged, Protocol::stamped);
std::string label_of(const testing::TestParamInfo<std::tuple<Algorithm, Protocol>>& info) {
  const auto& [algorithm, protocol] = info.param;
  return std::string(name(algorithm.collective)) + "_" + std::string(algorithm.name) +
         (protocol == Protocol::stamped ? "_stamped" : "_flagged");
}
INSTANTIATE_TEST_SUITE_P(Algorithms, InterpreterTest,
                         testing::Combine(testing::ValuesIn(algorithms().begin(), algorithms().end()), kBoth), label_of);
std::string label_of_loans(const testing::TestParamInfo<std::tuple<Algorithm, Loans>>& info) {
  const auto& [algorithm, loans] = info.param;
  return std::string(name(algorithm.collective)) + "_" + std::string(algorithm.name) + (loans == Loans::all ? "_all" : "_some");
}
INSTANTIATE_TEST_SUITE_P(Algorithms, LoansTest,
                         testing::Combine(testing::ValuesIn(algorithms().begin(), algorithms().end()),
                                          testing::Values(Loans::some, Loans::all)),
                         label_of_loans);
INSTANTIATE_TEST_SUITE_P(Algorithms, ReductionTest, testing::Combine(testing::ValuesIn(reductions()), kBoth), label_of);

// Blocks of one rank's own length each, some of them empty, so that none begins where the one before is aligned.
class BlocksTest : public testing::TestWithParam<std::tuple<const char*, Protocol>> {};

TEST_P(BlocksTest, AreOfAnyLengthAndPlace) {
  const auto& [wanted, protocol] = GetParam();
  const Algorithm& algorithm = algorithm_named(Collective::all_gather, wanted);
  const std::vector<size_t> lengths = {3, 0, 130, 1, 1000};
  const int size = static_cast<int>(lengths.size());
  const size_t total = std::accumulate(lengths.begin(), lengths.end(), size_t{0});
  const Cut cut(algorithm, size, 0);
  DeviceWorld world(size, 2, cut.slot_bytes, protocol);
  std::vector<std::vector<uint32_t>> inputs, outputs;
  std::vector<uint32_t> expected;
  for (int rank = 0; rank < size; ++rank) {
    inputs.emplace_back(lengths[static_cast<size_t>(rank)] + 1);
    for (size_t i = 0; i < lengths[static_cast<size_t>(rank)]; ++i) {
      inputs.back()[i] = static_cast<uint32_t>(1000 * rank) + static_cast<uint32_t>(i);
      expected.push_back(inputs.back()[i]);
    }
    outputs.emplace_back(total + 1, 7);
  }
  expected.push_back(7);  // behind the end
  std::vector<Program> programs;
  std::vector<DeviceCall> calls;
  for (int rank = 0; rank < size; ++rank) {
    const auto me = static_cast<size_t>(rank);
    std::vector<Binding::Block> blocks;
    auto* output = reinterpret_cast<std::byte*>(outputs[me].data());
    for (size_t r = 0; r < lengths.size(); output += 4 * lengths[r++])
      blocks.push_back({r == me ? reinterpret_cast<const std::byte*>(inputs[me].data()) : nullptr, output, 4 * lengths[r]});
    programs.push_back(compile(algorithm.plan(rank, Team(size), 0), algorithm.collective, rank, size, 0));
    calls.push_back(world.call(rank, programs.back(), Binding::fixed(std::move(blocks), cut.stripe_bytes), 1));
  }
  world.run(kSumOfIntegers, calls, 2, false);
  for (const auto& output : outputs) EXPECT_EQ(output, expected);
}

INSTANTIATE_TEST_SUITE_P(AllGather, BlocksTest,
                         testing::Combine(testing::Values("ring", "recursive", "direct", "hierarchical"), kBoth));

// An all-reduce in place; the vectors of the ranks.
template <class T>
void reduce_in_place(Kernel kernel, std::string_view name, Protocol protocol, std::vector<std::vector<T>>& values) {
  const int size = static_cast<int>(values.size());
  const Algorithm& algorithm = algorithm_named(Collective::all_reduce, name);
  const Cut cut(algorithm, size, 0);
  DeviceWorld world(size, 2, cut.slot_bytes, protocol);
  std::vector<DeviceCall> calls;
  for (int rank = 0; rank < size; ++rank) {
    const Program program = compile(algorithm.plan(rank, Team(size), 0), algorithm.collective, rank, size, 0);
    auto& mine = values[static_cast<size_t>(rank)];
    auto* memory = reinterpret_cast<std::byte*>(mine.data());
    calls.push_back(
        world.call(rank, program, Binding::chunked(memory, memory, mine.size() * sizeof(T), program.blocks, cut.stripe_bytes), 1));
  }
  world.run(kernel, calls, 2, false);
}

class ElementTest : public testing::TestWithParam<std::tuple<const char*, Protocol>> {};
INSTANTIATE_TEST_SUITE_P(AllReduce, ElementTest, testing::Combine(testing::Values("direct", "exchange", "ring"), kBoth));

TEST_P(ElementTest, AveragesAreRoundedOnceByWhoeverCompletes) {
  const auto& [name, protocol] = GetParam();
  if (name == std::string_view("ring")) GTEST_SKIP() << "it makes partial sums";
  // 1, 1 and 1 + 2^-7 in bfloat16: the sum, 3 + 2^-7, has no place there, a third of it rounds to 1.
  std::vector<std::vector<uint16_t>> values(3, std::vector<uint16_t>(101, 0x3F80));
  values[2].assign(101, 0x3F81);
  reduce_in_place(kAverageOfHalves, name, protocol, values);
  for (const auto& value : values) EXPECT_EQ(value, std::vector<uint16_t>(101, 0x3F80));
}

TEST_P(ElementTest, AreOfAnyWidth) {
  const auto& [name, protocol] = GetParam();
  for (const size_t count : {1u, 7u, 1003u}) {
    SCOPED_TRACE(count);
    std::vector<std::vector<uint8_t>> narrow(3, std::vector<uint8_t>(count));
    std::vector<std::vector<double>> wide(3, std::vector<double>(count));
    for (size_t rank = 0; rank < 3; ++rank)
      for (size_t i = 0; i < count; ++i) {
        narrow[rank][i] = static_cast<uint8_t>(100 * rank + i);
        wide[rank][i] = 0.5 * static_cast<double>(100 * rank + i);
      }
    reduce_in_place(kSumOfBytes, name, protocol, narrow);
    reduce_in_place(kSumOfDoubles, name, protocol, wide);
    for (size_t rank = 0; rank < 3; ++rank)
      for (size_t i = 0; i < count; ++i) {
        ASSERT_EQ(narrow[rank][i], static_cast<uint8_t>(300 + 3 * i)) << "rank " << rank << ", element " << i;
        ASSERT_EQ(wide[rank][i], 0.5 * static_cast<double>(300 + 3 * i)) << "rank " << rank << ", element " << i;
      }
  }
}

// A pair of ranks, of which the second may call something else or nothing.
struct Pair {
  explicit Pair(uint32_t hash_of_second, Protocol protocol) : world(2, 1, 1024, protocol) {
    const Algorithm& algorithm = algorithm_named(Collective::all_reduce, "direct");
    for (int rank = 0; rank < 2; ++rank) {
      const Program program = compile(algorithm.plan(rank, Team(2), 0), algorithm.collective, rank, 2, 0);
      auto* memory = reinterpret_cast<std::byte*>(values[rank]);
      calls.push_back(world.call(rank, program, Binding::chunked(memory, memory, sizeof values[rank], program.blocks, 64),
                                 rank == 0 ? 1 : hash_of_second));
    }
  }
  // Until it has reported something; then all give up.
  void run_until_report(int rank, const std::vector<DeviceCall>& running) {
    std::thread launch([&] { world.run(kSumOfIntegers, running, 2, false); });
    while (world.report(rank) == 0) std::this_thread::yield();
    std::atomic_ref(world.given_up).store(1);
    launch.join();
  }
  DeviceWorld world;
  uint32_t values[2][64] = {{1, 2}, {3, 4}};  // two blocks, one of which each rank reduces
  std::vector<DeviceCall> calls;
};

class FailureTest : public testing::TestWithParam<Protocol> {};
INSTANTIATE_TEST_SUITE_P(Protocols, FailureTest, kBoth);

TEST_P(FailureTest, AnAbsentPeerIsNamedAndNothingMoreIsWritten) {
  Pair pair(1, GetParam());
  pair.run_until_report(0, {pair.calls[0]});
  const auto report = DeviceReport::of(pair.world.report(0));
  EXPECT_EQ(report.kind, DeviceReport::Kind::waits);
  EXPECT_EQ(report.peer, 1u);
  EXPECT_EQ(pair.values[0][0], 1u);
  EXPECT_EQ(pair.values[0][1], 2u);
}

TEST_P(FailureTest, AnotherCallIsNotBelieved) {
  Pair pair(2, GetParam());
  pair.run_until_report(0, pair.calls);
  const auto report = DeviceReport::of(pair.world.report(0));
  EXPECT_EQ(report.kind, DeviceReport::Kind::mismatch);
  EXPECT_EQ(report.peer, 1u);
  EXPECT_EQ(pair.values[0][0], 1u);
  EXPECT_EQ(pair.values[1][0], 3u);
}

// Words that are left in a slot may be as old as a message that overwrote all of it, and no older.
TEST(StampTest, SomeMessagesOverwriteTheirSlots) {
  for (const uint64_t before : {cuda::kSweepEvery - 1, cuda::kSweepEvery, cuda::kSweepEvery + 1, (uint64_t{1} << 32) - 1}) {
    SCOPED_TRACE(before);
    Pair pair(1, Protocol::stamped);
    pair.world.begin_counting_at(before);
    pair.world.run(kSumOfIntegers, pair.calls, 3, false);
    EXPECT_EQ(pair.values[0][0], 4u);
    EXPECT_EQ(pair.values[1][1], 6u);
    // Of 64 bytes each; the third lies where the first was.
    const uint64_t first = before + 1, third = first + 2;
    const uint32_t hash = cuda::mixed(1, before + 1);  // of the call that comes next
    const auto bears = [&](uint32_t stamp, uint64_t number) { return stamp == cuda::stamp_of(number, hash); };
    for (int rank = 0; rank < 2; ++rank) {
      size_t of_both = 0, of_third = 0;
      const std::span<Vector> slot = pair.world.slot(rank, 1 - rank, 0, first);
      for (const Vector& words : slot)
        for (const uint32_t stamp : {words.word[1], words.word[3]}) {
          of_both += bears(stamp, first) || bears(stamp, third);
          of_third += bears(stamp, third);
        }
      EXPECT_EQ(of_both, cuda::sweeps_slot(first) ? 2 * slot.size() : 16);
      EXPECT_EQ(of_third, 16U);
    }
  }
}

// Of the same kind of call: the message before, and the oldest that may be left.
TEST(StampTest, OlderWordsAreNotBelieved) {
  for (const uint64_t age : {uint64_t{cuda::kChannelSlots}, cuda::kSweepEvery}) {
    Pair pair(1, Protocol::stamped);
    constexpr uint64_t kBefore = 5 * cuda::kSweepEvery;
    pair.world.begin_counting_at(kBefore);
    for (Vector& words : pair.world.slot(0, 1, 0, kBefore + 1))
      words.word[1] = words.word[3] = cuda::stamp_of(kBefore + 1 - age, cuda::mixed(1, kBefore + 1));
    pair.run_until_report(0, {pair.calls[0]});
    EXPECT_EQ(DeviceReport::of(pair.world.report(0)).kind, DeviceReport::Kind::waits);
    EXPECT_EQ(pair.values[0][0], 1u);
  }
}

// A broadcast from rank 0 to rank 1, which reads it where it lies.
struct LentBroadcast {
  LentBroadcast() {
    const Algorithm& algorithm = algorithm_named(Collective::broadcast, "direct");
    world.lend(0, values[0], 3);
    for (int rank = 0; rank < 2; ++rank) {
      const Program program = compile(algorithm.plan(rank, Team(2), 0), algorithm.collective, rank, 2, 0);
      auto* memory = reinterpret_cast<std::byte*>(values[rank].data());
      calls.push_back(world.call(rank, program, Binding::chunked(memory, memory, 4 * kCount, program.blocks, 256), 1));
    }
  }
  // Rank 1 does not read what this makes of rank 0's loan.
  template <class Change>
  static void expect_stray(Change change) {
    LentBroadcast broadcast;
    change(broadcast);
    std::atomic<bool> ended = false;
    std::thread launch([&] {
      broadcast.world.run(kSumOfIntegers, broadcast.calls, 2, false);
      ended = true;
    });
    while (broadcast.world.report(1) == 0 && !ended) std::this_thread::yield();
    const auto report = DeviceReport::of(broadcast.world.report(1));
    std::atomic_ref(broadcast.world.given_up).store(1);
    launch.join();
    EXPECT_EQ(report.kind, DeviceReport::Kind::stray);
    EXPECT_EQ(report.peer, 0u);
    EXPECT_EQ(broadcast.values[1], std::vector<int32_t>(kCount));
  }
  static constexpr size_t kCount = 64;
  DeviceWorld world{2, 1, 1024};
  std::vector<int32_t> values[2] = {std::vector<int32_t>(kCount, 5), std::vector<int32_t>(kCount)};
  std::vector<DeviceCall> calls;
};

TEST(LoanTest, IsReadWhereItLies) {
  LentBroadcast broadcast;
  broadcast.world.run(kSumOfIntegers, broadcast.calls, 2, false);
  EXPECT_EQ(broadcast.values[1], std::vector<int32_t>(LentBroadcast::kCount, 5));
  for (const Vector& untouched : broadcast.world.slot(1, 0, 0, 1)) ASSERT_EQ(untouched.word[0], 0u);
}

// The call does not end before it has been read, since its caller may then write there.
TEST(LoanTest, IsWaitedFor) {
  LentBroadcast broadcast;
  std::atomic<bool> ended = false;
  std::thread launch([&] {
    broadcast.world.run(kSumOfIntegers, {broadcast.calls[0]}, 2, false);
    ended = true;
  });
  while (broadcast.world.report(0) == 0 && !ended) std::this_thread::yield();
  EXPECT_FALSE(ended);
  const auto report = DeviceReport::of(broadcast.world.report(0));
  EXPECT_EQ(report.kind, DeviceReport::Kind::waits);
  EXPECT_EQ(report.peer, 1u);
  std::atomic_ref(broadcast.world.given_up).store(1);
  launch.join();
}

TEST(LoanTest, IsNotReadBeyondItsRegion) {
  LentBroadcast::expect_stray([](LentBroadcast& broadcast) { broadcast.world.cut(1, 0, 3, 4 * LentBroadcast::kCount - 4); });
}
TEST(LoanTest, IsNotReadInAnUnknownRegion) {
  LentBroadcast::expect_stray([](LentBroadcast& broadcast) { broadcast.world.cut(1, 0, 3, 0); });
  LentBroadcast::expect_stray(
      [](LentBroadcast& broadcast) { broadcast.calls[0].header.lent[0].number = cuda::kRegionsOfRank + 3; });
}
TEST(LoanTest, IsNotReadBehindItsRegion) {
  LentBroadcast::expect_stray([](LentBroadcast& broadcast) {
    LentRegion& lent = broadcast.calls[0].header.lent[0];
    lent.base -= 1 << 20;
    lent.bytes += 1 << 20;
  });
}
TEST(LoanTest, IsNotReadAtAnOddAddress) {
  LentBroadcast::expect_stray([](LentBroadcast& broadcast) {
    broadcast.world.cut(1, 0, 3, 4 * LentBroadcast::kCount + 4);
    LentRegion& lent = broadcast.calls[0].header.lent[0];
    lent.base -= 1;
    lent.bytes += 1;
  });
}

// The programs of many ranks do not fit behind the header of a call.
TEST(ProgramTest, MayLieApart) {
  constexpr int kSize = 60;
  const Algorithm& algorithm = algorithm_named(Collective::all_reduce, "direct");
  const Cut cut(algorithm, kSize, 0);
  DeviceWorld world(kSize, 1, cut.slot_bytes);
  test::Exercise exercise({&algorithm, Team(kSize), 0, 2000, false, 1, cut.stripe_bytes}, 3);
  std::vector<DeviceCall> calls;
  for (int rank = 0; rank < kSize; ++rank) calls.push_back(world.call(rank, exercise.program(rank), exercise.binding(rank), 1));
  EXPECT_NE(calls[0].header.program, nullptr);
  world.run(kSumOfIntegers, calls, 1, false);
  exercise.expect_right();
}

TEST(FlattenTest, RefusesWhatKernelsCannotCount) {
  Program program = compile(algorithm_named(Collective::all_reduce, "ring").plan(0, Team(2), 0), Collective::all_reduce, 0, 2, 0);
  ASSERT_TRUE(flatten(program).ok());
  program.scratch_blocks = 65536;
  const auto flat = flatten(program);
  ASSERT_FALSE(flat.ok());
  EXPECT_EQ(flat.status().code(), Code::unsupported);
}

// Where the last stripes of long data lie, which nobody touches.
TEST(PartsTest, GoBeyond32Bits) {
  constexpr uint64_t kStripe = 512 << 10, kInput = uint64_t{1} << 40, kOutput = uint64_t{1} << 44;
  const auto at = [](uint64_t address) { return reinterpret_cast<std::byte*>(address); };  // NOLINT: never followed
  cuda::DeviceInstruction instruction{};
  instruction.segments = 1;
  instruction.keeps = 1;
  const auto part = [&](const cuda::DeviceCallHeader& header, const cuda::DeviceBlock* blocks, uint32_t block, uint64_t stripe) {
    const cuda::DeviceSegment segment{block, 1, 0, 1, 1};
    cuda::PartWalk walk(instruction, stripe);
    cuda::DevicePart found{};
    return cuda::Parts(&header, blocks, &segment).next(walk, found) ? found : cuda::DevicePart{};
  };
  cuda::DeviceCallHeader vector{};
  vector.cut = cuda::DeviceCut::vector;
  vector.input = at(kInput), vector.output = at(kOutput);
  vector.stripe_bytes = kStripe;
  vector.blocks = 4;
  vector.bytes = (uint64_t{1} << 33) + 100;
  uint64_t stripe = (uint64_t{1} << 33) / (4 * kStripe), begin = uint64_t{1} << 33;
  cuda::DevicePart found = part(vector, nullptr, 3, stripe);  // of the hundred bytes blocks 1 and 3 have some
  EXPECT_EQ(found.own, at(kInput + begin + 64));
  EXPECT_EQ(found.home, at(kOutput + begin + 64));
  EXPECT_EQ(found.bytes, 36U);
  EXPECT_EQ(part(vector, nullptr, 2, stripe).own, nullptr);
  found = part(vector, nullptr, 3, stripe - 1);
  EXPECT_EQ(found.own, at(kInput + begin - kStripe));
  EXPECT_EQ(found.bytes, kStripe);

  cuda::DeviceCallHeader apart = vector;
  apart.cut = cuda::DeviceCut::blocks;
  stripe = (uint64_t{1} << 32) / kStripe + 1, begin = stripe * kStripe;
  const cuda::DeviceBlock block{at(kInput), at(kOutput), begin + 7, 0};
  found = part(apart, &block, 0, stripe);
  EXPECT_EQ(found.own, at(kInput + begin));
  EXPECT_EQ(found.home, at(kOutput + begin));
  EXPECT_EQ(found.bytes, 7U);
  EXPECT_EQ(part(apart, &block, 0, stripe + 1).own, nullptr);
}

}  // namespace
}  // namespace tutti
