// Reductions of 16-bit floats in float32, by every algorithm, over links of every form, one after the other and at
// once; what a rank hears of a failure writes nothing.
#include "staged_operation.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine_world.h"
#include "exercise.h"
#include "sample_teams.h"
#include "spaces.h"

namespace tutti::test {
namespace {

constexpr uint16_t kSixtyThousand = 0x7B53;  // as float16; the sum of two is infinite
constexpr uint16_t kUntouched = 0x1234;

// One average of float16 on all ranks.
class WideCase {
 public:
  WideCase(const Algorithm& algorithm, const Team& team, int root, size_t count, uint32_t lanes)
      : algorithm_(algorithm), team_(team), root_(root), count_(count), lanes_(lanes) {
    const auto p = static_cast<size_t>(team.size);
    scatters_ = algorithm.collective == Collective::reduce_scatter;
    inputs_.assign(p, std::vector<uint16_t>(scatters_ ? p * count : count, kSixtyThousand));
    outputs_.assign(p, std::vector<uint16_t>(count, kUntouched));
    for (int rank = 0; rank < team.size; ++rank)
      programs_.push_back(
          std::make_shared<const Program>(compile(algorithm.plan(rank, team, root), algorithm.collective, rank, team.size, root)));
  }

  std::shared_ptr<Operation> operation(int rank, LinkTable& link_table) {
    const auto me = static_cast<size_t>(rank), p = static_cast<size_t>(team_.size);
    const size_t first = scatters_ ? me * count_ : 0;
    std::vector<StagedData::Output> outputs;
    if (has_output(me)) outputs.push_back({outputs_[me].data(), first, count_});
    auto data = std::make_unique<StagedData>(link_table.staging_memory, StagedData::Form{DataType::float16, true},
                                             std::vector<StagedData::Input>{{inputs_[me].data(), 0, inputs_[me].size()}},
                                             std::move(outputs));
    std::byte* const input = data->at(0);
    std::byte* const output = has_output(me) ? data->at(first) : nullptr;
    const size_t bytes = count_ * sizeof(float), stripe = 256;
    const Program& program = *programs_[me];
    std::vector<Binding::Block> blocks(p);
    for (size_t r = 0; r < p; ++r) blocks[r] = {input + r * bytes, r == me ? output : nullptr, bytes};
    Binding binding = scatters_ ? Binding::fixed(blocks, stripe) : Binding::chunked(input, output, bytes, program.blocks, stripe);
    const auto arithmetic = Arithmetic::of(DataType::float32, ReduceOp::avg, static_cast<uint32_t>(team_.size));
    Signature signature;
    signature.collective = static_cast<uint8_t>(algorithm_.collective);
    signature.data_type = static_cast<uint8_t>(DataType::float16);
    signature.op = static_cast<uint8_t>(ReduceOp::avg);
    auto inner = std::make_shared<PlanOperation>(programs_[me], algorithm_.name, std::move(binding), arithmetic, signature, lanes_,
                                                 PlanOperation::slots_per_stripe(program, link_table), link_table);
    return std::make_shared<StagedOperation>(std::move(data), std::move(inner), *link_table.executor);
  }

  void expect_each(uint16_t wanted) const {
    for (size_t rank = 0; rank < outputs_.size(); ++rank)
      for (size_t i = 0; i < count_; ++i)
        ASSERT_EQ(outputs_[rank][i], has_output(rank) ? wanted : kUntouched) << "rank " << rank << ", element " << i;
  }
  const std::vector<uint16_t>& output(size_t rank) const { return outputs_[rank]; }

 private:
  bool has_output(size_t rank) const { return algorithm_.collective != Collective::reduce || static_cast<int>(rank) == root_; }

  const Algorithm& algorithm_;
  Team team_;
  int root_;
  size_t count_;
  uint32_t lanes_;
  bool scatters_ = false;
  std::vector<std::vector<uint16_t>> inputs_, outputs_;
  std::vector<std::shared_ptr<const Program>> programs_;
};

class EveryReduction : public testing::TestWithParam<size_t> {};

void expect_averages(const Algorithm& algorithm, const Team& team, Wiring wiring) {
  for (const size_t count : {size_t{0}, size_t{1}, size_t{777}, size_t{5003}}) {
    SCOPED_TRACE(std::string(algorithm.name) + ", " + std::to_string(team.size) + " ranks, " + std::to_string(count) + " elements");
    EngineWorld world(team, wiring, shape_of(team.size, 4096, 3), static_cast<uint32_t>(count));
    if (count == 777) world.compute_late(7);
    WideCase first(algorithm, team, 0, count, 3), second(algorithm, team, team.size - 1, count, 1);
    world.start([&](int rank, LinkTable& link_table) { return first.operation(rank, link_table); });
    world.start([&](int rank, LinkTable& link_table) { return second.operation(rank, link_table); });
    const Status status = world.finish();
    ASSERT_TRUE(status.ok()) << status.message();
    first.expect_each(kSixtyThousand);
    second.expect_each(kSixtyThousand);
    for (int rank = 0; rank < team.size; ++rank) ASSERT_EQ(world.reserved(rank), 0u);
  }
}

TEST_P(EveryReduction, AveragesWhatNoSumCanHold) {
  const Algorithm& algorithm = algorithms()[GetParam()];
  if (!has_op(algorithm.collective) || is_scan(algorithm.collective)) return;
  for (const int size : {1, 2, 3, 5})
    for (const Wiring wiring : {Wiring::slots, Wiring::streams, Wiring::puts, Wiring::all}) {
      expect_averages(algorithm, size, wiring);
      if (HasFatalFailure()) return;
    }
  expect_averages(algorithm, team_of({2, 1, 3}, true), Wiring::hosts);
}

INSTANTIATE_TEST_SUITE_P(Engine, EveryReduction, testing::Range(size_t{0}, algorithms().size()), [](const auto& row) {
  const Algorithm& algorithm = algorithms()[row.param];
  return std::string(name(algorithm.collective)) + "_" + std::string(algorithm.name);
});

TEST(StagedOperation, WritesNothingAfterAFailure) {
  const Algorithm& ring = algorithms()[*find_algorithm(Collective::all_reduce, "ring")];
  EngineWorld world(3, Wiring::streams, shape_of(3, 4096, 2), 7);
  WideCase wide(ring, 3, 0, 5000, 2);
  world.cut(1, 2);
  world.start([&](int rank, LinkTable& link_table) { return wide.operation(rank, link_table); });
  const Status status = world.finish();
  EXPECT_EQ(status.code(), Code::peer_lost);
  EXPECT_NE(status.message().find("this rank was in all_reduce"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("float16, avg"), std::string::npos) << status.message();
  for (const uint16_t element : wide.output(2)) ASSERT_EQ(element, kUntouched);
}

TEST(StagedOperation, IsWhatItsCallerCalled) {
  const Algorithm& ring = algorithms()[*find_algorithm(Collective::all_reduce, "ring")];
  EngineWorld world(3, Wiring::slots, shape_of(3, 4096, 2), 5);
  WideCase wide(ring, 3, 0, 100, 1);
  Exercise other({&ring, 3, 0, 100, false, 1, 256}, 1, &world);
  for (const int rank : {0, 1}) world.start_at(rank, [&](int r, LinkTable& link_table) { return wide.operation(r, link_table); });
  world.start_at(2, [&](int r, LinkTable& link_table) { return other.operation(r, link_table); });
  const Status status = world.finish();
  EXPECT_EQ(status.code(), Code::mismatch);
  EXPECT_NE(status.message().find("float16, avg"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace tutti::test
