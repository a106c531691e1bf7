#include "cost_model.h"

#include <algorithm>
#include <array>
#include <bit>

#include "spaces.h"

namespace tutti {
namespace {

constexpr uint64_t log_down(uint64_t p, uint64_t = 1) { return static_cast<uint64_t>(std::bit_width(p)) - 1; }
constexpr uint64_t log_up(uint64_t p, uint64_t = 1) { return static_cast<uint64_t>(std::bit_width(p - 1)); }

using P = uint64_t;
constexpr Formula kNone{"0", [](P, P) -> P { return 0; }};
constexpr Formula kOne{"1", [](P, P) -> P { return 1; }};
constexpr Formula kTwo{"2", [](P, P) -> P { return 2; }};
constexpr Formula kOthers{"p−1", [](P p, P) -> P { return p - 1; }};
constexpr Formula kTwiceOthers{"2(p−1)", [](P p, P) -> P { return 2 * (p - 1); }};
constexpr Formula kLog{"⌈log₂ p⌉", log_up};
constexpr Formula kTwiceLog{"2⌈log₂ p⌉", [](P p, P) -> P { return 2 * log_up(p); }};
constexpr Formula kLogDown{"⌊log₂ p⌋", log_down};
constexpr Formula kScatterGather{"⌈log₂ p⌉ + ⌊log₂ ⅔p⌋", [](P p, P) -> P { return log_up(p) + log_down(2 * p / 3); }};
constexpr Formula kBothLogs{"⌊log₂ p⌋ + ⌈log₂ p⌉", [](P p, P) -> P { return log_down(p) + log_up(p); }};
constexpr Formula kDepth{"1 + ⌊log₂(p−1)⌋", [](P p, P) -> P { return 1 + log_down(p - 1); }};
constexpr Formula kTwiceDepth{"2⌊log₂ p⌋", [](P p, P) -> P { return 2 * log_down(p); }};
// Ranks beyond the power of two come in one round earlier and get the result one round later, but one chain of messages does both
// only if the rank at its end, the complement of that at its beginning, has such a partner too.
constexpr Formula kFolded{"⌈log₂ p⌉ (+1 if p > 1.5·2^⌊log₂ p⌋)",
                          [](P p, P) -> P { return log_up(p) + (2 * p > 3 * std::bit_floor(p)); }};
constexpr Formula kFour{"min(p, 4)", [](P p, P) -> P { return std::min<P>(p, 4); }};
constexpr Formula kThree{"min(p−1, 3)", [](P p, P) -> P { return std::min<P>(p - 1, 3); }};

// hierarchical: within hosts like direct, between them like recursive, tree or direct.  Of the runs that recursive moves between h
// hosts, those of more than one block go in two messages where they pass the end of a slice, most of all at the last host.
constexpr P within(P p, P h) { return p > h ? 1 : 0; }
constexpr P between(P h) { return h > 1 ? 1 : 0; }
constexpr Formula kTwoLevels{"2 + 2⌈log₂ h⌉", [](P p, P h) -> P { return 2 * within(p, h) + 2 * log_up(h); }};
constexpr Formula kLanes{"2(p/h−1) + ≤3⌈log₂ h⌉", [](P p, P h) -> P {
                           if (p == h) return 2 * log_up(h);
                           P messages = 2 * (p / h - 1);
                           for (P held = h; held > 1; held = (held + 1) / 2) messages += held > 3 ? 3 : 2;
                           return messages;
                         }};
constexpr Formula kLeader{"≤2p/h", [](P p, P h) -> P { return 2 * (p / h - 1 + between(h)); }};
constexpr Formula kHosts{"h", [](P p, P h) -> P { return p > h ? h : 1; }};
constexpr Formula kHostsDepth{"2 + ⌊log₂(h−1)⌋", [](P p, P h) -> P { return within(p, h) + (h > 1 ? 1 + log_down(h - 1) : 0); }};

// Data, in blocks of the plan: plans of one block,
constexpr Formula kAll{"n", kOne.value};
constexpr Formula kCopies{"(p−1)·n", kOthers.value};
constexpr Formula kLogTimes{"⌈log₂ p⌉·n", log_up};
// of two blocks,
constexpr Formula kHalves{"n", kTwo.value};
constexpr Formula kFourHalves{"min(p, 4)/2·n", kFour.value};
constexpr Formula kTwoHalves{"min(p−1, 2)/2·n", [](P p, P) -> P { return std::min<P>(p - 1, 2); }};
// of p blocks (all_to_all: p of each rank's),
constexpr Formula kShares{"(p−1)/p·n", kOthers.value};
constexpr Formula kLeaderData{"≤p/h·n", kLeader.value};
constexpr Formula kTwiceShares{"2(p−1)/p·n", kTwiceOthers.value};
// and of one block without bytes.
constexpr Formula kThreeEmpty{"0", kThree.value};
constexpr Formula kTwoEmpty{"0", kTwoHalves.value};
constexpr Formula kLogEmpty{"0", log_up};

using enum Collective;
constexpr std::array kCostModel{
    CostModel{"ring", all_reduce, kTwiceOthers, kTwiceOthers, kTwiceShares, kShares, true},
    CostModel{"tree", all_reduce, kTwiceDepth, kFour, kFourHalves, kTwoHalves, true},
    CostModel{"recursive", all_reduce, kTwiceLog, kTwiceLog, kTwiceShares, kShares, true},
    CostModel{"doubling", all_reduce, kFolded, kLog, kLogTimes, kLogTimes, false},
    CostModel{"direct", all_reduce, kTwo, kTwiceOthers, kTwiceShares, kShares, true},
    CostModel{"hierarchical", all_reduce, kTwoLevels, kLanes, kTwiceShares, kShares, true},
    CostModel{"ring", reduce_scatter, kOthers, kOthers, kShares, kShares, true},
    CostModel{"recursive", reduce_scatter, kLog, kLog, kShares, kShares, true},
    CostModel{"direct", reduce_scatter, kOne, kOthers, kShares, kShares, true},
    CostModel{"hierarchical", reduce_scatter, kHosts, kOthers, kShares, kShares, true},
    CostModel{"ring", all_gather, kOthers, kOthers, kShares, kNone, true},
    CostModel{"recursive", all_gather, kLog, kLog, kShares, kNone, true},
    CostModel{"direct", all_gather, kOne, kOthers, kShares, kNone, true},
    CostModel{"hierarchical", all_gather, kHosts, kOthers, kShares, kNone, true},
    CostModel{"ring", broadcast, kOthers, kOne, kAll, kNone, true},
    CostModel{"tree", broadcast, kDepth, kTwo, kHalves, kNone, true},
    CostModel{"recursive", broadcast, kScatterGather, kTwiceLog, kTwiceShares, kNone, true},
    CostModel{"direct", broadcast, kOne, kOthers, kCopies, kNone, true},
    CostModel{"hierarchical", broadcast, kHostsDepth, kLeader, kLeaderData, kNone, true},
    CostModel{"ring", reduce, kOthers, kOne, kAll, kAll, true},
    CostModel{"tree", reduce, kDepth, kTwo, kHalves, kHalves, true},
    CostModel{"recursive", reduce, kBothLogs, kTwiceLog, kTwiceShares, kShares, true},
    CostModel{"direct", reduce, kOne, kOthers, kCopies, kCopies, true},
    CostModel{"hierarchical", reduce, kHostsDepth, kLeader, kLeaderData, kLeaderData, true},
    CostModel{"tree", gather, kLogDown, kLog, kShares, kNone, true},
    CostModel{"direct", gather, kOne, kOthers, kShares, kNone, true},
    CostModel{"tree", scatter, kLogDown, kLog, kShares, kNone, true},
    CostModel{"direct", scatter, kOne, kOthers, kShares, kNone, true},
    CostModel{"direct", all_to_all, kOne, kOthers, kShares, kNone, true},
    CostModel{"tree", barrier, kTwiceDepth, kThree, kThreeEmpty, kTwoEmpty, true},
    CostModel{"doubling", barrier, kFolded, kLog, kLogEmpty, kLogEmpty, false},
};

}  // namespace

bool makes_partial_sums(Collective collective, std::string_view name, const Team& team) {
  if (!is_reduction(collective) || team.size <= 2) return false;  // of two contributions there is no part
  const int hosts = team.hosts();
  // Where hierarchical does what direct does.
  const bool one_level = hosts == 1 || (hosts == team.size && collective == Collective::reduce_scatter);
  return name != "direct" && !(name == "hierarchical" && one_level);
}

const CostModel* cost_model(Collective collective, std::string_view name) {
  const auto row = std::ranges::find_if(kCostModel, [&](const CostModel& t) { return t.collective == collective && t.name == name; });
  return row == kCostModel.end() ? nullptr : &*row;
}

}  // namespace tutti
