// `memory`: links over an arena.  Used as it is by ranks that are threads of one process, and by `shm` over a shared
// mapping.
#pragma once

#include <memory>
#include <vector>

#include "arena.h"
#include "arena_pool.h"
#include "transport.h"

namespace tutti::memory {

class ArenaLink final : public SlotLink {
 public:
  ArenaLink(const Arena& arena, uint32_t me, uint32_t peer, LinkUse use = LinkUse::collectives);
  Progress send(Slot slot, size_t bytes, const Signature& signature) override;
  Progress receive(Slot& slot, size_t bytes, const Signature& expected) override;
  Progress peek(Signature& next) override;
  Status error() const override;
  Signature offender() const override { return offender_; }

 private:
  Arena arena_;
  Channel& out_;
  Channel& in_;
  uint64_t sent_ = 0;        // messages put into out_
  uint64_t taken_seen_ = 0;  // of them, known to be taken out
  uint64_t received_ = 0;    // messages taken out of in_
  Signature offender_;
};

// Links between the ranks of an arena.  `places[r]` is rank r's place in the arena, or -1 if it is not one of its
// ranks.
class MemoryTransport : public Transport {
 public:
  MemoryTransport(const Arena& arena, uint32_t my_place, std::vector<int> places);
  std::string_view name() const override { return "memory"; }
  LinkForm form() const override { return LinkForm::slots; }
  using Transport::link;
  Link& link(int peer, LinkUse use) override;
  Status progress() override { return {}; }
  size_t memory_bytes() const override { return arena_.shape().bytes_beside_slots(); }

 protected:
  Arena arena_;

 private:
  uint32_t my_place_;
  std::vector<int> places_;
  std::vector<std::unique_ptr<ArenaLink>> links_[kLinkUses];  // by rank
};

}  // namespace tutti::memory
