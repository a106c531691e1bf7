// doubling: in round k each rank exchanges its whole sum with rank xor 2^k, so every rank has everything after log₂ p
// rounds.
//
// Source: R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of Collective Communication Operations in MPICH",
// International Journal of High Performance Computing Applications 19 (2005), section 4.5, also for the treatment of
// other numbers of ranks: of the first 2(p - 2^⌊log₂ p⌋) ranks the even ones give their data to their odd neighbour,
// and get the result back at the end.
#include <bit>

#include "formulas.h"
#include "plans.h"

namespace tutti::doubling {
namespace {

Plan all_reduce_plan(int rank, const Team& team, int /*root*/) {
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

// ---- costs ----

using namespace formulas;
constexpr std::string_view kSource = "Thakur, Rabenseifner, Gropp 2005";
// Ranks beyond the power of two come in one round earlier and get the result one round later, but one chain of
// messages does both only if the rank at its end, the complement of that at its beginning, has such a partner too.
constexpr Formula kFolded{"⌈log₂ p⌉ (+1 if p > 1.5·2^⌊log₂ p⌋)",
                          [](P p, P) -> P { return log_up(p) + (2 * p > 3 * std::bit_floor(p)); }};
constexpr Formula kLogEmpty{"0", log_up};

}  // namespace

const Method all_reduce{.plan = all_reduce_plan, .cost = {kFolded, kLog, kLogTimes, kLogTimes},
                        .source = kSource, .makes_partial_sums = beyond_two_ranks, .may_carry_codec = false};
const Method barrier{.plan = all_reduce_plan, .cost = {kFolded, kLog, kLogEmpty, kLogEmpty},
                     .source = kSource, .makes_partial_sums = beyond_two_ranks, .may_carry_codec = false};

}  // namespace tutti::doubling
