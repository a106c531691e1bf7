#include "schedule.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "plan_text.h"
#include "turn.h"
#include "wiring.h"

namespace tutti {
namespace {

constexpr uint32_t kNoSlot = ~uint32_t{0};

struct SlotState {
  uint32_t owner = 0;
  uint32_t holders = 0;
  bool loan = false;  // its bytes are the owner's memory
};

struct LinkState {
  uint64_t sent = 0, received = 0;
  std::vector<uint32_t> slots;  // of the messages under way, at [number % link_capacity]
};

struct Loan {
  uint32_t slot;
  const Instruction* send;
};

// One lane of one operation at one rank.
struct Cursor {
  enum class Phase : uint8_t { take, compute, give };
  uint32_t stripe = 0;  // lane, lane + lanes …
  size_t next = 0;      // instruction
  Phase phase = Phase::take;
  size_t port = 0;                 // to give to
  bool begun = false;              // slots for this stripe have been set aside
  uint32_t reserved = 0;           // of them, not yet taken
  std::vector<uint32_t> received;  // slots
  uint32_t held = kNoSlot;         // to give
  std::vector<Loan> loans;
};

struct RankProgress {
  uint32_t free_slots = 0;
  uint32_t granted = 0;  // stripes begun, in the order (operation, stripe)
  bool queued = false;
  std::vector<Cursor> cursors;  // [operation × lanes + lane]
};

class ExpandedRun {
 public:
  ExpandedRun(std::span<const ProgramSet* const> operations, std::span<const Wiring> wirings, uint32_t links,
              const Expansion& expansion);
  Status run();

 private:
  struct Context {  // of the cursor that moves
    uint32_t rank, operation;
    const Program& program;
    Cursor& cursor;
    const Instruction& instruction() const { return program.instructions[cursor.next]; }
  };

  Context context(uint32_t rank, uint32_t index);
  bool advance(Context c);
  bool begin_stripe(const Context& c);
  bool end_stripe(const Context& c);
  bool carry_out(const Context& c);
  bool take(const Context& c);
  bool compute(const Context& c);
  bool give(const Context& c);
  uint32_t slot_to_give(const Context& c);
  bool may_overwrite(const Context& c);
  void drop_returned_loans(Cursor& cursor);
  uint64_t number(const Context& c, const MessageEnd& end) const;
  uint32_t add_slot(const SlotState& state);
  uint32_t take_own_slot(const Context& c, bool loan);
  void release(uint32_t slot);
  void wake(uint32_t rank);
  Status stuck() const;
  std::string place_of(const Cursor& cursor, size_t rank, size_t operation) const;

  std::span<const ProgramSet* const> operations_;
  std::span<const Wiring> wirings_;
  const Expansion& expansion_;
  std::vector<std::vector<uint32_t>> needs_;    // [operation][rank]: slots per stripe
  std::vector<std::vector<uint64_t>> earlier_;  // [operation][link]: messages of earlier operations
  std::vector<LinkState> links_;
  std::vector<RankProgress> ranks_;
  std::vector<SlotState> slots_;
  std::vector<uint32_t> unused_;              // places in slots_
  std::vector<uint32_t> queue_, next_queue_;  // ranks that may be able to go on
};

ExpandedRun::ExpandedRun(std::span<const ProgramSet* const> operations, std::span<const Wiring> wirings, uint32_t links,
                         const Expansion& expansion)
    : operations_(operations), wirings_(wirings), expansion_(expansion), links_(links), ranks_(operations[0]->programs.size()) {
  uint32_t most = 0;
  std::vector<uint64_t> so_far(links);
  for (size_t k = 0; k < operations.size(); ++k) {
    earlier_.push_back(so_far);
    for (uint32_t link = 0; link < links; ++link) so_far[link] += uint64_t{wirings[k].messages(link)} * expansion.stripes;
    auto& needs = needs_.emplace_back();
    for (const Program& program : operations[k]->programs) needs.push_back(slots_per_stripe(program, expansion.lends));
    most = std::max(most, *std::ranges::max_element(needs));
  }
  for (uint32_t link = 0; link < links; ++link) {
    links_[link].slots.resize(std::min<uint64_t>(so_far[link], expansion.link_capacity));
  }
  for (RankProgress& rank : ranks_) {
    rank.free_slots = expansion.slots > 0 ? expansion.slots : most * expansion.lanes;
    for (uint32_t i = 0; i < operations.size() * expansion.lanes; ++i) rank.cursors.emplace_back().stripe = i % expansion.lanes;
  }
}

void ExpandedRun::wake(uint32_t rank) {
  if (ranks_[rank].queued) return;
  ranks_[rank].queued = true;
  next_queue_.push_back(rank);
}

ExpandedRun::Context ExpandedRun::context(uint32_t rank, uint32_t index) {
  const uint32_t operation = index / expansion_.lanes;
  return {rank, operation, operations_[operation]->programs[rank], ranks_[rank].cursors[index]};
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
    const bool ends = c.cursor.begun && c.cursor.next == c.program.instructions.size();
    const bool goes_on = !c.cursor.begun ? begin_stripe(c) : ends ? end_stripe(c) : carry_out(c);
    if (!goes_on) return moved;
    moved = true;
  }
  return moved;
}

bool ExpandedRun::begin_stripe(const Context& c) {
  RankProgress& rank = ranks_[c.rank];
  const uint32_t next = c.operation * expansion_.stripes + c.cursor.stripe;
  const uint32_t need = needs_[c.operation][c.rank];
  if (rank.granted != next || rank.free_slots < need) return false;
  rank.free_slots -= need;
  ++rank.granted;
  c.cursor.reserved = need;
  c.cursor.begun = true;
  return true;
}

bool ExpandedRun::end_stripe(const Context& c) {
  drop_returned_loans(c.cursor);
  if (!c.cursor.loans.empty()) return false;
  ranks_[c.rank].free_slots += c.cursor.reserved;
  const uint32_t stripe = c.cursor.stripe + expansion_.lanes;
  c.cursor = Cursor();
  c.cursor.stripe = stripe;
  return true;
}

// One phase of an instruction, or one message of the last.
bool ExpandedRun::carry_out(const Context& c) {
  switch (c.cursor.phase) {
    case Cursor::Phase::take: return take(c);
    case Cursor::Phase::compute: return compute(c);
    case Cursor::Phase::give: return give(c);
  }
  return false;
}

// The turn of the cursor's message, over all operations.
uint64_t ExpandedRun::number(const Context& c, const MessageEnd& end) const {
  const StripePlace place = place_of_stripe(c.cursor.stripe, expansion_.lanes, expansion_.stripes);
  return earlier_[c.operation][end.link] + turn(place, end.index, wirings_[c.operation].messages(end.link));
}

// A fold takes its messages only when all of them are there, which is the hardest case.
bool ExpandedRun::take(const Context& c) {
  const auto& ins = c.instruction().ins;
  for (const Port& port : ins) {
    const MessageEnd end = wirings_[c.operation].in(c.rank, port);
    const LinkState& link = links_[end.link];
    if (link.received != number(c, end) || link.sent == link.received) return false;
  }
  for (const Port& port : ins) {
    LinkState& link = links_[wirings_[c.operation].in(c.rank, port).link];
    c.cursor.received.push_back(link.slots[link.received % link.slots.size()]);
    if (link.sent - link.received == expansion_.link_capacity) wake(static_cast<uint32_t>(c.program.peers[port.link].rank));
    ++link.received;
  }
  c.cursor.phase = Cursor::Phase::compute;
  return true;
}

bool ExpandedRun::compute(const Context& c) {
  if (expansion_.lends && c.instruction().after_flush && !may_overwrite(c)) return false;
  const auto receivers = static_cast<uint32_t>(c.instruction().outs.size());
  if (receivers > 0) {
    c.cursor.held = slot_to_give(c);
    slots_[c.cursor.held].holders += receivers - 1;
  }
  for (const uint32_t slot : c.cursor.received)
    if (slot != c.cursor.held) release(slot);
  c.cursor.received.clear();
  c.cursor.phase = Cursor::Phase::give;
  c.cursor.port = 0;
  return true;
}

uint32_t ExpandedRun::slot_to_give(const Context& c) {
  const Instruction& instruction = c.instruction();
  if (instruction.take == Take::nothing) return take_own_slot(c, expansion_.lends && instruction.lends);
  if (instruction.take == Take::recv || !expansion_.lends) return c.cursor.received[0];
  const auto writable = [&](uint32_t slot) { return slots_[slot].holders == 1 && !slots_[slot].loan; };
  const auto found = std::ranges::find_if(c.cursor.received, writable);
  return found != c.cursor.received.end() ? *found : take_own_slot(c, false);
}

uint32_t ExpandedRun::take_own_slot(const Context& c, bool loan) {
  const uint32_t slot = add_slot({c.rank, 1, loan});
  if (loan)
    c.cursor.loans.push_back({slot, &c.instruction()});
  else
    --c.cursor.reserved;
  return slot;
}

uint32_t ExpandedRun::add_slot(const SlotState& state) {
  if (unused_.empty()) {
    slots_.push_back(state);
    return static_cast<uint32_t>(slots_.size() - 1);
  }
  const uint32_t slot = unused_.back();
  unused_.pop_back();
  slots_[slot] = state;
  return slot;
}

void ExpandedRun::drop_returned_loans(Cursor& cursor) {
  std::erase_if(cursor.loans, [&](const Loan& loan) {
    if (slots_[loan.slot].holders > 0) return false;
    unused_.push_back(loan.slot);
    return true;
  });
}

// Nobody reads the memory that the instruction writes.  An input block that is no output lies in memory that is never
// written.
bool ExpandedRun::may_overwrite(const Context& c) {
  drop_returned_loans(c.cursor);
  const Instruction& instruction = c.instruction();
  const auto overlaps = [&](const Segment& lent) {
    for (uint32_t k = 0; k < lent.count && (lent.in_output || !lent.from_input); ++k)
      if ((lent.block + k + c.program.blocks - instruction.block) % c.program.blocks < instruction.count) return true;
    return false;
  };
  return std::ranges::none_of(c.cursor.loans, [&](const Loan& loan) { return std::ranges::any_of(loan.send->segments, overlaps); });
}

// To one receiver.
bool ExpandedRun::give(const Context& c) {
  const auto& outs = c.instruction().outs;
  if (c.cursor.port == outs.size()) {
    c.cursor.held = kNoSlot;
    c.cursor.phase = Cursor::Phase::take;
    ++c.cursor.next;
    return true;
  }
  const Port& port = outs[c.cursor.port];
  const MessageEnd end = wirings_[c.operation].out(c.rank, port);
  LinkState& link = links_[end.link];
  if (link.sent != number(c, end) || link.sent - link.received >= expansion_.link_capacity) return false;
  link.slots[link.sent % link.slots.size()] = c.cursor.held;
  ++link.sent;
  ++c.cursor.port;
  wake(static_cast<uint32_t>(c.program.peers[port.link].rank));
  return true;
}

void ExpandedRun::release(uint32_t slot) {
  SlotState& state = slots_[slot];
  if (--state.holders > 0) return;
  wake(state.owner);
  if (state.loan) return;  // the lender looks
  ++ranks_[state.owner].free_slots;
  unused_.push_back(slot);
}

std::string ExpandedRun::place_of(const Cursor& cursor, size_t rank, size_t operation) const {
  const ProgramSet& set = *operations_[operation];
  if (!cursor.begun) return "for slots";
  if (cursor.next == set.programs[rank].instructions.size()) return "for loans to come back";
  const Instruction& instruction = set.programs[rank].instructions[cursor.next];
  const size_t step = cursor.phase == Cursor::Phase::give ? step_of_out(instruction, cursor.port) : instruction.step;
  return (cursor.phase == Cursor::Phase::compute ? "for loans to come back in step " : "in step ") + std::to_string(step) + ", " +
         describe(set.plans[rank], set.plans[rank].steps()[step]);
}

Status ExpandedRun::stuck() const {
  for (size_t rank = 0; rank < ranks_.size(); ++rank) {
    for (size_t i = 0; i < ranks_[rank].cursors.size(); ++i) {
      const Cursor& cursor = ranks_[rank].cursors[i];
      if (cursor.stripe >= expansion_.stripes) continue;
      const size_t operation = i / expansion_.lanes;
      const std::string where = "rank " + std::to_string(rank) + ", operation " + std::to_string(operation) + ", stripe " +
                                std::to_string(cursor.stripe);
      return Status(Code::internal, "deadlock: " + where + " waits " + place_of(cursor, rank, operation));
    }
  }
  return {};
}

}  // namespace

Status prove_schedule(std::span<const ProgramSet* const> operations, const Expansion& expansion) {
  LinkNumbers links(operations[0]->programs.size());
  std::vector<Wiring> wirings;
  for (const ProgramSet* operation : operations) {
    Result<Wiring> wiring = Wiring::make(*operation, links);
    if (!wiring.ok()) return wiring.status();
    wirings.push_back(std::move(*wiring));
  }
  return ExpandedRun(operations, wirings, links.used(), expansion).run();
}

Status prove_schedule(const ProgramSet& first, const ProgramSet& second, const Expansion& expansion) {
  const std::array<const ProgramSet*, 2> operations{&first, &second};
  return prove_schedule(operations, expansion);
}

}  // namespace tutti
