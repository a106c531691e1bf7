// Call order is link order: on each link and direction, operations take their turns one after another.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "transport.h"
#include "workers.h"

namespace tutti {

// One direction of one link.  An operation draws a number when it is started and may use the link when that number is served.
struct LinkQueue {
  uint64_t drawn = 0;
  uint64_t served = 0;
};

struct PeerQueues {
  Link* link = nullptr;
  LinkQueue sends, receives;
};

// What operations of one communicator share on this rank.
struct Wires {
  SlotPool* pool = nullptr;
  uint32_t reserved = 0;                                            // slots promised to lanes that have not acquired them yet
  std::vector<PeerQueues> peers;                                    // by rank
  std::function<Link&(int)> connect;                                // makes a link when first needed
  std::shared_ptr<Workers> workers = std::make_shared<Workers>(1);  // for large kernel calls

  PeerQueues& peer(int rank) {
    PeerQueues& entry = peers[static_cast<size_t>(rank)];
    if (!entry.link) entry.link = &connect(rank);
    return entry;
  }
};

}  // namespace tutti
