// recursive: halving on the way to the blocks' owners, doubling on the way back, in ⌈log₂ p⌉ rounds each and with exactly p-1 blocks
// each way, for any number of ranks.
//
// Source: J. L. Träff, "Optimal, Non-pipelined Reduce-scatter and Allreduce Algorithms", arXiv:2410.14234 (2024).  Where the classic
// exchange between rank and rank xor 2^k needs a power of two, this one walks a circulant graph: partners stand s ranks apart,
// s = ⌈p/2⌉, ⌈p/4⌉ … 1.
//
// A rank counts blocks from its own: its i-th block is block rank + i.
#include <bit>

#include "halving.h"
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

// The same rounds backwards: of `half` finished blocks, give `moved` to the partner and receive as many above one's own.
void all_gather_phase(Plan& plan, int rank, int size) {
  for (int round = std::bit_width(blocks(size - 1)); round > 0; --round) {
    const auto held_after = [size](int rounds) { return (size + (1 << rounds) - 1) >> rounds; };
    const int half = held_after(round), moved = held_after(round - 1) - half;
    plan.send(around(rank - half, size), block(rank, size), blocks(moved));
    plan.recv(around(rank + half, size), block(rank + half, size), blocks(moved));
  }
}

}  // namespace

Plan reduce_scatter(int rank, int size, int /*root*/) {
  Plan plan(blocks(size), widest_run(size));
  reduce_scatter_phase(plan, rank, size);
  return plan;
}

Plan all_gather(int rank, int size, int /*root*/) {
  Plan plan(blocks(size), widest_run(size));
  all_gather_phase(plan, rank, size);
  return plan;
}

Plan all_reduce(int rank, int size, int /*root*/) {
  Plan plan(blocks(size), widest_run(size));
  reduce_scatter_phase(plan, rank, size);
  all_gather_phase(plan, rank, size);
  return plan;
}

// A scatter and an all-gather: 2n bytes at the root instead of n·⌈log₂ p⌉.
Plan broadcast(int rank, int size, int root) {
  Plan plan(blocks(size), widest_run(size));
  scatter_phase(plan, rank, size, root);
  all_gather_phase(plan, rank, size);
  return plan;
}

// A reduce-scatter and a gather.
Plan reduce(int rank, int size, int root) {
  Plan plan(blocks(size), widest_run(size));
  reduce_scatter_phase(plan, rank, size);
  gather_phase(plan, rank, size, root);
  return plan;
}

}  // namespace tutti::recursive
