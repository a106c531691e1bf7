// The checker rejects every plan with one mistake in it.
#include <gtest/gtest.h>

#include <map>

#include "all_plans.h"
#include "checker.h"
#include "plan_text.h"
#include "sample_teams.h"

namespace tutti {
namespace {

// A step that can be changed at will.
struct LooseStep {
  Verb verb;
  std::vector<int> peers;
  uint32_t block, count;
  bool completes, apart;
};
using LooseSteps = std::vector<LooseStep>;

LooseSteps loose(const Plan& plan) {
  LooseSteps steps;
  for (const Step& step : plan.steps()) {
    const auto peers = plan.peers_of(step);
    steps.push_back({step.verb, {peers.begin(), peers.end()}, step.block, step.count, step.completes, step.apart});
  }
  return steps;
}

Plan fixed(const LooseSteps& steps, const Plan& like) {
  Plan plan(like.blocks(), like.widest_run());
  for (const LooseStep& step : steps) {
    if (step.verb == Verb::send) plan.send(step.peers[0], step.block, step.count, step.apart);
    if (step.verb == Verb::recv) plan.recv(step.peers[0], step.block, step.count);
    if (step.verb == Verb::recv_reduce) plan.recv_reduce(step.peers[0], step.block, step.count, step.completes);
    if (step.verb == Verb::fold) plan.fold(step.peers, step.block, step.count, step.completes);
  }
  return plan;
}

bool overlap(const LooseStep& a, const LooseStep& b, uint32_t blocks) {
  return (b.block + blocks - a.block) % blocks < a.count || (a.block + blocks - b.block) % blocks < b.count;
}

// Neighbouring steps of one rank whose order means something: they touch a block that one of them writes, or they are
// different messages in the same direction of one link.  Two partial reductions may trade places: the sum is another
// one, but everybody's.
bool order_matters(const LooseStep& a, const LooseStep& b, uint32_t blocks) {
  const bool both_send = a.verb == Verb::send && b.verb == Verb::send;
  const bool both_receive = a.verb != Verb::send && b.verb != Verb::send;
  if (a.verb == Verb::recv_reduce && b.verb == Verb::recv_reduce && a.completes == b.completes && a.peers != b.peers) return false;
  if (!both_send && overlap(a, b, blocks)) return true;
  return (both_send || both_receive) && a.peers == b.peers && (a.block != b.block || a.count != b.count);
}

struct Mutant {
  std::string kind;
  LooseSteps steps;
};

std::vector<Mutant> mutants(const LooseSteps& original, size_t at, int rank, int size, uint32_t blocks) {
  std::vector<Mutant> list;
  const auto change = [&](const std::string& kind, auto edit) {
    LooseSteps steps = original;
    edit(steps);
    list.push_back({kind, std::move(steps)});
  };
  const auto place = static_cast<std::ptrdiff_t>(at);
  const LooseStep& step = original[at];
  change("removed", [&](LooseSteps& s) { s.erase(s.begin() + place); });
  change("doubled", [&](LooseSteps& s) { s.insert(s.begin() + place, step); });
  if (at + 1 < original.size() && order_matters(step, original[at + 1], blocks)) {
    change("swapped", [&](LooseSteps& s) { std::swap(s[at], s[at + 1]); });
  }
  for (size_t i = 0; i < step.peers.size(); ++i) {
    change("peer", [&](LooseSteps& s) { s[at].peers[i] = (step.peers[i] + 1) % size; });
    if (size > 2) {
      const int other = (step.peers[i] + 1) % size == rank ? (step.peers[i] + 2) % size : (step.peers[i] + 1) % size;
      change("other peer", [&](LooseSteps& s) { s[at].peers[i] = other; });
    }
  }
  if (blocks > 1) change("block", [&](LooseSteps& s) { s[at].block = (step.block + 1) % blocks; });
  change("count", [&](LooseSteps& s) { ++s[at].count; });
  if (step.count > 1) change("count", [&](LooseSteps& s) { --s[at].count; });
  if (step.verb == Verb::recv || step.verb == Verb::recv_reduce) {
    const Verb other = step.verb == Verb::recv ? Verb::recv_reduce : Verb::recv;
    change("verb", [&](LooseSteps& s) { s[at].verb = other; });
    change("verb", [&](LooseSteps& s) { s[at].verb = Verb::send; });
  }
  if (step.verb == Verb::send) change("verb", [&](LooseSteps& s) { s[at].verb = Verb::recv; });
  if (step.verb == Verb::recv_reduce || step.verb == Verb::fold) {
    change("completes", [&](LooseSteps& s) { s[at].completes = !step.completes; });
  }
  if (step.peers.size() > 1) {
    change("fold order", [&](LooseSteps& s) { std::swap(s[at].peers[0], s[at].peers[1]); });
    change("fold short", [&](LooseSteps& s) { s[at].peers.pop_back(); });
  }
  return list;
}

class EveryMutant : public testing::TestWithParam<Algorithm> {};

TEST_P(EveryMutant, WithOneMistakeIsRejected) {
  const Algorithm& algorithm = GetParam();
  std::map<std::string, int> rejected;
  for (const Team& team : {Team(2), Team(3), Team(4), Team(5), Team(8), Team(11), team_of({2, 3}), team_of({2, 2, 1}, true)}) {
    const int size = team.size, root = size / 2;
    auto plans = plans_of(algorithm, team, root);
    for (size_t rank = 0; rank < plans.size(); ++rank) {
      const Plan right = plans[rank];
      const LooseSteps steps = loose(right);
      for (size_t at = 0; at < steps.size(); ++at) {
        for (const Mutant& mutant : mutants(steps, at, static_cast<int>(rank), size, right.blocks())) {
          plans[rank] = fixed(mutant.steps, right);
          ASSERT_FALSE(prove(algorithm.collective, root, plans).ok())
              << mutant.kind << ": rank " << rank << " of " << size << ", step " << at << ", "
              << describe(right, right.steps()[at]);
          ++rejected[mutant.kind];
        }
      }
      plans[rank] = right;
    }
    ASSERT_TRUE(prove(algorithm.collective, root, plans).ok());
  }
  for (const char* kind : {"removed", "doubled", "peer", "count", "verb"}) EXPECT_GT(rejected[kind], 0) << kind;
  // One block and one message per link leave no order to break, in chains and stars.
  const bool bare = algorithm.collective == Collective::gather || algorithm.collective == Collective::scatter ||
                    algorithm.collective == Collective::all_to_all || algorithm.name == "direct";
  EXPECT_TRUE(bare || rejected["swapped"] > 0);
}

INSTANTIATE_TEST_SUITE_P(Algorithms, EveryMutant, testing::ValuesIn(algorithms().begin(), algorithms().end()),
                         [](const auto& test) { return label(test.param); });

TEST(Mutants, OfTheShapeAreRejected) {
  const Algorithm& recursive = algorithm_of(Collective::all_reduce, "recursive");
  const auto right = plans_of(recursive, 5, 0);
  const auto verdict = [&](const Plan& mutant) {
    auto plans = right;
    plans[3] = mutant;
    return prove(Collective::all_reduce, 0, plans).status().message();
  };
  Plan more_blocks(6, 2), narrower(5, 1);
  EXPECT_EQ(verdict(fixed(loose(right[3]), more_blocks)), "rank 3 and rank 0 differ in blocks or widest_run");
  EXPECT_EQ(verdict(fixed(loose(right[3]), narrower)), "rank 3 and rank 0 differ in blocks or widest_run");

  auto plans = right;
  for (Plan& plan : plans) plan = fixed(loose(plan), Plan(5, 4));
  EXPECT_EQ(prove(Collective::all_reduce, 0, plans).status().message(), "widest_run is 4, but no step moves more than 2 blocks");
  for (Plan& plan : plans) plan = fixed(loose(plan), narrower);
  EXPECT_EQ(prove(Collective::all_reduce, 0, plans).status().message(),
            "rank 0, step 0 (send blocks 3-4 to rank 3): moves more blocks than widest_run");
}

TEST(Mutants, ThatAreBrokenInMemoryAreRejected) {
  auto plans = plans_of(algorithm_of(Collective::all_reduce, "ring"), 4, 0);
  plans[2].steps()[1].block = 77;
  EXPECT_EQ(prove(Collective::all_reduce, 0, plans).status().message(),
            "rank 2, step 1 (recv_reduce block 77 from rank 1): there is no such block");
  plans = plans_of(algorithm_of(Collective::all_reduce, "ring"), 4, 0);
  plans[2].steps()[0].completes = true;
  EXPECT_EQ(prove(Collective::all_reduce, 0, plans).status().message(),
            "rank 2, step 0 (send block 1 to rank 3, completes): only reductions complete a block");
}

}  // namespace
}  // namespace tutti
