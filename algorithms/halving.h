// Scatter and gather by halving, shared by the plans that consist of them.
#pragma once

#include "plan.h"

namespace tutti {

// Block r, at the root before, is at rank r afterwards; on the way ranks hold the blocks of those that they feed.
void scatter_phase(Plan& plan, int rank, int size, int root);

// How many blocks from its own onwards a rank then has: all that it has held.
int scattered_blocks(int rank, int size, int root);

// The same messages backwards.
void gather_phase(Plan& plan, int rank, int size, int root);

}  // namespace tutti
