// Which blocks a rank has as input and as output, per collective.
#pragma once

#include "plan.h"

namespace tutti {

// Blocks are numbered:  all_reduce, broadcast, reduce, scans, barrier: any number of equal parts of the one vector;
// reduce_scatter, all_gather, gather, scatter: block r belongs to rank r;  all_to_all: block src·size + dst.
bool has_input(Collective collective, int rank, int size, int root, uint32_t block);
bool has_output(Collective collective, int rank, int size, int root, uint32_t block);

// Does the block's final value hold the contribution of `rank`?  (all ranks for reductions, the owner otherwise; for
// scans, in which each rank has a value of its own: that at the last rank)
bool contributes(Collective collective, int rank, int size, int root, uint32_t block);

bool is_reduction(Collective collective);
bool is_scan(Collective collective);
// Of a reduction: the value that `rank` gets holds the inputs of so many ranks, the first ones.
uint32_t inputs_of_result(Collective collective, int rank, int size);
bool has_root(Collective collective);

}  // namespace tutti
