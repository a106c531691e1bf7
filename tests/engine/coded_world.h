// Ranks that average one tensor's gradients with a codec, step after step, each with an engine of an EngineWorld.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "exercise.h"
#include "sample_teams.h"
#include "algorithms.h"

namespace tutti::test {

// The law holds up to the rounding of float32: each rank adds and subtracts a few times numbers of the size of the sum.
inline constexpr double kTolerance = 4e-6;  // per rank and magnitude

inline constexpr const char* kSpecs[] = {"fp16",
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
  bool late = false;  // computed by executors that take their time
};

inline std::vector<const Algorithm*> carriers() {
  std::vector<const Algorithm*> rows;
  for (const Algorithm& row : algorithms())
    if (row.collective == Collective::all_reduce && row.may_carry_codec) rows.push_back(&row);
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
    const size_t message = CodedPayload::packet_bytes(*tensors_[0]) * setup.chunks_per_stripe * programs_[0]->widest_run;
    memory::ArenaShape shape = shape_of(setup.team.size, (message + 4095) / 4096 * 4096, setup.lanes);
    shape.slots = std::max(shape.slots, setup.lanes * 4 * static_cast<uint32_t>(setup.team.size + 2));
    world_ = std::make_unique<EngineWorld>(setup.team, setup.wiring, shape, 3 + static_cast<uint32_t>(setup.count));
    if (setup.late) world_->compute_late(static_cast<uint32_t>(setup.count));
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
    world_->start([&](int rank, LinkTable& link_table) -> std::shared_ptr<Operation> {
      const auto r = static_cast<size_t>(rank);
      void* output = setup_.in_place ? inputs_[r].data() : outputs_[r].data();
      EXPECT_TRUE(tensors_[r]->begin().ok());
      Signature signature;
      signature.sequence = sequence_;
      signature.detail = tensors_[r]->identity();
      CodedPayload::Job job{inputs_[r].data(), output, static_cast<uint32_t>(rank), static_cast<uint32_t>(ranks_)};
      if (setup_.op == ReduceOp::avg) job.divisor = job.ranks;
      if (rank % 2 == 1) job.output_store = kernels::Store::streaming;
      const Program& program = *programs_[r];
      auto binding = CodedPayload::bind(*tensors_[r], inputs_[r].data(), output, program.blocks, setup_.chunks_per_stripe);
      operations[r] =
          std::make_shared<PlanOperation>(programs_[r], setup_.algorithm->name, std::move(binding), Arithmetic(), signature,
                                          setup_.lanes, PlanOperation::slots_per_stripe(program, link_table, true), link_table);
      operations[r]->set_coded(std::make_unique<CodedPayload>(tensors_[r], job, setup_.lanes, program.blocks));
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
  using Bytes = std::vector<std::byte, LargePages<std::byte>>;  // at a cache line, as streaming takes

  std::vector<float> widened(const Bytes& bytes) const {
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
  std::vector<Bytes> inputs_, outputs_;
  std::vector<std::shared_ptr<const Program>> programs_;
  std::unique_ptr<EngineWorld> world_;
};

inline std::string name_of(const ::testing::TestParamInfo<const char*>& row) {
  std::string name = row.param;
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
}

inline std::string told(const Setup& s) {
  return std::string(s.algorithm->name) + " of " + std::to_string(s.team.size) + " ranks on " + std::to_string(s.team.hosts()) +
         " hosts, " + s.spec + ", count " + std::to_string(s.count) + ", lanes " + std::to_string(s.lanes) + " of " +
         std::to_string(s.chunks_per_stripe) + " chunks";
}

}  // namespace tutti::test
