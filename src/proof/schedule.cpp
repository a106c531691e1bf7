#include "schedule.h"

#include <algorithm>
#include <string>
#include <vector>

#include "plan_text.h"
#include "slots.h"
#include "turn.h"
#include "wiring.h"

namespace tutti {
namespace {

constexpr uint32_t kNoSlot = ~uint32_t{0};

struct SlotState {
  uint32_t owner = 0;
  uint32_t holders = 0;
};

struct LinkState {
  uint64_t sent = 0, received = 0;
  std::vector<uint32_t> slots;  // of the messages under way, at [number % link_capacity]
};

// One lane of one operation at one rank.
struct Cursor {
  uint32_t stripe = 0;  // lane, lane + lanes …
  size_t step = 0;
  bool begun = false;       // slots for this stripe have been set aside
  uint32_t held = kNoSlot;  // received, or filled for the group of sends under way
};

struct RankState {
  uint32_t free_slots = 0;
  uint32_t granted = 0;  // stripes begun, in the order (operation, stripe)
  bool queued = false;
  std::vector<Cursor> cursors;  // [operation × lanes + lane]
};

class ExpandedRun {
 public:
  ExpandedRun(std::span<const std::span<const Plan>> operations, std::span<const Wiring> wirings, uint32_t links,
              const Expansion& expansion);
  Status run();

 private:
  struct Context {  // of the cursor that moves
    uint32_t rank, operation;
    const Plan& plan;
    Cursor& cursor;
    const Step& step() const { return plan.steps()[cursor.step]; }
  };

  Context context(uint32_t rank, uint32_t index);
  bool advance(Context c);
  bool begin_stripe(const Context& c);
  bool take_step(const Context& c);
  bool send(const Context& c);
  bool receive(const Context& c);
  uint64_t number(const Context& c, const MessageEnd& end) const;
  void release(uint32_t slot);
  void wake(uint32_t rank);
  Status stuck() const;

  std::span<const std::span<const Plan>> operations_;
  std::span<const Wiring> wirings_;
  const Expansion& expansion_;
  std::vector<std::vector<uint32_t>> needs_;    // [operation][rank]: slots per lane
  std::vector<std::vector<uint64_t>> earlier_;  // [operation][link]: messages of earlier operations
  std::vector<LinkState> links_;
  std::vector<RankState> ranks_;
  std::vector<SlotState> slots_;
  std::vector<uint32_t> unused_;              // places in slots_
  std::vector<uint32_t> queue_, next_queue_;  // ranks that may be able to go on
};

ExpandedRun::ExpandedRun(std::span<const std::span<const Plan>> operations, std::span<const Wiring> wirings, uint32_t links,
                         const Expansion& expansion)
    : operations_(operations), wirings_(wirings), expansion_(expansion), links_(links), ranks_(operations[0].size()) {
  uint32_t most = 0;
  std::vector<uint64_t> so_far(links);
  for (size_t k = 0; k < operations.size(); ++k) {
    earlier_.push_back(so_far);
    for (uint32_t link = 0; link < links; ++link) so_far[link] += uint64_t{wirings[k].messages(link)} * expansion.stripes;
    auto& needs = needs_.emplace_back();
    for (const Plan& plan : operations[k]) needs.push_back(slots_per_lane(plan));
    most = std::max(most, *std::ranges::max_element(needs));
  }
  for (uint32_t link = 0; link < links; ++link) {
    links_[link].slots.resize(std::min<uint64_t>(so_far[link], expansion.link_capacity));
  }
  for (RankState& rank : ranks_) {
    rank.free_slots = expansion.slots > 0 ? expansion.slots : most * expansion.lanes;
    for (uint32_t i = 0; i < operations.size() * expansion.lanes; ++i) rank.cursors.push_back({i % expansion.lanes});
  }
}

void ExpandedRun::wake(uint32_t rank) {
  if (ranks_[rank].queued) return;
  ranks_[rank].queued = true;
  next_queue_.push_back(rank);
}

ExpandedRun::Context ExpandedRun::context(uint32_t rank, uint32_t index) {
  const uint32_t operation = index / expansion_.lanes;
  return {rank, operation, operations_[operation][rank], ranks_[rank].cursors[index]};
}

Status ExpandedRun::run() {
  for (uint32_t rank = 0; rank < ranks_.size(); ++rank) wake(rank);
  while (!next_queue_.empty()) {
    queue_.swap(next_queue_);
    for (const uint32_t rank : queue_) {
      ranks_[rank].queued = false;
      for (bool moved = true; moved;) {
        moved = false;
        for (uint32_t i = 0; i < ranks_[rank].cursors.size(); ++i) moved |= advance(context(rank, i));
      }
    }
    queue_.clear();
  }
  return stuck();
}

// As far as it goes; says whether it moved at all.
bool ExpandedRun::advance(Context c) {
  bool moved = false;
  while (c.cursor.stripe < expansion_.stripes) {
    if (!c.cursor.begun) {
      if (!begin_stripe(c)) return moved;
    } else if (c.cursor.step == c.plan.steps().size()) {
      c.cursor = Cursor{c.cursor.stripe + expansion_.lanes};
    } else if (!take_step(c)) {
      return moved;
    }
    moved = true;
  }
  return moved;
}

bool ExpandedRun::begin_stripe(const Context& c) {
  RankState& rank = ranks_[c.rank];
  const uint32_t turn = c.operation * expansion_.stripes + c.cursor.stripe;
  const uint32_t need = needs_[c.operation][c.rank];
  if (rank.granted != turn || rank.free_slots < need) return false;
  rank.free_slots -= need;
  ++rank.granted;
  c.cursor.begun = true;
  return true;
}

bool ExpandedRun::take_step(const Context& c) {
  if (!(c.step().verb == Verb::send ? send(c) : receive(c))) return false;
  ++c.cursor.step;
  return true;
}

// Where the cursor's message stands in the order of its link.
uint64_t ExpandedRun::number(const Context& c, const MessageEnd& end) const {
  const StripePlace place = place_of_stripe(c.cursor.stripe, expansion_.lanes, expansion_.stripes);
  return earlier_[c.operation][end.link] + turn(place, end.index, wirings_[c.operation].messages(end.link));
}

bool ExpandedRun::send(const Context& c) {
  const MessageEnd end = wirings_[c.operation].ends(c.rank, c.cursor.step)[0];
  LinkState& link = links_[end.link];
  if (link.sent != number(c, end) || link.sent - link.received >= expansion_.link_capacity) return false;

  const bool first = c.cursor.step == 0 || !group_goes_on(c.plan, c.cursor.step - 1);
  if (first) {
    const uint32_t group = group_size(c.plan, c.cursor.step);
    if (c.cursor.held != kNoSlot) {  // passed on: this rank's hold goes to the first receiver
      slots_[c.cursor.held].holders += group - 1;
    } else if (!unused_.empty()) {
      c.cursor.held = unused_.back();
      unused_.pop_back();
      slots_[c.cursor.held] = {c.rank, group};
    } else {
      c.cursor.held = static_cast<uint32_t>(slots_.size());
      slots_.push_back({c.rank, group});
    }
  }
  link.slots[link.sent % link.slots.size()] = c.cursor.held;
  ++link.sent;
  if (!group_goes_on(c.plan, c.cursor.step)) c.cursor.held = kNoSlot;
  wake(c.step().peer);
  return true;
}

// A fold takes its messages only when all of them are there, which is the hardest case.
bool ExpandedRun::receive(const Context& c) {
  const auto ends = wirings_[c.operation].ends(c.rank, c.cursor.step);
  for (const MessageEnd& end : ends) {
    const LinkState& link = links_[end.link];
    if (link.received != number(c, end) || link.sent == link.received) return false;
  }
  const auto peers = c.plan.peers_of(c.step());
  for (size_t i = 0; i < ends.size(); ++i) {
    LinkState& link = links_[ends[i].link];
    const uint32_t slot = link.slots[link.received % link.slots.size()];
    if (link.sent - link.received == expansion_.link_capacity) wake(peers[i]);
    ++link.received;
    if (i == 0 && passes_slot_on(c.plan, c.cursor.step)) {
      c.cursor.held = slot;
    } else {
      release(slot);
    }
  }
  return true;
}

void ExpandedRun::release(uint32_t slot) {
  SlotState& state = slots_[slot];
  if (--state.holders > 0) return;
  ++ranks_[state.owner].free_slots;
  unused_.push_back(slot);
  wake(state.owner);
}

Status ExpandedRun::stuck() const {
  for (size_t rank = 0; rank < ranks_.size(); ++rank) {
    for (size_t i = 0; i < ranks_[rank].cursors.size(); ++i) {
      const Cursor& cursor = ranks_[rank].cursors[i];
      if (cursor.stripe >= expansion_.stripes) continue;
      const size_t operation = i / expansion_.lanes;
      const std::string where = "deadlock: rank " + std::to_string(rank) + ", operation " + std::to_string(operation) +
                                ", stripe " + std::to_string(cursor.stripe) + " waits ";
      const Plan& plan = operations_[operation][rank];
      return Status(Code::internal, where + (cursor.begun ? "in step " + std::to_string(cursor.step) + ", " +
                                                                describe(plan, plan.steps()[cursor.step])
                                                          : "for slots"));
    }
  }
  return {};
}

}  // namespace

Status prove_schedule(std::span<const std::span<const Plan>> operations, const Expansion& expansion) {
  LinkNumbers links(operations[0].size());
  std::vector<Wiring> wirings;
  for (const auto& plans : operations) {
    Result<Wiring> wiring = Wiring::make(plans, links);
    if (!wiring.ok()) return wiring.status();
    wirings.push_back(std::move(*wiring));
  }
  return ExpandedRun(operations, wirings, links.used(), expansion).run();
}

}  // namespace tutti
