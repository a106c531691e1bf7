// Scans: rank r gets the reduction of the inputs of ranks 0 … r, in this order; an exclusive scan leaves out r's own.
// So ranks stand in the order of their numbers, whatever the team's order is.
//
//   ring      a chain: each rank adds its input to what comes from the rank before, and passes the result on.  Stripes
//             follow each other.  (Sanders, Träff: the pipelined linear scan.)
//   doubling  in the round of distance d = 1, 2, 4 … each rank sends what it has to the rank d places further and puts
//             what comes from d places before to the left of it: twice as many inputs.
//   direct    each rank sends its input to all ranks after it, and folds what comes in rank order, rounded once.
//
// An exclusive scan is the inclusive one of the ranks from 1 on, each of which has taken over the input of the rank
// before it.  (A rank keeps one value of a block.  To keep its result and pass on another, the chain would need two.)
//
// Sources: W. D. Hillis, G. L. Steele, "Data Parallel Algorithms", Communications of the ACM 29 (1986); P. Sanders,
// J. L. Träff, "Parallel Prefix (Scan) Algorithms for MPI", EuroPVM/MPI (2006).
#include <algorithm>
#include <vector>

#include "formulas.h"
#include "plans.h"

namespace tutti {
namespace {

// The ranks from `first` on, each with a value of its own.
struct Row {
  int rank, first, size;

  bool has(int other) const { return other >= first && other < size; }
};

// The row that an exclusive scan is an inclusive one of: this rank's value is now that of the rank before it.
Row shifted(Plan& plan, int rank, int size) {
  if (rank + 1 < size) plan.send(rank + 1, 0);
  if (rank > 0) plan.recv(rank - 1, 0);
  return {rank, 1, size};
}

void chain(Plan& plan, const Row& row) {
  if (!row.has(row.rank)) return;
  if (row.has(row.rank - 1)) plan.recv_reduce(row.rank - 1, 0, 1, true);
  if (row.has(row.rank + 1)) plan.send(row.rank + 1, 0);
}

void double_up(Plan& plan, const Row& row) {
  const int place = row.rank - row.first;
  for (int d = 1; place >= 0 && d < row.size; d *= 2) {
    if (row.has(row.rank + d)) plan.send(row.rank + d, 0, 1, true);
    if (row.has(row.rank - d)) plan.recv_reduce(row.rank - d, 0, 1, place < 2 * d);
  }
}

std::vector<int> ranks_before(int end) {
  std::vector<int> ranks;
  for (int rank = 0; rank < end; ++rank) ranks.push_back(rank);
  return ranks;
}

void send_to_all_after(Plan& plan, int rank, int size) {
  for (int other = rank + 1; other < size; ++other) plan.send(other, 0);
}

// ---- costs ----

using formulas::P;
constexpr std::string_view kChain = "Sanders, Träff 2006";
constexpr std::string_view kDoubling = "Hillis, Steele 1986";
constexpr std::string_view kPairs = "Thakur, Rabenseifner, Gropp 2005";

constexpr P chained_reductions(P p, P = 1) { return std::min<P>(p - 2, 1); }
constexpr P chained_messages(P p, P = 1) { return 1 + chained_reductions(p); }
constexpr P doubled_reductions(P p, P = 1) { return formulas::log_up(p - 1); }
constexpr P doubled_messages(P p, P = 1) { return 1 + doubled_reductions(p); }
constexpr P all_but_two(P p, P = 1) { return p - 2; }

bool beyond_three_ranks(const Team& team) { return team.size > 3; }

}  // namespace

namespace ring {
namespace {

Plan scan_plan(int rank, const Team& team, int /*root*/) {
  Plan plan(1);
  chain(plan, {rank, 0, team.size});
  return plan;
}

Plan exscan_plan(int rank, const Team& team, int /*root*/) {
  Plan plan(1);
  chain(plan, shifted(plan, rank, team.size));
  return plan;
}

}  // namespace

using namespace formulas;
const Method scan{.plan = scan_plan,
                  .cost = {kOthers, kOne, kAll, kAll},
                  .source = kChain,
                  .makes_partial_sums = beyond_two_ranks,
                  .may_carry_codec = false};
const Method exscan{.plan = exscan_plan,
                    .cost = {kOthers,
                             {"min(p−1, 2)", chained_messages},
                             {"min(p−1, 2)·n", chained_messages},
                             {"min(p−2, 1)·n", chained_reductions}},
                    .source = kChain,
                    .makes_partial_sums = beyond_three_ranks,
                    .may_carry_codec = false};

}  // namespace ring

namespace doubling {
namespace {

Plan scan_plan(int rank, const Team& team, int /*root*/) {
  Plan plan(1);
  double_up(plan, {rank, 0, team.size});
  return plan;
}

Plan exscan_plan(int rank, const Team& team, int /*root*/) {
  Plan plan(1);
  double_up(plan, shifted(plan, rank, team.size));
  return plan;
}

}  // namespace

using namespace formulas;
const Method scan{.plan = scan_plan,
                  .cost = {{"⌊log₂ p⌋", log_down}, kLog, kLogTimes, kLogTimes},
                  .source = kDoubling,
                  .makes_partial_sums = beyond_two_ranks,
                  .may_carry_codec = false};
const Method exscan{.plan = exscan_plan,
                    .cost = {{"1 + ⌊log₂(p−1)⌋", [](P p, P) -> P { return 1 + log_down(p - 1); }},
                             {"1 + ⌈log₂(p−1)⌉", doubled_messages},
                             {"(1 + ⌈log₂(p−1)⌉)·n", doubled_messages},
                             {"⌈log₂(p−1)⌉·n", doubled_reductions}},
                    .source = kDoubling,
                    .makes_partial_sums = beyond_three_ranks,
                    .may_carry_codec = false};

}  // namespace doubling

namespace direct {
namespace {

Plan scan_plan(int rank, const Team& team, int /*root*/) {
  Plan plan(1);
  send_to_all_after(plan, rank, team.size);
  if (rank > 0) plan.fold(ranks_before(rank), 0);
  return plan;
}

Plan exscan_plan(int rank, const Team& team, int /*root*/) {
  Plan plan(1);
  send_to_all_after(plan, rank, team.size);
  if (rank > 0) plan.recv(rank - 1, 0);
  if (rank > 1) plan.fold(ranks_before(rank - 1), 0);
  return plan;
}

}  // namespace

using namespace formulas;
const Method scan{.plan = scan_plan, .cost = {kOne, kOthers, kCopies, kCopies}, .source = kPairs, .may_carry_codec = false};
const Method exscan{
    .plan = exscan_plan, .cost = {kOne, kOthers, kCopies, {"(p−2)·n", all_but_two}}, .source = kPairs, .may_carry_codec = false};

}  // namespace direct
}  // namespace tutti
