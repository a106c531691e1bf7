// Which algorithm serves a call, and in what pieces.  A pure function of things that all ranks know, so all choose alike.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "algorithm_rules.h"
#include "status.h"
#include "team.h"
#include "tuning_rules.h"
#include "vocabulary.h"

namespace tutti {

struct ChoiceTerms {  // of a communicator
  int size = 1;
  Team team;                // who shares a host
  bool single_host = true;  // all ranks share memory
  bool loopback = false;    // they are on one host, and do not
  bool deterministic = false;
  std::vector<AlgorithmRule> rules;  // TUTTI_ALGORITHM
  std::vector<TuningRule> file;      // TUTTI_TUNING_FILE
  uint32_t lanes = 0;                // TUTTI_LANES, 0: chosen
  size_t slot_bytes = 0;             // what one message can hold
  uint32_t slots = 0;                // of each rank
};

struct Cut {
  uint32_t lanes;
  size_t stripe_bytes;  // of one block; a multiple of 64
};

struct Choice {
  uint8_t algorithm = kFlat;  // index into algorithms(), or kFlat
  std::string_view name = "flat";
  std::string reason;
  double seconds = 0;  // predicted; 0: it was not
  Cut wish{0, 0};      // of a tuning file; 0: none
};

class Forecaster;

std::string in_words(double seconds);  // "12.3 µs"

// The flat exchange can carry such a call out.
bool flat_serves(const ChoiceTerms& terms, Collective collective, uint64_t bytes);

// `bytes`: of the call's whole data.  `wanted`: the caller's option, "" for none.  `forecaster`: null to go by fixed sizes.  `rounds_once`: no
// partial sum may be rounded, which doubles the messages of plans that make some: between ranks that share memory it is then `direct`.
Result<Choice> choose(const ChoiceTerms& terms, Collective collective, uint64_t bytes, std::string_view wanted,
                      Forecaster* forecaster = nullptr, bool rounds_once = false);

// Lanes without TUTTI_LANES: in memory many small stripes keep the caches warm, over a network few large ones save system calls.
constexpr uint32_t standard_lanes(bool single_host) { return single_host ? 4 : 2; }

// The message slots of each rank.
struct PoolShape {
  uint32_t slots;  // for collectives
  size_t slot_bytes;
  uint32_t message_slots;  // beside these, for messages to each rank that shares memory with it

  uint32_t all_slots(uint32_t local_ranks) const { return slots + message_slots * (local_ranks - 1); }
};
// With what else the arena holds, at most 16 MiB for each rank of up to 300; beyond, what the plans need, about 100·size² bytes.  Slots lie
// untouched, and cost nothing, until their rank first hands them out: faulting them in beforehand does not pay, since most communicators
// only ever use a few (a first call of 64 KiB among 8 ranks took 1.7 times as long).
// `lanes`, `slot_bytes`: TUTTI_LANES and TUTTI_SLOT_BYTES, 0 for the standard.
// `local_ranks`: of the largest group that shares memory.
PoolShape pool_shape(int size, uint32_t local_ranks, uint32_t lanes, size_t slot_bytes);

// How to cut blocks of `block_bytes` (the largest) for a plan whose messages move up to `widest_run` blocks.  What is wished for is
// heeded as far as the slots go that the communicator was born with.
Cut cut(const ChoiceTerms& terms, uint64_t block_bytes, uint32_t widest_run, const Cut& wish = {0, 0});

}  // namespace tutti
