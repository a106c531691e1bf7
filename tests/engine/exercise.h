// One collective on all ranks of an EngineWorld: buffers, bindings, operations, and what must come out.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <deque>
#include <memory>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "engine_world.h"

namespace tutti::test {

inline constexpr size_t kElement = sizeof(int32_t);

struct Case {
  const Algorithm* algorithm;
  Team team;
  int root;
  size_t count;  // elements of the vector, or of each rank's block
  bool in_place;
  uint32_t lanes;
  size_t stripe_bytes;
  DataType type = DataType::int32;  // of four bytes; what must come out is known of int32
};

inline int32_t value(int rank, size_t i, int salt) {
  return static_cast<int32_t>((i * 7 + static_cast<size_t>(rank) * 1000 + static_cast<size_t>(salt)) % 10007);
}
// The bits of a float whose sums are rounded, so that their order shows.
inline int32_t float_value(int rank, size_t i, int salt) {
  return std::bit_cast<int32_t>(0.37f * static_cast<float>(value(rank, i, salt)));
}

// One collective on all ranks: buffers, about half of them, if a world is given, in memory that its ranks can lend,
// bindings, expectations.
class Exercise {
 public:
  Exercise(const Case& c, int salt, EngineWorld* world = nullptr)
      : case_(c), salt_(salt), random_(static_cast<uint32_t>(c.count) + c.lanes) {
    for (int rank = 0; rank < c.team.size; ++rank) {
      inputs_.push_back(room(world, rank, whole_input() ? total() : c.count));
      for (size_t i = 0; i < inputs_.back().size(); ++i)
        inputs_.back()[i] = c.type == DataType::int32 ? value(rank, i, salt) : float_value(rank, i, salt);
      outputs_.push_back(room(world, rank, whole_output() ? total() : c.count));
      std::fill(outputs_.back().begin(), outputs_.back().end(), -1);
      if (c.in_place) std::copy(inputs_.back().begin(), inputs_.back().end(), outputs_.back().begin());  // equally long
      results_.emplace_back();
      programs_.push_back(std::make_shared<const Program>(
          compile(c.algorithm->plan(rank, c.team, c.root), c.algorithm->collective, rank, c.team.size, c.root)));
    }
  }

  uint32_t lanes() const { return case_.lanes; }

  // The slots that a stripe of it takes on `rank`.
  uint32_t slots(int rank, LinkTable& link_table) const {
    return PlanOperation::slots_per_stripe(*programs_[static_cast<size_t>(rank)], link_table);
  }

  std::shared_ptr<Operation> operation(int rank, LinkTable& link_table) {
    const auto arithmetic = Arithmetic::of(case_.type, ReduceOp::sum, static_cast<uint32_t>(case_.team.size));
    Signature signature;
    signature.collective = static_cast<uint8_t>(case_.algorithm->collective);
    signature.sequence = static_cast<uint32_t>(salt_);
    const auto& program = programs_[static_cast<size_t>(rank)];
    return std::make_shared<PlanOperation>(program, case_.algorithm->name, bind(rank, *program), arithmetic, signature, case_.lanes,
                                           slots(rank, link_table), link_table);
  }

  const std::vector<std::span<int32_t>>& inputs() const { return inputs_; }  // of a case in place outputs() are
  const std::vector<std::span<int32_t>>& outputs() const { return outputs_; }
  const Program& program(int rank) const { return *programs_[static_cast<size_t>(rank)]; }
  Binding binding(int rank) { return bind(rank, program(rank)); }

  // What a caller may do once its call has ended: the result is put aside, and all buffers are overwritten.  Ranks may
  // do so at once.
  void use_up(int rank) {
    const auto me = static_cast<size_t>(rank);
    results_[me].assign(outputs_[me].begin(), outputs_[me].end());
    for (const auto& buffer : {inputs_[me], outputs_[me]}) std::ranges::fill(buffer, -77);
  }

  void expect_right() const {
    for (int rank = 0; rank < case_.team.size; ++rank) {
      const auto me = static_cast<size_t>(rank);
      const std::span<const int32_t> output = results_[me].empty() ? outputs_[me] : std::span<const int32_t>(results_[me]);
      for (size_t i = 0; i < output.size(); ++i) {
        const auto [known, expected] = expectation(rank, i);
        if (!known) continue;
        ASSERT_EQ(output[i], expected) << "rank " << rank << ", element " << i;
      }
    }
  }

 private:
  Collective collective() const { return case_.algorithm->collective; }
  bool per_rank() const { return each_rank_has_a_part(collective()); }
  size_t total() const { return per_rank() ? case_.count * static_cast<size_t>(case_.team.size) : case_.count; }
  bool whole_input() const {
    return !per_rank() || collective() == Collective::reduce_scatter || collective() == Collective::scatter ||
           collective() == Collective::all_to_all;
  }
  bool whole_output() const {
    return !per_rank() || collective() == Collective::all_gather || collective() == Collective::gather ||
           collective() == Collective::all_to_all;
  }

  std::span<int32_t> room(EngineWorld* world, int rank, size_t count) {
    if (world && count > 0 && random_() % 2 == 0)
      return {reinterpret_cast<int32_t*>(world->heap(rank).allocate(count * kElement)), count};
    return plain_.emplace_back(count);
  }

  Binding bind(int rank, const Program& program) {
    auto& in = inputs_[static_cast<size_t>(rank)];
    auto& out = outputs_[static_cast<size_t>(rank)];
    auto* input = reinterpret_cast<std::byte*>(case_.in_place ? out.data() : in.data());
    auto* output = reinterpret_cast<std::byte*>(out.data());
    const size_t bytes = case_.count * kElement, p = static_cast<size_t>(case_.team.size), me = static_cast<size_t>(rank);
    if (!per_rank()) return Binding::chunked(input, output, bytes, program.blocks, case_.stripe_bytes);
    if (collective() == Collective::all_to_all) {
      std::vector<Binding::Block> row(p), column(p);
      for (size_t r = 0; r < p; ++r) {
        row[r] = {input + r * bytes, nullptr, bytes};
        column[r] = {nullptr, output + r * bytes, bytes};
      }
      row[me].output = column[me].output;
      return Binding::exchange(row, column, static_cast<uint32_t>(rank), case_.stripe_bytes);
    }
    std::vector<Binding::Block> blocks(p);
    for (size_t r = 0; r < p; ++r)
      blocks[r] = {whole_input() ? input + r * bytes
                   : r == me     ? input
                                 : nullptr,
                   whole_output() ? output + r * bytes
                   : r == me      ? output
                                  : nullptr,
                   bytes};
    return Binding::fixed(std::move(blocks), case_.stripe_bytes);
  }

  std::pair<bool, int32_t> expectation(int rank, size_t i) const {
    const auto sum_of = [&](int ranks, size_t at) {
      int32_t total = 0;
      for (int r = 0; r < ranks; ++r) total += value(r, at, salt_);
      return total;
    };
    const auto sum = [&](size_t at) { return sum_of(case_.team.size, at); };
    const size_t block = per_rank() ? i / std::max<size_t>(case_.count, 1) : 0,
                 within = per_rank() ? i % std::max<size_t>(case_.count, 1) : i;
    const size_t mine = static_cast<size_t>(rank) * case_.count;
    switch (collective()) {
      case Collective::all_reduce:
      case Collective::barrier: return {true, sum(i)};
      case Collective::reduce: return {rank == case_.root, sum(i)};
      case Collective::scan: return {true, sum_of(rank + 1, i)};
      case Collective::exscan: return {rank > 0, sum_of(rank, i)};
      case Collective::broadcast: return {true, value(case_.root, i, salt_)};
      case Collective::reduce_scatter: return {true, sum(mine + i)};
      case Collective::all_gather: return {true, value(static_cast<int>(block), within, salt_)};
      case Collective::gather: return {rank == case_.root, value(static_cast<int>(block), within, salt_)};
      case Collective::scatter: return {true, value(case_.root, mine + i, salt_)};
      case Collective::all_to_all: return {true, value(static_cast<int>(block), mine + within, salt_)};
      default: return {false, 0};
    }
  }

  Case case_;
  int salt_;
  std::minstd_rand random_;
  std::deque<std::vector<int32_t>> plain_;
  std::vector<std::span<int32_t>> inputs_, outputs_;
  std::vector<std::vector<int32_t>> results_;  // of ranks that have used up their buffers
  std::vector<std::shared_ptr<const Program>> programs_;
};

inline memory::ArenaShape shape_of(int size, size_t slot_bytes, uint32_t lanes) {
  memory::ArenaShape shape;
  shape.ranks = static_cast<uint32_t>(size);
  shape.slots = std::max(8u, lanes * 2 * (static_cast<uint32_t>(size) + 2));
  shape.slot_bytes = slot_bytes;
  return shape;
}

}  // namespace tutti::test
