// recursive: halving on the way to the blocks' owners, doubling on the way back, in ⌈log₂ p⌉ rounds and with exactly
// p-1 blocks each way, for any number of ranks.
//
// Source: J. L. Träff, "Optimal, Non-pipelined Reduce-scatter and Allreduce Algorithms", arXiv:2410.14234 (2024).
// Where the classic exchange between rank and rank xor 2^k needs a power of two, this one walks a circulant graph:
// partners stand s ranks apart, s = ⌈p/2⌉, ⌈p/4⌉ … 1.
//
// A rank counts blocks from its own: its i-th block is block rank + i.
#include <algorithm>
#include <bit>

#include "halving.h"
#include "formulas.h"
#include "plans.h"

namespace tutti::recursive {
namespace {

uint32_t widest_run(int size) { return size < 2 ? 1 : static_cast<uint32_t>(size) / 2; }

// Of `held` partial sums give the upper half away and receive as many into the lower ones, until one is left: its own.
void reduce_scatter_phase(Plan& plan, int rank, int size) {
  for (int held = size; held > 1;) {
    const int half = (held + 1) / 2, moved = held - half;
    plan.send(around(rank + half, size), block(rank + half, size), blocks(moved));
    plan.recv_reduce(around(rank - half, size), block(rank, size), blocks(moved), half == 1);
    held = half;
  }
}

// The same rounds backwards: a rank that has `half` finished blocks gets those up to `held` from the partner above,
// and gives the partner below as many.  have(r): how many blocks rank r begins with, at least its own; they are not
// sent again.
template <class Have>
void all_gather_phase(Plan& plan, int rank, int size, Have have) {
  for (int round = static_cast<int>(std::bit_width(blocks(size - 1))); round > 0; --round) {
    const auto held_after = [size](int rounds) { return (size + (1 << rounds) - 1) >> rounds; };
    const int half = held_after(round), held = held_after(round - 1);
    const int below = around(rank - half, size), above = around(rank + half, size);
    if (const int i = std::max(half, have(below)); i < held) plan.send(below, block(below + i, size), blocks(held - i));
    if (const int i = std::max(half, have(rank)); i < held) plan.recv(above, block(rank + i, size), blocks(held - i));
  }
}

int own_block(int /*rank*/) { return 1; }

Plan reduce_scatter_plan(int rank, const Team& team, int /*root*/) {
  const int size = team.size;
  Plan plan(blocks(size), widest_run(size));
  reduce_scatter_phase(plan, rank, size);
  return plan;
}

Plan all_gather_plan(int rank, const Team& team, int /*root*/) {
  const int size = team.size;
  Plan plan(blocks(size), widest_run(size));
  all_gather_phase(plan, rank, size, own_block);
  return plan;
}

Plan all_reduce_plan(int rank, const Team& team, int /*root*/) {
  const int size = team.size;
  Plan plan(blocks(size), widest_run(size));
  reduce_scatter_phase(plan, rank, size);
  all_gather_phase(plan, rank, size, own_block);
  return plan;
}

// A scatter and an all-gather: 2n bytes at the root instead of n·⌈log₂ p⌉.
Plan broadcast_plan(int rank, const Team& team, int root) {
  const int size = team.size;
  Plan plan(blocks(size), widest_run(size));
  scatter_phase(plan, rank, size, root);
  all_gather_phase(plan, rank, size, [=](int r) { return scattered_blocks(r, size, root); });
  return plan;
}

// A reduce-scatter and a gather.
Plan reduce_plan(int rank, const Team& team, int root) {
  const int size = team.size;
  Plan plan(blocks(size), widest_run(size));
  reduce_scatter_phase(plan, rank, size);
  gather_phase(plan, rank, size, root);
  return plan;
}

// ---- costs ----

using namespace formulas;
constexpr std::string_view kCirculant = "Träff 2024";
constexpr std::string_view kHalves = "Chan, Heimlich, Purkayastha, van de Geijn 2007";
constexpr Formula kTwiceLog{"2⌈log₂ p⌉", [](P p, P) -> P { return 2 * log_up(p); }};
constexpr Formula kScatterGather{"⌈log₂ p⌉ + ⌊log₂ ⅔p⌋", [](P p, P) -> P { return log_up(p) + log_down(2 * p / 3); }};
constexpr Formula kBothLogs{"⌊log₂ p⌋ + ⌈log₂ p⌉", [](P p, P) -> P { return log_down(p) + log_up(p); }};

}  // namespace

const Method all_reduce{.plan = all_reduce_plan, .cost = {kTwiceLog, kTwiceLog, kTwiceShares, kShares},
                        .source = kCirculant, .makes_partial_sums = beyond_two_ranks};
const Method reduce_scatter{.plan = reduce_scatter_plan, .cost = {kLog, kLog, kShares, kShares},
                            .source = kCirculant, .makes_partial_sums = beyond_two_ranks};
const Method all_gather{.plan = all_gather_plan, .cost = {kLog, kLog, kShares, kNone}, .source = kCirculant};
const Method broadcast{.plan = broadcast_plan, .cost = {kScatterGather, kTwiceLog, kTwiceShares, kNone},
                       .source = kHalves};
const Method reduce{.plan = reduce_plan, .cost = {kBothLogs, kTwiceLog, kTwiceShares, kShares},
                    .source = kHalves, .makes_partial_sums = beyond_two_ranks};

}  // namespace tutti::recursive
