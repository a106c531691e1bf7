// When the messages of a collective travel, if each takes one round and leaves as soon as its sender's plan lets it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "plan.h"
#include "status.h"

namespace tutti {

struct TimedMessage {
  uint32_t from, to;
  uint32_t block, count;
  uint32_t departs;  // round, from 0
  uint32_t taken;    // when the receiver's plan comes to it, at the earliest departs + 1
  bool reduced;      // by the receiver, with what it has
};

struct Timeline {
  uint32_t rounds = 0;
  uint32_t ranks = 0, blocks = 0;
  std::vector<TimedMessage> messages;
  // How many ranks' contributions a block at a rank holds at a time 0 … rounds.
  uint32_t contributions(uint32_t time, uint32_t rank, uint32_t block) const {
    return held[(size_t{time} * ranks + rank) * blocks + block];
  }
  std::vector<uint32_t> held;
};

Result<Timeline> timeline_of(Collective collective, int root, std::span<const Plan> plans);

}  // namespace tutti
