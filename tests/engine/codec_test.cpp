// Codecs under every plan that may carry one, over slots, streams and both: the conservation law in numbers, equal bits on all ranks, and
// results that depend on no lane or stripe.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "exercise.h"
#include "sample_teams.h"
#include "textbook.h"

namespace tutti::test {
namespace {

// The law holds up to the rounding of float32: each rank adds and subtracts a few times numbers of the size of the sum.
constexpr double kTolerance = 4e-6;  // per rank and magnitude

const char* const kSpecs[] = {"fp16",
                              "bf16:feedback=1",
                              "fp8_e4m3",
                              "fp8_e5m2:group=64",
                              "int8",
                              "int4:group=128",
                              "int2",
                              "int4:range=minmax",
                              "int8:round=stochastic,feedback=1,seed=7",
                              "qsgd:levels=5,feedback=1",
                              "terngrad:feedback=1",
                              "sign",
                              "topk:ratio=0.01",
                              "topk:ratio=0.3,values=fp16",
                              "topk:k=3,chunk=256,values=int8",
                              "randomk:ratio=0.1,feedback=1"};

struct Setup {
  const Algorithm* algorithm;
  Team team;
  Wiring wiring;
  std::string spec;
  size_t count;
  uint32_t lanes = 2;
  size_t chunks_per_stripe = 2;
  ReduceOp op = ReduceOp::sum;
  DataType type = DataType::float32;
  bool in_place = false;
};

std::vector<const Algorithm*> carriers() {
  std::vector<const Algorithm*> rows;
  for (const Algorithm& row : algorithms())
    if (row.collective == Collective::all_reduce && textbook(row.collective, row.name)->may_carry_codec) rows.push_back(&row);
  return rows;
}

// Some ranks' gradients of one tensor, step after step.
class CodedWorld {
 public:
  explicit CodedWorld(const Setup& setup) : setup_(setup), ranks_(static_cast<size_t>(setup.team.size)) {
    const auto spec = parse_codec(setup.spec);
    EXPECT_TRUE(spec.ok()) << spec.status().message();
    for (int rank = 0; rank < setup.team.size; ++rank) {
      auto tensor = TensorCodec::create(*spec, setup.count, setup.type);
      EXPECT_TRUE(tensor.ok()) << tensor.status().message();
      tensors_.push_back(std::move(*tensor));
      inputs_.emplace_back(setup.count * element_size(setup.type));
      outputs_.emplace_back(inputs_.back().size(), std::byte{0xAA});
      const Plan plan = setup.algorithm->plan(rank, setup.team, 0);
      programs_.push_back(std::make_shared<const Program>(compile(plan, Collective::all_reduce, rank, setup.team.size, 0)));
    }
    const size_t message = Coder::packet_bytes(*tensors_[0]) * setup.chunks_per_stripe * programs_[0]->widest_run;
    memory::ArenaShape shape = shape_of(setup.team.size, (message + 4095) / 4096 * 4096, setup.lanes);
    shape.slots = std::max(shape.slots, setup.lanes * 4 * static_cast<uint32_t>(setup.team.size + 2));
    world_ = std::make_unique<EngineWorld>(setup.team, setup.wiring, shape, 3 + static_cast<uint32_t>(setup.count));
  }

  void set_input(int rank, const std::vector<float>& values) {
    kernels::narrow(setup_.type, values.data(), inputs_[static_cast<size_t>(rank)].data(), values.size());
  }
  std::vector<float> input(size_t rank) const { return widened(inputs_[rank]); }
  std::vector<float> output(size_t rank) const { return widened(setup_.in_place ? inputs_[rank] : outputs_[rank]); }
  TensorCodec& tensor(size_t rank) { return *tensors_[rank]; }

  Status step() {
    ++sequence_;
    std::vector<std::shared_ptr<PlanOperation>> operations(ranks_);
    world_->start([&](int rank, Wires& wires) -> std::shared_ptr<Operation> {
      const auto r = static_cast<size_t>(rank);
      void* output = setup_.in_place ? inputs_[r].data() : outputs_[r].data();
      EXPECT_TRUE(tensors_[r]->begin().ok());
      Signature signature;
      signature.sequence = sequence_;
      signature.detail = tensors_[r]->identity();
      Coder::Job job{inputs_[r].data(), output, static_cast<uint32_t>(rank), static_cast<uint32_t>(ranks_)};
      if (setup_.op == ReduceOp::avg) job.divisor = job.ranks;
      const Program& program = *programs_[r];
      auto binding = Coder::bind(*tensors_[r], inputs_[r].data(), output, program.blocks, setup_.chunks_per_stripe);
      operations[r] =
          std::make_shared<PlanOperation>(programs_[r], setup_.algorithm->name, std::move(binding), Arithmetic(), signature,
                                          setup_.lanes, PlanOperation::slots_per_stripe(program, wires, true), wires);
      operations[r]->set_coder(std::make_unique<Coder>(tensors_[r], job, setup_.lanes, program.blocks));
      return operations[r];
    });
    const Status status = world_->finish();
    for (int rank = 0; status.ok() && rank < setup_.team.size; ++rank) EXPECT_EQ(world_->reserved(rank), 0u);
    return status;
  }

  // Random inputs; the law; equal bits.
  void check_step(std::minstd_rand& random) {
    std::vector<std::vector<float>> before(ranks_);
    for (size_t rank = 0; rank < ranks_; ++rank) {
      std::vector<float> values(setup_.count);
      for (float& v : values)
        v = static_cast<float>(static_cast<int32_t>(random() % 20001) - 10000) / 1024.0f * (random() % 50 ? 0.1f : 3.0f);
      set_input(static_cast<int>(rank), values);
      before[rank] = residual(rank);
    }
    std::vector<double> wanted(setup_.count), magnitude(setup_.count, 1e-3);
    for (size_t rank = 0; rank < ranks_; ++rank) {
      const std::vector<float> mine = input(rank);
      for (size_t i = 0; i < setup_.count; ++i) {
        wanted[i] += static_cast<double>(mine[i]) + before[rank][i];
        magnitude[i] += std::abs(mine[i]) + std::abs(before[rank][i]);
      }
    }
    const Status status = step();
    ASSERT_TRUE(status.ok()) << status.message();
    const double divisor = setup_.op == ReduceOp::avg ? static_cast<double>(ranks_) : 1;
    const double rounding = setup_.type == DataType::float32 ? 0 : setup_.type == DataType::float16 ? 0x1p-11 : 0x1p-8;
    const std::vector<float> first = output(0);
    for (size_t rank = 0; rank < ranks_; ++rank) {
      const std::vector<float> out = output(rank), left = residual(rank);
      ASSERT_TRUE(out.empty() || std::memcmp(out.data(), first.data(), out.size() * sizeof(float)) == 0) << "rank " << rank;
      for (size_t i = 0; i < setup_.count; ++i) wanted[i] -= left[i];
    }
    for (size_t i = 0; i < setup_.count; ++i)
      ASSERT_NEAR(first[i], wanted[i] / divisor,
                  (kTolerance * static_cast<double>(ranks_) * magnitude[i] + rounding * std::abs(wanted[i])) / divisor)
          << "element " << i;
  }

 private:
  std::vector<float> widened(const std::vector<std::byte>& bytes) const {
    std::vector<float> values(setup_.count);
    kernels::widen(setup_.type, bytes.data(), values.data(), values.size());
    return values;
  }
  std::vector<float> residual(size_t rank) {
    std::vector<float> copy(setup_.count);
    if (tensors_[rank]->residual()) std::copy_n(tensors_[rank]->residual(), setup_.count, copy.begin());
    return copy;
  }

  Setup setup_;
  size_t ranks_;
  uint32_t sequence_ = 0;
  std::vector<std::shared_ptr<TensorCodec>> tensors_;
  std::vector<std::vector<std::byte>> inputs_, outputs_;
  std::vector<std::shared_ptr<const Program>> programs_;
  std::unique_ptr<EngineWorld> world_;
};

std::string told(const Setup& s) {
  return std::string(s.algorithm->name) + " of " + std::to_string(s.team.size) + " ranks on " + std::to_string(s.team.hosts()) +
         " hosts, " + s.spec + ", count " + std::to_string(s.count) + ", lanes " + std::to_string(s.lanes) + " of " +
         std::to_string(s.chunks_per_stripe) + " chunks";
}

void obey_law(const Setup& setup, int steps) {
  SCOPED_TRACE(told(setup));
  CodedWorld world(setup);
  std::minstd_rand random(static_cast<uint32_t>(setup.count + setup.spec.size()));
  for (int step = 0; step < steps; ++step) {
    world.check_step(random);
    if (::testing::Test::HasFatalFailure()) return;
  }
  EXPECT_EQ(world.tensor(0).step(), static_cast<uint32_t>(steps));
}

class EveryCodec : public ::testing::TestWithParam<const char*> {};

TEST_P(EveryCodec, LosesNothing) {
  for (const Algorithm* algorithm : carriers())
    for (int size = 2; size <= 9; ++size) {
      const auto wiring = static_cast<Wiring>(size % 3);
      obey_law({algorithm, size, wiring, GetParam(), 9000 + static_cast<size_t>(size)}, 3);
      if (HasFatalFailure()) return;
    }
}

TEST_P(EveryCodec, BetweenHosts) {
  for (const Algorithm* algorithm : carriers())
    for (const auto& mix : {std::vector<int>{2, 2}, {3, 1, 2}, {1, 4}}) {
      obey_law({algorithm, team_of(mix, true), Wiring::hosts, GetParam(), 7777}, 3);
      if (HasFatalFailure()) return;
    }
}

TEST_P(EveryCodec, ManySteps) {
  const Algorithm& direct = algorithms()[*find_algorithm(Collective::all_reduce, "direct")];
  obey_law({&direct, 3, Wiring::mixed, GetParam(), 3000}, 40);
}

TEST_P(EveryCodec, SizesOfAllKinds) {
  for (const Algorithm* algorithm : carriers())
    for (const size_t count : {size_t{0}, size_t{1}, size_t{3}, size_t{31}, size_t{1024}, size_t{1025}, size_t{4096 * 3 + 1}}) {
      obey_law({algorithm, 4, Wiring::slots, GetParam(), count, 3, 1}, 2);
      if (HasFatalFailure()) return;
    }
}

TEST_P(EveryCodec, AveragesHalvesAndInPlace) {
  const Algorithm& ring = algorithms()[*find_algorithm(Collective::all_reduce, "ring")];
  const Algorithm& recursive = algorithms()[*find_algorithm(Collective::all_reduce, "recursive")];
  obey_law({&ring, 3, Wiring::slots, GetParam(), 5000, 2, 1, ReduceOp::avg}, 3);
  if (HasFatalFailure()) return;
  obey_law({&recursive, 5, Wiring::mixed, GetParam(), 9000, 2, 1, ReduceOp::avg, DataType::bfloat16}, 3);
  if (HasFatalFailure()) return;
  obey_law({&ring, 2, Wiring::streams, GetParam(), 5000, 2, 1, ReduceOp::sum, DataType::float16}, 3);
}

// Chunks, not stripes or lanes, decide what is encoded together and by whom.
TEST_P(EveryCodec, LanesAndStripesChangeNoBit) {
  for (const Algorithm* algorithm : carriers()) {
    std::vector<float> first;
    for (const auto& [lanes, chunks] : {std::pair<uint32_t, size_t>{1, 1}, {2, 3}, {4, 2}, {3, 50}}) {
      CodedWorld world({algorithm, 4, Wiring::slots, GetParam(), 50'001, lanes, chunks, ReduceOp::sum, DataType::float32, true});
      std::vector<float> got;
      for (int step = 0; step < 2; ++step) {
        std::minstd_rand random(5);
        for (int rank = 0; rank < 4; ++rank) {
          std::vector<float> values(50'001);
          for (float& v : values) v = static_cast<float>(random() % 1000) / 100.0f - 5;
          world.set_input(rank, values);
        }
        const Status status = world.step();
        ASSERT_TRUE(status.ok()) << status.message();
        got = world.output(1);
      }
      if (first.empty()) first = got;
      ASSERT_EQ(0, std::memcmp(first.data(), got.data(), got.size() * sizeof(float)))
          << algorithm->name << ", " << lanes << " lanes";
    }
  }
}

// Whoever has it: all see it, in that chunk only, and the next step is as if it had not been.
TEST_P(EveryCodec, NotANumberReachesEveryoneAndNothingElse) {
  for (const Algorithm* algorithm : carriers()) {
    SCOPED_TRACE(algorithm->name);
    CodedWorld world({algorithm, 3, Wiring::slots, GetParam(), 200'000});
    const size_t chunk = world.tensor(0).codec().chunk(), bad = chunk * 2 + 5;
    for (int rank = 0; rank < 3; ++rank) {
      std::vector<float> values(200'000, 0.25f);
      if (rank == 1) values[bad] = algorithm->name == "ring" ? INFINITY : NAN;
      world.set_input(rank, values);
    }
    ASSERT_TRUE(world.step().ok());
    for (size_t rank = 0; rank < 3; ++rank) {
      const std::vector<float> out = world.output(rank);
      for (size_t i = 0; i < out.size(); ++i) ASSERT_EQ(std::isnan(out[i]), i / chunk == bad / chunk) << "element " << i;
      for (size_t i = 0; world.tensor(rank).residual() && i < out.size(); ++i)
        ASSERT_TRUE(std::isfinite(world.tensor(rank).residual()[i])) << i;
    }
    for (int rank = 0; rank < 3; ++rank) world.set_input(rank, std::vector<float>(200'000, 0.5f));
    ASSERT_TRUE(world.step().ok());
    for (const float x : world.output(2)) ASSERT_TRUE(std::isfinite(x));
  }
}

std::string name_of(const ::testing::TestParamInfo<const char*>& row) {
  std::string name = row.param;
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(Codec, EveryCodec, ::testing::ValuesIn(kSpecs), name_of);

// Alone nothing need travel, so nothing is left out, and what had been is made up for.
TEST(Codec, OneRankKeepsEverything) {
  const Algorithm& ring = algorithms()[*find_algorithm(Collective::all_reduce, "ring")];
  CodedWorld world({&ring, 1, Wiring::slots, "int2", 3000});
  std::vector<float> values(3000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) * 0.001f;
  world.set_input(0, values);
  world.tensor(0).residual()[7] = 2;
  ASSERT_TRUE(world.step().ok());
  values[7] += 2;
  EXPECT_EQ(world.output(0), values);
  EXPECT_EQ(world.tensor(0).residual()[7], 0);
}

// A peer that agrees on the call and sends bytes that no encoder makes: an error that names it.
TEST(Codec, WhatCannotBeDecodedIsNamed) {
  for (const char* name : {"ring", "direct", "recursive", "tree"}) {
    const Algorithm& algorithm = algorithms()[*find_algorithm(Collective::all_reduce, name)];
    EngineWorld world(2, Wiring::slots, shape_of(2, 8192, 1), 1);
    auto tensor = *TensorCodec::create(*parse_codec("int8"), 2048, DataType::float32);
    ASSERT_TRUE(tensor->begin().ok());
    std::vector<float> values(2048, 1.0f);
    const size_t packet = Coder::packet_bytes(*tensor);
    std::vector<uint8_t> garbage(2 * packet, 0xFF);
    auto* bytes = reinterpret_cast<std::byte*>(garbage.data());
    Signature signature;
    signature.detail = tensor->identity();
    world.start([&](int rank, Wires& wires) -> std::shared_ptr<Operation> {
      const auto program = std::make_shared<const Program>(compile(algorithm.plan(rank, 2, 0), Collective::all_reduce, rank, 2, 0));
      const auto operation = [&](Binding binding) {
        const Arithmetic sum{kernels::reduce_kernel(DataType::uint8, ReduceOp::max),
                             kernels::fold_kernel(DataType::uint8, ReduceOp::max)};
        return std::make_shared<PlanOperation>(program, name, std::move(binding), sum, signature, 1,
                                               PlanOperation::slots_per_stripe(*program, wires, true), wires);
      };
      if (rank == 1) return operation(Binding::fixed({{bytes, bytes, packet}, {bytes + packet, bytes + packet, packet}}, 8192));
      auto coded = operation(Coder::bind(*tensor, values.data(), values.data(), 2, 1));
      coded->set_coder(std::make_unique<Coder>(tensor, Coder::Job{values.data(), values.data(), 0, 2}, 1, 2));
      return coded;
    });
    const Status status = world.finish();
    EXPECT_EQ(status.code(), Code::mismatch) << name;
    EXPECT_NE(status.message().find("rank 1 sent this rank what cannot be read"), std::string::npos) << status.message();
    EXPECT_FALSE(tensor->begin().ok());
  }
}

TEST(Codec, DifferentCodecsAreAMismatch) {
  const Algorithm& ring = algorithms()[*find_algorithm(Collective::all_reduce, "ring")];
  CodedWorld world({&ring, 2, Wiring::slots, "int8", 3000});
  world.tensor(1).end(true);  // one step ahead
  const Status status = world.step();
  EXPECT_EQ(status.code(), Code::mismatch);
  EXPECT_NE(status.message().find("codec #"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace tutti::test
