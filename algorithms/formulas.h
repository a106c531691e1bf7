// Formulas that several algorithms share, of p ranks.  Those of one algorithm stand in its file.
#pragma once

#include <bit>

#include "algorithm.h"

namespace tutti::formulas {

using P = uint64_t;
constexpr P log_down(P p, P = 1) { return static_cast<P>(std::bit_width(p)) - 1; }
constexpr P log_up(P p, P = 1) { return static_cast<P>(std::bit_width(p - 1)); }

// Rounds and messages.
inline constexpr Formula kNone{"0", [](P, P) -> P { return 0; }};
inline constexpr Formula kOne{"1", [](P, P) -> P { return 1; }};
inline constexpr Formula kTwo{"2", [](P, P) -> P { return 2; }};
inline constexpr Formula kOthers{"p−1", [](P p, P) -> P { return p - 1; }};
inline constexpr Formula kTwiceOthers{"2(p−1)", [](P p, P) -> P { return 2 * (p - 1); }};
inline constexpr Formula kLog{"⌈log₂ p⌉", log_up};

// Data, in blocks of the plan: of one block, and of p blocks (all_to_all: p of each rank's).
inline constexpr Formula kAll{"n", kOne.value};
inline constexpr Formula kCopies{"(p−1)·n", kOthers.value};
inline constexpr Formula kLogTimes{"⌈log₂ p⌉·n", log_up};
inline constexpr Formula kShares{"(p−1)/p·n", kOthers.value};
inline constexpr Formula kTwiceShares{"2(p−1)/p·n", kTwiceOthers.value};

// Partial sums: of two contributions there is no part.
inline bool beyond_two_ranks(const Team& team) { return team.size > 2; }

}  // namespace tutti::formulas
