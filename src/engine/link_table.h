// Call order is link order: on each link and direction, operations take their turns one after another.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "host_executor.h"
#include "staging_memory.h"
#include "transport.h"

namespace tutti {

class Matching;
class PlanOperation;

// One direction of one link.  An operation takes a ticket when it is started, and uses the link while that is served.
struct LinkQueue {
  uint64_t next_ticket = 0;
  uint64_t now_serving = 0;
};

struct PeerQueues {
  Link* link = nullptr;       // null: none yet
  SlotLink* slots = nullptr;  // the link, if it has this form
  ByteLink* bytes = nullptr;  // likewise
  PutLink* puts = nullptr;    // likewise
  LinkQueue sends, receives;

  void set(Link& made) {
    link = &made;
    if (made.form() == LinkForm::slots) slots = static_cast<SlotLink*>(link);
    if (made.form() == LinkForm::bytes) bytes = static_cast<ByteLink*>(link);
    if (made.form() == LinkForm::puts) puts = static_cast<PutLink*>(link);
  }
};

// Slots that operations reserve from, in call order.
struct SlotBank {
  SlotPool* pool = nullptr;
  uint32_t reserved = 0;  // promised to lanes that have not acquired them yet
  // The engine's, while it goes through its queue: an earlier operation has still to reserve from here.
  bool blocked = false;
};

// Everything that operations of one communicator share on this rank.  Collectives reserve from one bank.  The messages
// to each peer have a bank of their own, so that a late receiver delays neither collectives nor messages to others.
struct LinkTable {
  SlotBank bank;                                        // of collectives
  std::vector<SlotBank> message_banks;                  // by rank of the receiver
  std::vector<PeerQueues> peers[kLinkUses];             // by rank
  std::function<LinkForm(int peer)> form;               // of the links to it; makes none
  std::function<Link&(int peer, LinkUse use)> connect;  // makes a link when first needed
  std::shared_ptr<StagingMemory> staging_memory = std::make_shared<StagingMemory>();
  std::shared_ptr<Executor> executor = std::make_shared<HostExecutor>(std::make_shared<Workers>(1));

  // Of point to point, where there is any.
  std::shared_ptr<Matching> matching;
  std::function<std::shared_ptr<PlanOperation>(int source, std::byte* to, const Signature& message)> transfer_from;
  uint64_t round = 1;  // the engine's: how often it went through its queue

  // For so many ranks, without banks for messages.
  void resize(int ranks) {
    for (auto& row : peers) row.resize(static_cast<size_t>(ranks));
    message_banks.resize(static_cast<size_t>(ranks));
  }

  PeerQueues& peer(int rank, LinkUse use) {
    PeerQueues& entry = peers[static_cast<size_t>(use)][static_cast<size_t>(rank)];
    if (!entry.link) entry.set(connect(rank, use));
    return entry;
  }
};

}  // namespace tutti
