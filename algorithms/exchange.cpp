// exchange: everybody sends everybody all it has, and each rank reduces for itself, in rank order.  One round, whatever
// the number of ranks; on accelerators it is known as the one-shot all-reduce.
//
// Source: the concatenation in one round with p−1 ports, in J. Bruck, C.-T. Ho, S. Kipnis, E. Upfal, D. Weathersby,
// "Efficient Algorithms for All-to-All Communications in Multiport Message-Passing Systems", IEEE Transactions on
// Parallel and Distributed Systems 8 (1997), here with a reduction of what arrives.
#include <vector>

#include "formulas.h"
#include "plans.h"

namespace tutti::exchange {
namespace {

Plan all_reduce_plan(int rank, const Team& team, int /*root*/) {
  const int size = team.size;
  Plan plan(1);
  std::vector<int> others;  // ascending
  for (int other = 0; other < size; ++other)
    if (other != rank) others.push_back(other);
  for (int d = 1; d < size; ++d) plan.send(around(rank + d, size), 0);
  if (size > 1) plan.fold(others, 0);
  return plan;
}

using namespace formulas;

}  // namespace

// Each rank would reduce its own contribution as it is, and the others' as a codec leaves them: results would differ.
const Method all_reduce{.plan = all_reduce_plan,
                        .cost = {kOne, kOthers, kCopies, kCopies},
                        .source = "Bruck, Ho, Kipnis, Upfal, Weathersby 1997",
                        .may_carry_codec = false};

}  // namespace tutti::exchange
