// doubling: in round k each rank exchanges its whole sum with rank xor 2^k, so every rank has everything after log₂ p rounds.
//
// Source: R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of Collective Communication Operations in MPICH", International
// Journal of High Performance Computing Applications 19 (2005), section 4.5, also for the treatment of other numbers of ranks: of
// the first 2(p - 2^⌊log₂ p⌋) ranks the even ones give their data to their odd neighbour, and get the result back at the end.
#include <bit>

#include "plans.h"

namespace tutti::doubling {

Plan all_reduce(int rank, const Team& team, int /*root*/) {
  const int size = team.size;
  Plan plan(1);
  const int power = static_cast<int>(std::bit_floor(blocks(size)));
  const int extra = size - power;
  const bool paired = rank < 2 * extra;

  if (paired && rank % 2 == 0) {
    plan.send(rank + 1, 0);
    plan.recv(rank + 1, 0);
    return plan;
  }
  if (paired) plan.recv_reduce(rank - 1, 0);
  const int position = paired ? rank / 2 : rank - extra;  // among the ranks that go on, a power of two
  for (int bit = 1; bit < power; bit *= 2) {
    const int other = position ^ bit;
    const int peer = other < extra ? 2 * other + 1 : other + extra;
    plan.send(peer, 0);
    plan.recv_reduce(peer, 0, 1, 2 * bit == power);
  }
  if (paired) plan.send(rank - 1, 0);
  return plan;
}

Plan barrier(int rank, const Team& team, int root) { return all_reduce(rank, team, root); }

}  // namespace tutti::doubling
